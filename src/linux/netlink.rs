// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: policies, validated attributes of a request, and attributes of a reply.
//!
//! The core validates a request against a [`Policy`] before its handler runs. The handler then sees
//! [`Attr`]s. Each still knows its length, so a handler that disagrees with its policy gets an
//! error and never reads past an attribute. A reply is written through [`Put`].
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
    str::CStr, //
};

use super::bindings;

mod extack;
mod policy;
mod put;

pub(crate) use extack::ExtAck;
pub(crate) use policy::{
    Policy,
    PolicyRef,
    Rule, //
};
pub(crate) use put::{
    Buffer,
    Nest,
    Put, //
};

/// Length of an attribute's header, in bytes (`NLA_HDRLEN`).
const NLA_HDRLEN: usize = size_of::<bindings::nlattr>();
/// The bits of `nla_type` that hold the type, without the flags (`NLA_TYPE_MASK`).
const NLA_TYPE_MASK: u16 = !((bindings::NLA_F_NESTED | bindings::NLA_F_NET_BYTEORDER) as u16);
/// The flag of an attribute that contains attributes.
const NLA_F_NESTED: u16 = bindings::NLA_F_NESTED as u16;
/// The flags of `NL_VALIDATE_STRICT`.
const NL_VALIDATE_STRICT: u32 = bindings::netlink_validation_NL_VALIDATE_TRAILING
    | bindings::netlink_validation_NL_VALIDATE_MAXTYPE
    | bindings::netlink_validation_NL_VALIDATE_UNSPEC
    | bindings::netlink_validation_NL_VALIDATE_STRICT_ATTRS
    | bindings::netlink_validation_NL_VALIDATE_NESTED;

/// The bytes that an attribute of `len` bytes takes in a stream (`NLA_ALIGN()`).
const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// A sequence of attributes in memory.
///
/// As an iterator it ends where the bytes are not a whole attribute.
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
    /// `len` bytes at `head` must be valid for reads for as long as the value or a copy of it is
    /// used.
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
    /// The bytes behind the header.
    payload: Stream,
}

impl Iterator for Stream {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        if self.len < NLA_HDRLEN {
            return None;
        }
        let header = self.head;
        // SAFETY: By the type invariant the bytes are valid, and by the check above there are
        // enough of them. They need not be aligned.
        let bindings::nlattr { nla_len, nla_type } =
            unsafe { header.cast::<bindings::nlattr>().read_unaligned() };
        let len = usize::from(nla_len);
        let payload = len.checked_sub(NLA_HDRLEN)?;
        if len > self.len {
            return None;
        }
        let total = align(len).min(self.len);
        // INVARIANT: `total <= self.len`, so the bytes behind the first `total` ones belong to the
        // stream, too.
        // SAFETY: As above.
        self.head = unsafe { header.add(total) };
        self.len = self.len.wrapping_sub(total);
        Some(Raw {
            header,
            nla_type,
            // INVARIANT: The attribute with its header, `len` bytes, lies in the stream.
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
/// `header` points to an attribute: `nla_len` bytes from there, at least a header, are valid for
/// reads and not written to during `'a`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Attr<'a> {
    header: NonNull<bindings::nlattr>,
    _p: PhantomData<&'a [u8]>,
}

impl<'a> Attr<'a> {
    fn header(&self) -> bindings::nlattr {
        // SAFETY: By the type invariant at least a header is valid for reads.
        unsafe { self.header.as_ptr().read_unaligned() }
    }

    /// The C structure.
    fn as_raw(&self) -> *const bindings::nlattr {
        self.header.as_ptr()
    }

    /// The type, without flags.
    pub(crate) fn ty(&self) -> u16 {
        self.header().nla_type & NLA_TYPE_MASK
    }

    /// The bytes behind the attribute's header.
    pub(crate) fn payload(&self) -> &'a [u8] {
        let len = usize::from(self.header().nla_len).saturating_sub(NLA_HDRLEN);
        // SAFETY: By the type invariant the header is valid, so the address behind it is in bounds.
        let data = unsafe { self.header.as_ptr().cast::<u8>().add(NLA_HDRLEN) };
        // SAFETY: By the type invariant `len` bytes behind the header are valid and do not change
        // during `'a`.
        unsafe { core::slice::from_raw_parts(data, len) }
    }

    /// The attributes that this one contains, of the types `1..N`.
    ///
    /// Their payloads are not validated here: with a rule of [`Rule::nested`] or
    /// [`Rule::nested_array`] the core has validated them before the handler is called. If a type
    /// comes twice, the last attribute counts.
    ///
    /// `EINVAL`: the attribute lacks `NLA_F_NESTED`, or it contains an attribute of type 0 or of
    /// type `N` or above, or trailing bytes.
    pub(crate) fn nested<const N: usize>(&self, extack: &ExtAck<'_>) -> Result<Attrs<'a, N>> {
        const { assert!(N > 0 && N <= u16::MAX as usize) };
        if self.header().nla_type & NLA_F_NESTED == 0 {
            return Err(extack.err_attr(EINVAL, self, c"NLA_F_NESTED is missing"));
        }
        let payload = self.payload();
        let mut attrs = Attrs::<'a, N>([None; N]);
        // SAFETY: `attrs` has `N` places, each a pointer that may be null. The payload is valid for
        // its length, which fits 16 bits. With a null policy the function does not read the
        // payloads of the attributes. The function puts only whole attributes of the payload into
        // `attrs`, so they satisfy the type invariant of `Attr`.
        to_result(unsafe {
            bindings::__nla_parse(
                attrs.0.as_mut_ptr().cast(),
                N.wrapping_sub(1) as i32,
                payload.as_ptr().cast(),
                payload.len() as i32,
                ptr::null(),
                NL_VALIDATE_STRICT,
                extack.as_raw(),
            )
        })?;
        Ok(attrs)
    }

    /// The elements of a [nested array](Rule::nested_array), in order.
    pub(crate) fn elements(&self) -> Elements<'a> {
        let payload = self.payload();
        Elements {
            // INVARIANT: The payload is valid and does not change during `'a`.
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
        // INVARIANT: An attribute of the stream lies in the stream's bytes, which are valid during
        // `'a`.
        Some(Attr {
            header: NonNull::new(self.stream.next()?.header)?.cast(),
            _p: PhantomData,
        })
    }
}

/// A type that an attribute's payload can be read as.
pub(crate) trait FromAttr<'a>: Sized {
    /// Reads the payload; `None` if its length or form is not that of this type.
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
/// The place of each type in `0..N` holds the last attribute of that type, or `None`.
pub(crate) struct Attrs<'a, const N: usize>([Option<Attr<'a>>; N]);

impl<'a, const N: usize> Attrs<'a, N> {
    /// Takes the pointers from a table of the core.
    ///
    /// # Safety
    ///
    /// The `len` places at `table` must each hold null or a pointer to an attribute as [`Attr`]
    /// describes it. If `len` is zero, `table` may be anything.
    pub(super) unsafe fn from_raw(table: *const *mut bindings::nlattr, len: usize) -> Self {
        let mut attrs = [None; N];
        for (i, attr) in attrs.iter_mut().enumerate().take(len) {
            // SAFETY: By the safety requirement there are more than `i` places.
            let place = unsafe { table.add(i) };
            // SAFETY: As above.
            let header = unsafe { *place };
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
    /// `EINVAL`: its payload is not a `T`. The policy should have refused it.
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
}
