// SPDX-License-Identifier: GPL-2.0

//! The class of a datagram: what routers may go by when they queue it, drop it, or choose its path.

use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// The class that an outer IP header gives its datagram.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Class {
    /// TOS or traffic class.
    pub(crate) ds: u8,
    /// The flow label of IPv6, 20 bits in network byte order.
    label: [u8; 3],
}

impl Class {
    /// The class with this TOS or traffic class, and no flow label.
    pub(crate) const fn of(ds: u8) -> Self {
        Self { ds, label: [0; 3] }
    }

    /// Copies what `copied` names from a packet whose network header is `header`, and whose TOS or
    /// traffic class is `inner`. The congestion bits stay as they are.
    #[cold]
    pub(crate) fn copy_from(&mut self, copied: Copied, inner: u8, header: &[u8]) {
        if copied.dscp {
            self.ds |= inner & !3;
        }
        if let (true, [first, a, b, c, ..]) = (copied.flow_label, header) {
            if first >> 4 == 6 {
                self.label = [a & 0xf, *b, *c];
            }
        }
    }

    /// The flow label, in host byte order.
    pub(crate) fn flow_label(&self) -> u32 {
        let [a, b, c] = self.label;
        u32::from_be_bytes([0, a, b, c])
    }
}

/// What is copied from the header of a packet to that of its datagram, besides congestion bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The DSCP.
    pub(crate) dscp: bool,
    /// The flow label, if both are of IPv6.
    pub(crate) flow_label: bool,
}
