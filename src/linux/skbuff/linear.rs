// SPDX-License-Identifier: GPL-2.0

//! The memory of a packet that is in one piece, for writing.

use core::{
    ptr,
    slice, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

use super::SkBuff;
use crate::linux::bindings;

/// A packet whose data, headroom and tailroom nothing else refers to.
///
/// # Invariants
///
/// All data of the packet are in its linear part, which no clone shares.
pub(in crate::linux) struct Linear<'a>(&'a mut SkBuff);

impl SkBuff {
    /// The memory of the packet; `None` if its data are in pieces, or a clone shares them.
    #[inline]
    pub(in crate::linux) fn linear(&mut self) -> Option<Linear<'_>> {
        // INVARIANT: `is_private()` has checked it.
        self.is_private(0, 0).then_some(Linear(self))
    }

    /// The memory of the packet, with at least `tailroom` bytes behind the data, which are copied
    /// if need be.
    ///
    /// `EINVAL` if `tailroom` is more than `i32::MAX`, `ENOMEM`.
    #[inline]
    pub(in crate::linux) fn make_linear(&mut self, tailroom: usize) -> Result<Linear<'_>> {
        if !self.is_private(0, tailroom) {
            let tailroom = i32::try_from(tailroom).map_err(|_| EINVAL)?;
            // SAFETY: The buffer is valid and ours.
            to_result(unsafe { bindings::skb_linearize(self.as_raw()) })?;
            let mut trailer = ptr::null_mut();
            // SAFETY: As above.
            to_result(unsafe { bindings::skb_cow_data(self.as_raw(), tailroom, &mut trailer) })?;
        }
        // INVARIANT: `is_private()` has checked it, or the functions above have seen to it.
        Ok(Linear(self))
    }

    /// `skb_linearize_cow()`: the memory of the packet, whose data are copied if need be.
    #[inline]
    pub(in crate::linux) fn linearize_cow(&mut self) -> Result<Linear<'_>> {
        // SAFETY: The buffer is valid and ours.
        to_result(unsafe { bindings::skb_linearize_cow(self.as_raw()) })?;
        // INVARIANT: The function has seen to it.
        Ok(Linear(self))
    }
}

impl Linear<'_> {
    /// Bytes behind the data.
    #[inline]
    pub(in crate::linux) fn tailroom(&self) -> usize {
        self.0.tailroom()
    }

    /// See [`SkBuff::pull`].
    #[inline]
    pub(in crate::linux) fn pull(&mut self, len: usize) -> Result {
        self.0.pull(len)
    }

    /// See [`SkBuff::push`].
    #[inline]
    pub(in crate::linux) fn push(&mut self, len: usize) -> Result {
        self.0.push(len)
    }

    /// `skb_put()`: makes the first `len` bytes of the tailroom part of the data. They have any
    /// value until they are written.
    ///
    /// `ENOSPC` if there are fewer.
    #[inline]
    pub(in crate::linux) fn put(&mut self, len: usize) -> Result {
        if len > self.tailroom() {
            return Err(ENOSPC);
        }
        let skb = self.0.skb_mut();
        skb.tail = skb.tail.wrapping_add(len as u32);
        skb.len = skb.len.wrapping_add(len as u32);
        Ok(())
    }

    /// The data, with `front` bytes in front of them and `back` bytes behind them; `None` if there
    /// are fewer.
    #[inline]
    pub(in crate::linux) fn memory(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        if front > self.0.headroom() || back > self.tailroom() {
            return None;
        }
        let start = self.0.skb().data.wrapping_sub(front);
        let len = front.wrapping_add(self.0.len()).wrapping_add(back);
        // SAFETY: By the type invariant the data are in one piece, with the headroom and the
        // tailroom that was checked above, and `self` is borrowed exclusively. C leaves some of the
        // bytes uninitialised, but any value is as good as any other.
        Some(unsafe { slice::from_raw_parts_mut(start, len) })
    }
}
