// SPDX-License-Identifier: GPL-2.0

//! Attributes of a message that is being written.

use core::mem::forget;
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr, //
};

use super::{
    super::{
        bindings,
        skbuff::SkBuff, //
    },
    NLA_F_NESTED,
    NLA_HDRLEN, //
};

/// Longest payload, in bytes: the attribute's length has 16 bits.
const MAX_PAYLOAD: usize = u16::MAX as usize - NLA_HDRLEN;

/// A buffer for messages, which follow one another from its beginning.
///
/// # Invariants
///
/// `skb` is a valid, linear buffer, and its data is initialised.
pub(crate) struct Buffer<'a> {
    skb: &'a mut bindings::sk_buff,
}

impl<'a> Buffer<'a> {
    /// Writes to `skb`. `EINVAL` if it is in pieces, or a clone shares its data.
    pub(in crate::linux) fn new(skb: &'a mut SkBuff) -> Result<Self> {
        if !skb.is_private(0, 0) {
            return Err(EINVAL);
        }
        // INVARIANT: The buffer is linear (see above), and the linear data of a packet are
        // initialised.
        Ok(Self { skb: skb.skb_mut() })
    }

    /// # Safety
    ///
    /// `skb` must be a valid, linear buffer with initialised data. Only the new value may use it
    /// during `'a`.
    pub(in crate::linux) unsafe fn from_raw(skb: *mut bindings::sk_buff) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            // SAFETY: By the safety requirement.
            skb: unsafe { &mut *skb },
        }
    }

    /// The same buffer, borrowed for a shorter time.
    pub(in crate::linux) fn reborrow(&mut self) -> Buffer<'_> {
        // INVARIANT: The buffer is the same.
        Buffer { skb: self.skb }
    }

    /// The C structure.
    pub(in crate::linux) fn as_raw(&mut self) -> *mut bindings::sk_buff {
        self.skb
    }

    /// The number of bytes written.
    pub(in crate::linux) fn len(&self) -> u32 {
        self.skb.len
    }

    /// Removes all but the first `len` bytes written.
    pub(in crate::linux) fn trim(&mut self, len: u32) {
        // SAFETY: The buffer is valid by the type invariant. The function shortens the data and
        // never lengthens it.
        unsafe { bindings::skb_trim(self.skb, len) };
    }

    /// Overwrites `N` bytes at `offset`, if all of them were written before. Otherwise does
    /// nothing.
    pub(in crate::linux) fn patch<const N: usize>(&mut self, offset: u32, value: [u8; N]) {
        // SAFETY: By the type invariant the buffer is linear, so `len` bytes at `data` are valid,
        // and they are initialised. `self` is borrowed exclusively, so nothing else uses these
        // bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(self.skb.data, self.skb.len as usize) };
        let place = bytes
            .get_mut(offset as usize..)
            .and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = value;
        }
    }
}

/// A message or an attribute that attributes can be appended to.
///
/// Every function fails with `EMSGSIZE` if the buffer has no room left, and then changes nothing.
pub(crate) trait Put {
    /// The buffer to append to.
    fn buffer(&mut self) -> Buffer<'_>;

    /// Appends an attribute with the bytes `payload`.
    fn put(&mut self, ty: u16, payload: &[u8]) -> Result {
        if payload.len() > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: The buffer is valid by its type invariant. The payload is valid for its length,
        // which the check above bounds. The function checks for room itself.
        to_result(unsafe {
            bindings::nla_put(
                self.buffer().as_raw(),
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

    /// Appends a number of two bytes, host byte order.
    fn put_u16(&mut self, ty: u16, value: u16) -> Result {
        self.put(ty, &value.to_ne_bytes())
    }

    /// Appends a number of four bytes, host byte order.
    fn put_u32(&mut self, ty: u16, value: u32) -> Result {
        self.put(ty, &value.to_ne_bytes())
    }

    /// Appends a number of eight bytes, host byte order, preceded by an attribute of type `pad`
    /// where its alignment requires that (`nla_put_u64_64bit()`).
    fn put_u64_64bit(&mut self, ty: u16, value: u64, pad: u16) -> Result {
        let value = value.to_ne_bytes();
        // SAFETY: As in `put()`.
        to_result(unsafe {
            bindings::nla_put_64bit(
                self.buffer().as_raw(),
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

    /// Begins an attribute that contains attributes. Append those to the returned [`Nest`].
    fn nest(&mut self, ty: u16) -> Result<Nest<'_>> {
        let start = self.buffer().len();
        self.put(ty | NLA_F_NESTED, &[])?;
        Ok(Nest {
            buffer: self.buffer(),
            start,
        })
    }
}

/// An attribute that contains attributes, while it is being written. Dropping it without
/// [`Nest::end`] removes it from the buffer, with everything appended to it.
pub(crate) struct Nest<'a> {
    buffer: Buffer<'a>,
    /// Offset of its header in the buffer, in bytes.
    start: u32,
}

impl Nest<'_> {
    /// Finishes the attribute.
    ///
    /// `EMSGSIZE`: it is longer than its 16-bit length can say, and was removed from the buffer.
    pub(crate) fn end(mut self) -> Result {
        let len = self.buffer.len().wrapping_sub(self.start);
        let nla_len = u16::try_from(len).map_err(|_| EMSGSIZE)?;
        // The length is the first field of the header.
        self.buffer.patch(self.start, nla_len.to_ne_bytes());
        forget(self);
        Ok(())
    }
}

impl Put for Nest<'_> {
    fn buffer(&mut self) -> Buffer<'_> {
        self.buffer.reborrow()
    }
}

impl Drop for Nest<'_> {
    fn drop(&mut self) {
        self.buffer.trim(self.start);
    }
}
