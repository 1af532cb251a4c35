// SPDX-License-Identifier: GPL-2.0

//! What can be seen of a packet once it is encapsulated: its socket, its flow, and what it asks
//! for.
//!
//! [`SkBuff::reset`] clears everything else: mark, priority, queue, connection tracking, security
//! mark. Packets that are equal in what is left may become one packet outside.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use super::SkBuff;
use crate::linux::bindings;

impl SkBuff {
    /// Whether the packet asks for something that no other packet can get in its place (a
    /// timestamp, or word that its memory is free), or belongs to a socket that does not count
    /// its bytes, which another packet could not keep.
    #[inline]
    pub(crate) fn goes_alone(&self) -> bool {
        // SAFETY: The buffer is valid, and so is the socket it belongs to.
        unsafe { bindings::helper_skb_goes_alone(self.as_raw()) }
    }

    /// Whether both packets belong to the same socket, which hears in the same way when they are
    /// freed, or to none.
    #[inline]
    pub(crate) fn same_owner(&self, other: &Self) -> bool {
        let told = |skb: &Self| {
            // SAFETY: Of the union only these fields are used while a packet is sent.
            unsafe { skb.skb().__bindgen_anon_3.__bindgen_anon_1.destructor }
                .map(|destructor| destructor as usize)
        };
        core::ptr::eq(self.skb().sk, other.skb().sk) && told(self) == told(other)
    }

    /// Whether both packets have the same flow hash. A packet from inside a tunnel gets one before
    /// [`Driver::start_xmit`](crate::linux::netdevice::Driver::start_xmit).
    #[inline]
    pub(crate) fn same_flow(&self, other: &Self) -> bool {
        let (a, b) = (self.headers(), other.headers());
        a.hash == b.hash && a.l4_hash() == b.l4_hash()
    }
}
