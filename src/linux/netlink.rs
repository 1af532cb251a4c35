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

/// Bytes of an attribute's header (`NLA_HDRLEN`).
const NLA_HDRLEN: usize = size_of::<bindings::nlattr>();
/// The bits of `nla_type` that are the type (`NLA_TYPE_MASK`).
const NLA_TYPE_MASK: u16 = !((bindings::NLA_F_NESTED | bindings::NLA_F_NET_BYTEORDER) as u16);
/// The flag of an attribute that contains attributes.
const NLA_F_NESTED: u16 = bindings::NLA_F_NESTED as u16;
/// What `NL_VALIDATE_STRICT` stands for.
const NL_VALIDATE_STRICT: u32 = bindings::netlink_validation_NL_VALIDATE_TRAILING
    | bindings::netlink_validation_NL_VALIDATE_MAXTYPE
    | bindings::netlink_validation_NL_VALIDATE_UNSPEC
    | bindings::netlink_validation_NL_VALIDATE_STRICT_ATTRS
    | bindings::netlink_validation_NL_VALIDATE_NESTED;

/// The space an attribute takes in a stream (`NLA_ALIGN()`).
const fn align(len: usize) -> usize {
    len.saturating_add(3) & !3
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

    /// The C structure.
    fn as_raw(&self) -> *const bindings::nlattr {
        self.header.as_ptr()
    }

    /// What the attribute contains.
    pub(crate) fn payload(&self) -> &'a [u8] {
        let len = usize::from(self.header().nla_len).saturating_sub(NLA_HDRLEN);
        // SAFETY: By the type invariant the header is there.
        let data = unsafe { self.header.as_ptr().cast::<u8>().add(NLA_HDRLEN) };
        // SAFETY: By the type invariant so many bytes after the header are valid and do not change during `'a`.
        unsafe { core::slice::from_raw_parts(data, len) }
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
                extack.as_raw(),
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
