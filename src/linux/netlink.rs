// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: policies, validated attributes of a request, and attributes of a reply.
//!
//! A request is validated by the core against a [`Policy`] before its handler runs; the handler then sees
//! [`Attr`]s, which still know their lengths, so a handler that disagrees with its policy gets an error and
//! never reads past an attribute. A reply is written through [`Put`].
//!
//! C headers: [`include/net/netlink.h`](srctree/include/net/netlink.h),
//! [`include/linux/netlink.h`](srctree/include/linux/netlink.h)

use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    }, //
};

use super::bindings;

/// Bytes of an attribute's header (`NLA_HDRLEN`).
const NLA_HDRLEN: usize = size_of::<bindings::nlattr>();
/// The bits of `nla_type` that are the type (`NLA_TYPE_MASK`).
const NLA_TYPE_MASK: u16 = !((bindings::NLA_F_NESTED | bindings::NLA_F_NET_BYTEORDER) as u16);
/// The flag of an attribute that contains attributes.
const NLA_F_NESTED: u16 = bindings::NLA_F_NESTED as u16;
/// Longest payload whose attribute's length fits the 16 bits it has.
const MAX_PAYLOAD: usize = u16::MAX as usize - NLA_HDRLEN;
/// What `NL_VALIDATE_STRICT` stands for.
const NL_VALIDATE_STRICT: u32 = bindings::netlink_validation_NL_VALIDATE_TRAILING
    | bindings::netlink_validation_NL_VALIDATE_MAXTYPE
    | bindings::netlink_validation_NL_VALIDATE_UNSPEC
    | bindings::netlink_validation_NL_VALIDATE_STRICT_ATTRS
    | bindings::netlink_validation_NL_VALIDATE_NESTED;
/// Nesting the core accepts (`MAX_POLICY_RECURSION_DEPTH`): what lies deeper was refused.
const MAX_DEPTH: u8 = 10;

/// The space an attribute takes in a stream (`NLA_ALIGN()`).
const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// `struct nla_policy`, as it lies in a static table.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct RawRule(bindings::nla_policy);

// SAFETY: Nobody writes to it, and all it points to are other tables of the same kind.
unsafe impl Sync for RawRule {}
// SAFETY: As above.
unsafe impl Send for RawRule {}

/// What the C structure has no place for.
#[derive(Clone, Copy)]
struct Note {
    secret: bool,
    /// Some attribute is secret, here or further down.
    holds_secrets: bool,
    children: Option<PolicyRef>,
}

/// What an attribute must look like.
///
/// To be evaluated at compile time: an argument that makes no sense is a compile error then.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    raw: RawRule,
    note: Note,
}

impl Rule {
    const fn new(nla_type: u32, len: u16) -> Self {
        let mut raw: bindings::nla_policy = pin_init::zeroed();
        raw.type_ = nla_type as u8;
        raw.len = len;
        Self {
            raw: RawRule(raw),
            note: Note {
                secret: false,
                holds_secrets: false,
                children: None,
            },
        }
    }

    const fn validate(mut self, how: bindings::nla_policy_validation) -> Self {
        self.raw.0.validation_type = how as u8;
        self
    }

    const fn range(mut self, min: u16, max: u16) -> Self {
        assert!(min <= i16::MAX as u16 && max <= i16::MAX as u16);
        self.raw.0.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::nla_policy__bindgen_ty_1__bindgen_ty_1 {
                min: min as i16,
                max: max as i16,
            };
        self
    }

    /// A number of one byte.
    pub(crate) const fn u8() -> Self {
        Self::new(bindings::NLA_U8, 0)
    }

    /// A number of two bytes, host byte order.
    pub(crate) const fn u16() -> Self {
        Self::new(bindings::NLA_U16, 0)
    }

    /// A number of four bytes, host byte order.
    pub(crate) const fn u32() -> Self {
        Self::new(bindings::NLA_U32, 0)
    }

    /// A number of eight bytes, host byte order.
    pub(crate) const fn u64() -> Self {
        Self::new(bindings::NLA_U64, 0)
    }

    /// Four bytes of flags, of which those in `mask` may be set.
    pub(crate) const fn flags(mask: u32) -> Self {
        let mut rule = Self::u32().validate(bindings::nla_policy_validation_NLA_VALIDATE_MASK);
        rule.raw.0.__bindgen_anon_1.mask = mask;
        rule
    }

    /// A string with its terminating NUL, of at most `max_len` bytes without it.
    pub(crate) const fn nul_string(max_len: u16) -> Self {
        Self::new(bindings::NLA_NUL_STRING, max_len)
    }

    /// Exactly `len` bytes.
    pub(crate) const fn exact_len(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, 0)
            .validate(bindings::nla_policy_validation_NLA_VALIDATE_RANGE)
            .range(len, len)
    }

    /// At least `len` bytes.
    pub(crate) const fn min_len(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, 0)
            .validate(bindings::nla_policy_validation_NLA_VALIDATE_MIN)
            .range(len, 0)
    }

    const fn with_children(mut self, children: PolicyRef) -> Self {
        self.raw.0.len = children.max_type();
        self.raw.0.__bindgen_anon_1.nested_policy = children.as_raw();
        self.note.holds_secrets = children.holds_secrets;
        self.note.children = Some(children);
        self
    }

    /// An attribute that contains attributes.
    pub(crate) const fn nested(children: PolicyRef) -> Self {
        Self::new(bindings::NLA_NESTED, 0).with_children(children)
    }

    /// An attribute that contains a list of attributes, whose types mean nothing and each of which contains
    /// attributes.
    pub(crate) const fn nested_array(children: PolicyRef) -> Self {
        Self::new(bindings::NLA_NESTED_ARRAY, 0).with_children(children)
    }

    /// Has the attribute's payload zeroed in the request's buffer when its handler is done.
    pub(crate) const fn secret(mut self) -> Self {
        self.note.secret = true;
        self.note.holds_secrets = true;
        self
    }
}

/// The rules of a set of attributes, with the types `1..N`; those without a rule are refused.
pub(crate) struct Policy<const N: usize> {
    raw: [RawRule; N],
    notes: [Note; N],
    holds_secrets: bool,
}

impl<const N: usize> Policy<N> {
    /// Makes a policy of types and their rules. To be evaluated at compile time.
    pub(crate) const fn new(rules: &[(u16, Rule)]) -> Self {
        assert!(N > 0 && N <= u16::MAX as usize);
        let none = Rule::new(bindings::NLA_UNSPEC, 0);
        let mut policy = Self {
            raw: [none.raw; N],
            notes: [none.note; N],
            holds_secrets: false,
        };
        let mut i = 0;
        while i < rules.len() {
            let (ty, rule) = rules[i];
            assert!(ty != 0);
            policy.raw[ty as usize] = rule.raw;
            policy.notes[ty as usize] = rule.note;
            policy.holds_secrets |= rule.note.holds_secrets;
            i += 1;
        }
        policy
    }

    /// A reference that does not name the number of types.
    pub(crate) const fn by_ref(&'static self) -> PolicyRef {
        PolicyRef {
            raw: &self.raw,
            notes: &self.notes,
            holds_secrets: self.holds_secrets,
        }
    }
}

/// A reference to a [`Policy`].
///
/// # Invariants
///
/// The two slices have the same length, which is not zero and fits 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct PolicyRef {
    raw: &'static [RawRule],
    notes: &'static [Note],
    holds_secrets: bool,
}

impl PolicyRef {
    /// The table for C.
    pub(super) const fn as_raw(&self) -> *const bindings::nla_policy {
        self.raw.as_ptr().cast()
    }

    /// The highest type that has a rule.
    pub(super) const fn max_type(&self) -> u16 {
        // By the type invariants it neither wraps nor truncates.
        self.raw.len().wrapping_sub(1) as u16
    }

    /// Zeroes the payload of every secret attribute in a stream, also where an attribute came twice.
    ///
    /// # Safety
    ///
    /// The bytes of `stream` must be valid for writes, and nothing else may use them meanwhile.
    pub(super) unsafe fn wipe(&self, stream: Stream) {
        // SAFETY: By the safety requirement.
        unsafe { self.wipe_level(stream, 0) }
    }

    /// # Safety
    ///
    /// As for [`PolicyRef::wipe`].
    unsafe fn wipe_level(&self, stream: Stream, depth: u8) {
        if !self.holds_secrets || depth >= MAX_DEPTH {
            return;
        }
        for attr in stream {
            let ty = usize::from(attr.nla_type & NLA_TYPE_MASK);
            let (Some(raw), Some(note)) = (self.raw.get(ty), self.notes.get(ty)) else {
                continue;
            };
            if note.secret {
                // SAFETY: The payload is a part of the stream.
                unsafe { bindings::memzero_explicit(attr.payload.head.cast(), attr.payload.len) };
            } else if let Some(children) = note.children {
                let depth = depth.saturating_add(1);
                if u32::from(raw.0.type_) == bindings::NLA_NESTED_ARRAY {
                    for element in attr.payload {
                        // SAFETY: What an element contains is a part of the stream.
                        unsafe { children.wipe_level(element.payload, depth) };
                    }
                } else {
                    // SAFETY: The payload is a part of the stream.
                    unsafe { children.wipe_level(attr.payload, depth) };
                }
            }
        }
    }
}

/// Bytes in which attributes follow one another.
///
/// As an iterator it stops at the first bytes that are not a whole attribute.
///
/// # Invariants
///
/// `len` bytes at `head` are valid for reads for as long as this value is used.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    head: *mut u8,
    len: usize,
}

impl Stream {
    /// # Safety
    ///
    /// `len` bytes at `head` must be valid for reads for as long as the value or a copy of it is used.
    pub(super) const unsafe fn from_raw(head: *mut u8, len: usize) -> Self {
        // INVARIANT: By the safety requirement.
        Self { head, len }
    }
}

/// An attribute of a [`Stream`].
pub(super) struct Raw {
    /// Its header.
    header: *mut u8,
    /// Its type with the flags.
    nla_type: u16,
    /// What follows the header.
    payload: Stream,
}

impl Iterator for Stream {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        if self.len < NLA_HDRLEN {
            return None;
        }
        let header = self.head;
        // SAFETY: By the type invariant the bytes are valid, and there are enough of them. They need not be
        // aligned.
        let bindings::nlattr { nla_len, nla_type } =
            unsafe { header.cast::<bindings::nlattr>().read_unaligned() };
        let len = usize::from(nla_len);
        let payload = len.checked_sub(NLA_HDRLEN)?;
        if len > self.len {
            return None;
        }
        let total = align(len).min(self.len);
        // INVARIANT: What follows the first `total <= len` bytes is a part of the bytes.
        // SAFETY: As above.
        self.head = unsafe { header.add(total) };
        self.len = self.len.wrapping_sub(total);
        Some(Raw {
            header,
            nla_type,
            // INVARIANT: The attribute with its header, `len` bytes, is a part of the bytes.
            payload: Stream {
                // SAFETY: As above.
                head: unsafe { header.add(NLA_HDRLEN) },
                len: payload,
            },
        })
    }
}

/// An attribute of a request.
///
/// # Invariants
///
/// `header` points to an attribute: as many bytes as its `nla_len` says, which are not less than a header's, are
/// valid for reads and not written to during `'a`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Attr<'a> {
    header: NonNull<bindings::nlattr>,
    _p: PhantomData<&'a [u8]>,
}

impl<'a> Attr<'a> {
    fn header(&self) -> bindings::nlattr {
        // SAFETY: By the type invariant.
        unsafe { self.header.as_ptr().read_unaligned() }
    }

    /// What the attribute contains.
    pub(crate) fn payload(&self) -> &'a [u8] {
        let len = usize::from(self.header().nla_len).saturating_sub(NLA_HDRLEN);
        // SAFETY: By the type invariant `len` bytes after the header are valid and do not change during `'a`.
        unsafe {
            let data = self.header.as_ptr().cast::<u8>().add(NLA_HDRLEN);
            core::slice::from_raw_parts(data, len)
        }
    }

    /// The attributes it contains, of the types `1..N`.
    ///
    /// Their payloads are not validated here: a policy with [`Rule::nested`] or [`Rule::nested_array`] has that
    /// done before the handler is called. Of an attribute that comes twice the last counts.
    ///
    /// `EINVAL`: it is not marked as containing attributes, contains one of type 0 or beyond, or leftover bytes.
    pub(crate) fn nested<const N: usize>(&self, extack: &ExtAck<'_>) -> Result<Attrs<'a, N>> {
        const { assert!(N > 0 && N <= u16::MAX as usize) };
        if self.header().nla_type & NLA_F_NESTED == 0 {
            return Err(extack.err_attr(EINVAL, self, c"NLA_F_NESTED is missing"));
        }
        let payload = self.payload();
        let mut attrs = Attrs::<'a, N>([None; N]);
        // SAFETY: `attrs` has `N` places; one is a pointer that may be null. The payload is valid for its length,
        // which fits 16 bits. A null policy means that the payloads are not looked at. What the function then puts
        // into `attrs` are whole attributes in the payload, as the type invariant of `Attr` wants.
        to_result(unsafe {
            bindings::__nla_parse(
                attrs.0.as_mut_ptr().cast(),
                N.wrapping_sub(1) as i32,
                payload.as_ptr().cast(),
                payload.len() as i32,
                ptr::null(),
                NL_VALIDATE_STRICT,
                extack.ptr,
            )
        })?;
        Ok(attrs)
    }

    /// The elements of a [nested array](Rule::nested_array), in order.
    pub(crate) fn elements(&self) -> Elements<'a> {
        let payload = self.payload();
        Elements {
            // INVARIANT: The bytes are valid and do not change during `'a`.
            // SAFETY: As above.
            stream: unsafe { Stream::from_raw(payload.as_ptr().cast_mut(), payload.len()) },
            _p: PhantomData,
        }
    }
}

/// Iterator over the elements of a nested array.
///
/// # Invariants
///
/// The bytes of the stream are valid and not written to during `'a`.
pub(crate) struct Elements<'a> {
    stream: Stream,
    _p: PhantomData<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        // INVARIANT: An attribute of the stream lies in its bytes.
        Some(Attr {
            header: NonNull::new(self.stream.next()?.header)?.cast(),
            _p: PhantomData,
        })
    }
}

/// A type that the payload of an attribute can be read as.
pub(crate) trait FromAttr<'a>: Sized {
    /// Reads it, or returns `None` if it has not the length or the form of this type.
    fn from_attr(attr: Attr<'a>) -> Option<Self>;
}

macro_rules! impl_from_attr_for_numbers {
    ($($ty:ty),*) => {
        $(impl FromAttr<'_> for $ty {
            fn from_attr(attr: Attr<'_>) -> Option<Self> {
                attr.payload().try_into().ok().map(Self::from_ne_bytes)
            }
        })*
    };
}

impl_from_attr_for_numbers!(u8, u16, u32, u64);

impl<'a> FromAttr<'a> for Attr<'a> {
    fn from_attr(attr: Attr<'a>) -> Option<Self> {
        Some(attr)
    }
}

impl<'a> FromAttr<'a> for &'a [u8] {
    fn from_attr(attr: Attr<'a>) -> Option<Self> {
        Some(attr.payload())
    }
}

impl<'a, const LEN: usize> FromAttr<'a> for &'a [u8; LEN] {
    fn from_attr(attr: Attr<'a>) -> Option<Self> {
        attr.payload().try_into().ok()
    }
}

impl<'a> FromAttr<'a> for &'a CStr {
    fn from_attr(attr: Attr<'a>) -> Option<Self> {
        CStr::from_bytes_until_nul(attr.payload()).ok()
    }
}

/// The attributes of a request or of a nest, by type.
///
/// # Invariants
///
/// Of the types `0..N`, the last attribute of the type, or none.
pub(crate) struct Attrs<'a, const N: usize>([Option<Attr<'a>>; N]);

impl<'a, const N: usize> Attrs<'a, N> {
    /// Takes the pointers that the core put into its table.
    ///
    /// # Safety
    ///
    /// The `len` places at `table` must each hold null or a pointer to an attribute as [`Attr`] describes it. If
    /// `len` is zero, `table` may be anything.
    pub(super) unsafe fn from_raw(table: *const *mut bindings::nlattr, len: usize) -> Self {
        let mut attrs = [None; N];
        for (i, attr) in attrs.iter_mut().enumerate().take(len) {
            // SAFETY: By the safety requirement.
            let header = unsafe { table.add(i).read() };
            // INVARIANT: By the safety requirement.
            *attr = NonNull::new(header).map(|header| Attr {
                header,
                _p: PhantomData,
            });
        }
        Self(attrs)
    }

    /// Reads the attribute of a type; `None` if the request does not have it.
    ///
    /// `EINVAL`: its payload is not of that type, which its policy should have seen.
    pub(crate) fn get<T: FromAttr<'a>>(&self, ty: u16) -> Result<Option<T>> {
        match self.attr(ty) {
            Some(attr) => T::from_attr(attr).map(Some).ok_or(EINVAL),
            None => Ok(None),
        }
    }

    /// The attribute of a type.
    pub(crate) fn attr(&self, ty: u16) -> Option<Attr<'a>> {
        self.0.get(usize::from(ty)).copied().flatten()
    }

    /// Whether there is one of that type.
    pub(crate) fn has(&self, ty: u16) -> bool {
        self.attr(ty).is_some()
    }
}

/// The extended acknowledgement of a request: what its sender is told about an error.
///
/// # Invariants
///
/// `ptr` is null or points to a `struct netlink_ext_ack` that is valid during `'a` and that only the thread which
/// handles the request uses.
pub(crate) struct ExtAck<'a> {
    ptr: *mut bindings::netlink_ext_ack,
    _p: PhantomData<&'a ()>,
}

impl ExtAck<'_> {
    /// # Safety
    ///
    /// `ptr` must be null or as the type invariant says.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::netlink_ext_ack) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            ptr,
            _p: PhantomData,
        }
    }

    /// `NL_SET_ERR_MSG()`: has the sender told why, and returns the error.
    pub(crate) fn err(&self, errno: Error, message: &'static CStr) -> Error {
        // SAFETY: The message is a C string. It only goes to a tracepoint.
        unsafe { bindings::do_trace_netlink_extack(message.as_char_ptr()) };
        if !self.ptr.is_null() {
            // SAFETY: By the type invariant. The message is never freed.
            unsafe { (*self.ptr)._msg = message.as_char_ptr() };
        }
        errno
    }

    /// `NL_SET_ERR_MSG_ATTR()`: has the sender told why and which attribute it was, and returns the error.
    pub(crate) fn err_attr(&self, errno: Error, attr: &Attr<'_>, message: &'static CStr) -> Error {
        if !self.ptr.is_null() {
            // SAFETY: By the type invariant. The core compares this pointer with the bounds of the request, and
            // does not follow it.
            unsafe {
                (*self.ptr).bad_attr = attr.header.as_ptr();
                (*self.ptr).policy = ptr::null();
            }
        }
        self.err(errno, message)
    }

    /// As [`ExtAck::err`], unless a message is there already.
    pub(crate) fn err_weak(&self, errno: Error, message: &'static CStr) -> Error {
        // SAFETY: By the type invariant, if it is not null.
        if !self.ptr.is_null() && unsafe { (*self.ptr)._msg.is_null() } {
            return self.err(errno, message);
        }
        errno
    }

    /// `NL_SET_ERR_ATTR_MISS()`: has the sender told which type of attribute is missing from the request, or from a
    /// nest of it, and why, and returns the error.
    pub(crate) fn err_missing(
        &self,
        errno: Error,
        nest: Option<&Attr<'_>>,
        ty: u16,
        message: &'static CStr,
    ) -> Error {
        if !self.ptr.is_null() {
            // SAFETY: By the type invariant. The core does not follow `miss_nest`, see `err_attr()`.
            unsafe {
                (*self.ptr).miss_nest = nest.map_or(ptr::null(), |nest| nest.header.as_ptr());
                (*self.ptr).miss_type = ty;
            }
        }
        self.err(errno, message)
    }
}

/// Something that attributes can be appended to.
///
/// Every function fails with `EMSGSIZE` where the buffer has no room left, and then changes nothing.
///
/// # Safety
///
/// [`Put::as_raw`] must return a valid, linear buffer that belongs to the caller, the same one each time.
pub(crate) unsafe trait Put {
    /// The buffer that is written to.
    fn as_raw(&mut self) -> *mut bindings::sk_buff;

    /// Appends bytes.
    fn put(&mut self, ty: u16, payload: &[u8]) -> Result {
        if payload.len() > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: The buffer is valid by the safety requirement of the trait, and the payload is for its length. The
        // function looks for room itself.
        to_result(unsafe {
            bindings::nla_put(
                self.as_raw(),
                ty.into(),
                payload.len() as i32,
                payload.as_ptr().cast(),
            )
        })
    }

    /// Appends a number of one byte.
    fn put_u8(&mut self, ty: u16, value: u8) -> Result {
        self.put(ty, &[value])
    }

    /// Appends a number of two bytes.
    fn put_u16(&mut self, ty: u16, value: u16) -> Result {
        self.put(ty, &value.to_ne_bytes())
    }

    /// Appends a number of four bytes.
    fn put_u32(&mut self, ty: u16, value: u32) -> Result {
        self.put(ty, &value.to_ne_bytes())
    }

    /// Appends a number of eight bytes, with an attribute of type `pad` before it where it takes that to align it
    /// (`nla_put_u64_64bit()`).
    fn put_u64_64bit(&mut self, ty: u16, value: u64, pad: u16) -> Result {
        let value = value.to_ne_bytes();
        // SAFETY: As in `put()`.
        to_result(unsafe {
            bindings::nla_put_64bit(
                self.as_raw(),
                ty.into(),
                value.len() as i32,
                value.as_ptr().cast(),
                pad.into(),
            )
        })
    }

    /// Appends a string with its terminating NUL.
    fn put_string(&mut self, ty: u16, value: &CStr) -> Result {
        self.put(ty, value.to_bytes_with_nul())
    }

    /// Appends an attribute that contains those which are then appended to what is returned.
    fn nest(&mut self, ty: u16) -> Result<Nest<'_>> {
        let skb = self.as_raw();
        // SAFETY: The buffer is valid by the safety requirement of the trait.
        let start = unsafe { (*skb).len };
        self.put(ty | NLA_F_NESTED, &[])?;
        // INVARIANT: The header was just put at `start`.
        Ok(Nest {
            skb,
            start,
            _p: PhantomData,
        })
    }
}

/// An attribute that contains attributes and is being written. If it is dropped and not [ended](Nest::end), it is
/// taken back with all that was put into it.
///
/// # Invariants
///
/// * `skb` is a buffer as [`Put`] wants it, borrowed for `'a`.
/// * The header of an attribute is `start` bytes after the beginning of its data.
pub(crate) struct Nest<'a> {
    skb: *mut bindings::sk_buff,
    start: u32,
    _p: PhantomData<&'a mut bindings::sk_buff>,
}

impl Nest<'_> {
    /// Finishes the attribute.
    ///
    /// `EMSGSIZE`: it contains more than its length can say, and was taken back.
    pub(crate) fn end(self) -> Result {
        // SAFETY: By the type invariant.
        let (data, len) = unsafe { ((*self.skb).data, (*self.skb).len) };
        let nla_len = u16::try_from(len.wrapping_sub(self.start)).map_err(|_| EMSGSIZE)?;
        // SAFETY: By the type invariant the header is there, and `nla_len` is its first field. The buffer need not be
        // aligned: its size is the reader's choice and it is filled up to its end.
        unsafe {
            data.add(self.start as usize)
                .cast::<u16>()
                .write_unaligned(nla_len);
        }
        core::mem::forget(self);
        Ok(())
    }
}

// SAFETY: By the type invariants.
unsafe impl Put for Nest<'_> {
    fn as_raw(&mut self) -> *mut bindings::sk_buff {
        self.skb
    }
}

impl Drop for Nest<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; the function shortens the data and never lengthens it.
        unsafe { bindings::skb_trim(self.skb, self.start) };
    }
}
