// SPDX-License-Identifier: GPL-2.0

//! Attributes of a message that is being written.

use core::mem::forget;
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr, //
};

use super::{
    super::bindings,
    NLA_F_NESTED,
    NLA_HDRLEN, //
};

/// Longest payload whose attribute's length fits the 16 bits it has.
const MAX_PAYLOAD: usize = u16::MAX as usize - NLA_HDRLEN;

/// A buffer that messages are written to, one after another from its beginning.
///
/// # Invariants
///
/// `skb` is a valid buffer that is linear, whose data is initialised.
pub(crate) struct Buffer<'a> {
    skb: &'a mut bindings::sk_buff,
}

impl<'a> Buffer<'a> {
    /// # Safety
    ///
    /// `skb` must be a valid buffer, linear, with initialised data, which nobody else uses during `'a`.
    pub(in crate::linux) unsafe fn from_raw(skb: *mut bindings::sk_buff) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            // SAFETY: By the safety requirement.
            skb: unsafe { &mut *skb },
        }
    }

    /// The same buffer, for a shorter time.
    pub(in crate::linux) fn reborrow(&mut self) -> Buffer<'_> {
        // INVARIANT: It is the same.
        Buffer { skb: self.skb }
    }

    /// The C structure.
    pub(in crate::linux) fn as_raw(&mut self) -> *mut bindings::sk_buff {
        self.skb
    }

    /// Bytes written.
    pub(in crate::linux) fn len(&self) -> u32 {
        self.skb.len
    }

    /// Takes back what was written after the first `len` bytes.
    pub(in crate::linux) fn trim(&mut self, len: u32) {
        // SAFETY: By the type invariant. The function shortens the data and never lengthens it.
        unsafe { bindings::skb_trim(self.skb, len) };
    }

    /// Overwrites what is at `offset`, if that was written before.
    pub(in crate::linux) fn patch<const N: usize>(&mut self, offset: u32, value: [u8; N]) {
        // SAFETY: By the type invariant.
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

/// Something that attributes can be appended to.
///
/// Every function fails with `EMSGSIZE` where the buffer has no room left, and then changes nothing.
pub(crate) trait Put {
    /// The buffer that is written to.
    fn buffer(&mut self) -> Buffer<'_>;

    /// Appends bytes.
    fn put(&mut self, ty: u16, payload: &[u8]) -> Result {
        if payload.len() > MAX_PAYLOAD {
            return Err(EMSGSIZE);
        }
        // SAFETY: The buffer is valid by its type invariant, and the payload is for its length, which was looked at. The
        // function looks for room itself.
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

    /// Appends an attribute that contains those which are then appended to what is returned.
    fn nest(&mut self, ty: u16) -> Result<Nest<'_>> {
        let start = self.buffer().len();
        self.put(ty | NLA_F_NESTED, &[])?;
        Ok(Nest {
            buffer: self.buffer(),
            start,
        })
    }
}

/// An attribute that contains attributes and is being written. If it is dropped and not [ended](Nest::end), it is
/// taken back with all that was put into it.
pub(crate) struct Nest<'a> {
    buffer: Buffer<'a>,
    /// Where its header is.
    start: u32,
}

impl Nest<'_> {
    /// Finishes the attribute.
    ///
    /// `EMSGSIZE`: it contains more than its length can say, and was taken back.
    pub(crate) fn end(mut self) -> Result {
        let len = self.buffer.len().wrapping_sub(self.start);
        let nla_len = u16::try_from(len).map_err(|_| EMSGSIZE)?;
        // It is the first field of the header.
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
