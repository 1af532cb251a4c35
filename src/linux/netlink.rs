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
    mem::{
        size_of,
        take, //
    },
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr, //
};
use zerocopy::FromBytes;

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

/// The header of the attribute that `bytes` begin with (`struct nlattr`): its length, with the
/// header, in bytes, and its type, with the flags. `None` if the bytes are not a whole attribute.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let ([nla_len, nla_type], _) = <[u16; 2]>::read_from_prefix(bytes).ok()?;
    let len = usize::from(nla_len);
    (NLA_HDRLEN <= len && len <= bytes.len()).then_some((len, nla_type))
}

/// A sequence of attributes in memory, for writing to their payloads.
///
/// As an iterator over types, without flags, and payloads it ends where the bytes are not a whole
/// attribute.
struct StreamMut<'a>(&'a mut [u8]);

impl<'a> Iterator for StreamMut<'a> {
    type Item = (u16, &'a mut [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, nla_type) = header(self.0)?;
        let total = align(len).min(self.0.len());
        let (attr, rest) = take(&mut self.0).split_at_mut_checked(total)?;
        self.0 = rest;
        Some((nla_type & NLA_TYPE_MASK, attr.get_mut(NLA_HDRLEN..len)?))
    }
}

/// An attribute of a request.
#[derive(Clone, Copy)]
pub(crate) struct Attr<'a> {
    /// The type, with flags.
    nla_type: u16,
    /// The header and the payload.
    bytes: &'a [u8],
}

impl<'a> Attr<'a> {
    /// The attribute that `bytes` begin with; `None` if they are not a whole attribute.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (len, nla_type) = header(bytes)?;
        let bytes = bytes.get(..len)?;
        Some(Self { nla_type, bytes })
    }

    /// The C structure.
    fn as_raw(&self) -> *const bindings::nlattr {
        self.bytes.as_ptr().cast()
    }

    /// The type, without flags.
    pub(crate) fn ty(&self) -> u16 {
        self.nla_type & NLA_TYPE_MASK
    }

    /// The bytes behind the attribute's header.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(NLA_HDRLEN..).unwrap_or_default()
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
        if self.nla_type & NLA_F_NESTED == 0 {
            return Err(extack.err_attr(EINVAL, self, c"NLA_F_NESTED is missing"));
        }
        let (payload, mut table) = (self.payload(), [ptr::null_mut(); N]);
        // SAFETY: `table` has `N` places. The payload is valid for its length, which fits 16 bits.
        // With a null policy the function does not read the payloads of the attributes.
        to_result(unsafe {
            bindings::__nla_parse(
                table.as_mut_ptr(),
                N.wrapping_sub(1) as i32,
                payload.as_ptr().cast(),
                payload.len() as i32,
                ptr::null(),
                NL_VALIDATE_STRICT,
                extack.as_raw(),
            )
        })?;
        Ok(Attrs::of(&table, payload))
    }

    /// The elements of a [nested array](Rule::nested_array), in order.
    pub(crate) fn elements(&self) -> Elements<'a> {
        Elements(self.payload())
    }
}

/// Iterator over a sequence of attributes in memory. It ends where the bytes are not a whole
/// attribute.
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let attr = Attr::first(self.0)?;
        self.0 = self.0.get(align(attr.bytes.len())..).unwrap_or_default();
        Some(attr)
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

/// The attributes of a request or of a nest: for each type in `0..N` the last one of that type.
pub(crate) struct Attrs<'a, const N: usize>([Option<Attr<'a>>; N]);

impl<'a, const N: usize> Attrs<'a, N> {
    /// The attributes in `bytes` to which a table of the core points: null, or to the attribute of
    /// the type that is its place.
    pub(super) fn of(table: &[*mut bindings::nlattr], bytes: &'a [u8]) -> Self {
        let mut attrs = [None; N];
        for (attr, header) in attrs.iter_mut().zip(table) {
            let offset = header.addr().wrapping_sub(bytes.as_ptr().addr());
            *attr = bytes.get(offset..).and_then(Attr::first);
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
