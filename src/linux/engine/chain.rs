// SPDX-License-Identifier: GPL-2.0

//! Aggregates of datagrams that keep the buffers they were made in. [`Chain`] makes one.
//!
//! As with [`Segments`](super::Segments), the datagrams walk the stack as one skb, and the stack
//! splits it where they have to be seen one by one. That copies nothing here: the datagrams are the
//! fragment list of the skb, and each gets the common headers put in front of it. So a datagram
//! that was encrypted in place needs no other memory on its way, and its receiver can decrypt it in
//! place.
//!
//! A device that could segment itself, but takes no list, has the stack split the skb:
//! [`Route::takes_lists`](crate::linux::route::Route::takes_lists) tells.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h) (`frag_list`,
//! `SKB_GSO_UDP_L4`)

use core::ptr;
use kernel::prelude::*;

use super::segments::most_datagrams;
use crate::linux::{
    bindings,
    skbuff::{
        SkBuff,
        UDP_HEADER_LEN, //
    }, //
};

/// An aggregate that is being made.
///
/// # Invariants
///
/// * `skb` has neither linear data nor fragments. Its fragment list are `count` buffers, of which
///   `last` is the last; `last` is null if there is none. The list is `skb`'s alone.
/// * Each buffer of the list has all of its data in the linear part, and no clone. All have
///   `len` bytes, except that the last may be shorter.
pub(crate) struct Chain {
    skb: SkBuff,
    last: *mut bindings::sk_buff,
    len: usize,
    count: usize,
    /// How many datagrams there are to be.
    wanted: usize,
    /// No datagram can follow.
    complete: bool,
}

impl Chain {
    /// An empty aggregate for at most `wanted` datagrams of `len` bytes, with `headroom` bytes in
    /// front for the headers that they will share, the UDP header among them.
    ///
    /// Any context but hard interrupts. `EINVAL` if such a datagram is too long, or if the headroom
    /// is too small or too large; `ENOMEM`.
    pub(crate) fn new(headroom: usize, len: usize, wanted: usize) -> Result<Self> {
        let wanted = wanted.min(most_datagrams(len));
        if wanted == 0 || headroom < UDP_HEADER_LEN {
            return Err(EINVAL);
        }
        let mut skb = SkBuff::alloc(headroom, 0)?;
        skb.set_inner_network_header();
        // INVARIANT: The new buffer has neither data nor a list.
        Ok(Self {
            skb,
            last: ptr::null_mut(),
            len,
            count: 0,
            wanted,
            complete: false,
        })
    }

    /// Largest length of the next datagram, in bytes; 0 if none can follow.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        if self.complete {
            0
        } else {
            self.len
        }
    }

    /// A packet with the socket and the flow hash of the first datagram, to compare others with.
    #[inline]
    pub(crate) fn like(&self) -> &SkBuff {
        &self.skb
    }

    /// Appends a datagram. Gives it back if it is longer than [`Self::room`], or not
    /// [private](SkBuff::is_private).
    ///
    /// The aggregate has the flow hash of the first datagram, belongs to its socket, and takes over
    /// what the datagrams are charged to that socket. So all must have the
    /// [same owner](SkBuff::same_owner) and the [same flow](SkBuff::same_flow), and none may be one
    /// that [goes alone](SkBuff::goes_alone). Headers in front of the data should have as much room
    /// as the aggregate has for them: otherwise a datagram is copied when it gets its headers.
    ///
    /// Any context but hard interrupts. A datagram of another owner is taken from it, which may
    /// call its socket.
    pub(crate) fn push(&mut self, datagram: SkBuff) -> core::result::Result<(), SkBuff> {
        let len = datagram.len();
        if len > self.room() || !datagram.is_private(0, 0) || datagram.is_gso() {
            return Err(datagram);
        }
        let datagram = datagram.into_raw();
        // SAFETY: Both buffers are valid and ours. `last` is null or the end of the list of `skb`,
        // by the type invariant. The datagram, which passes to the list, has all data in the linear
        // part and no clone, and is not on any list.
        unsafe { bindings::helper_skb_chain(self.skb.as_raw(), self.last, datagram) };
        // INVARIANT: The datagram is the new end of the list, and meets the conditions. If it is
        // shorter, no other follows.
        self.last = datagram;
        self.count = self.count.wrapping_add(1);
        self.complete = len < self.len || self.count >= self.wanted;
        Ok(())
    }

    /// The aggregate, to be sent as UDP; `None` if it has no datagram.
    pub(crate) fn finish(self) -> Option<SkBuff> {
        let Self {
            mut skb,
            len,
            count,
            ..
        } = self;
        if count == 0 {
            // Nothing is lost with it.
            skb.consume();
            return None;
        }
        if count > 1 {
            // Both numbers fit 16 bits: `new()` has bounded them.
            skb.set_udp_gso(len as u16, count as u16)?;
        }
        Some(skb)
    }
}
