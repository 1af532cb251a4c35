// SPDX-License-Identifier: GPL-2.0

//! The properties of a packet that stay visible once it is encapsulated: its socket, its flow, and
//! its requests.
//!
//! [`SkBuff::reset`] clears everything else: mark, priority, queue, connection tracking, security
//! mark. Packets that are equal in the rest may leave in one aggregate.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use crate::linux::{
    bindings,
    skbuff::SkBuff, //
};

impl SkBuff {
    /// Whether the packet may not share an aggregate. It asks for something that no other packet
    /// can get in its place (a timestamp, or notice that its memory is free), or its socket does
    /// not count its bytes, so that no other packet could belong to that socket.
    #[inline]
    pub(crate) fn goes_alone(&self) -> bool {
        // SAFETY: The buffer is valid, and so is the socket it belongs to.
        unsafe { bindings::helper_skb_goes_alone(self.as_raw()) }
    }

    /// Whether both packets belong to the same socket, with the same destructor, or both to none.
    #[inline]
    pub(crate) fn same_owner(&self, other: &Self) -> bool {
        let told = |skb: &Self| {
            // SAFETY: While a packet is sent, only these fields of the union are in use.
            unsafe { skb.skb().__bindgen_anon_3.__bindgen_anon_1.destructor }
                .map(|destructor| destructor as usize)
        };
        core::ptr::eq(self.skb().sk, other.skb().sk) && told(self) == told(other)
    }

    /// Whether both packets have the same flow hash. A packet from inside a tunnel gets one before
    /// [`Driver::start_xmit`](crate::linux::engine::link::Driver::start_xmit).
    #[inline]
    pub(crate) fn same_flow(&self, other: &Self) -> bool {
        let (a, b) = (self.headers(), other.headers());
        a.hash == b.hash && a.l4_hash() == b.l4_hash()
    }
}
