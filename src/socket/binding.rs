// SPDX-License-Identifier: GPL-2.0

//! What the datagrams of a device are bound to.

use crate::linux::rcu::AtomicDrop;

/// The addresses and the interface that a device's datagrams leave by, and by no others. Addresses
/// are in network byte order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The local address for IPv4; 0.0.0.0 if any will do.
    pub(crate) v4: [u8; 4],
    /// The local address for IPv6; `::` if any will do.
    pub(crate) v6: [u8; 16],
    /// The index of the interface or VRF, in the namespace of the sockets; 0 if any will do.
    pub(crate) ifindex: u32,
}

impl AtomicDrop for Binding {}

impl Binding {
    /// Bound to nothing.
    pub(crate) const fn none() -> Self {
        Self {
            v4: [0; 4],
            v6: [0; 16],
            ifindex: 0,
        }
    }
}
