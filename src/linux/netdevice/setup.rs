// SPDX-License-Identifier: GPL-2.0

//! The properties of a new device.

use core::ops::BitOr;
use kernel::prelude::*;

use super::bindings;

/// `NETIF_F_*`: the offload features of a device. Joined with `|`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(bindings::netdev_features_t);

impl Features {
    /// `NETIF_F_SG`: the device takes packets with fragments.
    pub(crate) const SG: Self = Self(1 << bindings::NETIF_F_SG_BIT);
    /// `NETIF_F_FRAGLIST`: the device takes packets with a list of further buffers. The stack
    /// copies or segments them for other devices.
    pub(crate) const FRAGLIST: Self = Self(1 << bindings::NETIF_F_FRAGLIST_BIT);
    /// `NETIF_F_HW_CSUM`: the device takes packets whose checksum is yet to be computed.
    pub(crate) const HW_CSUM: Self = Self(1 << bindings::NETIF_F_HW_CSUM_BIT);
    /// `NETIF_F_RXCSUM`: the device verifies the checksum of received packets.
    pub(crate) const RXCSUM: Self = Self(1 << bindings::NETIF_F_RXCSUM_BIT);
    /// `NETIF_F_GSO`: the device takes packets that are yet to be segmented.
    pub(crate) const GSO: Self = Self(1 << bindings::NETIF_F_GSO_BIT);
    /// `NETIF_F_GSO_SOFTWARE`: every kind of GSO packet that the stack itself can segment.
    pub(crate) const GSO_SOFTWARE: Self = Self(bindings::NETIF_F_GSO_SOFTWARE);
    /// `NETIF_F_HIGHDMA`: the device takes packets in any memory, including high memory.
    pub(crate) const HIGHDMA: Self = Self(1 << bindings::NETIF_F_HIGHDMA_BIT);
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A device that is being set up.
pub(crate) struct Setup<'a> {
    dev: &'a mut bindings::net_device,
}

impl Setup<'_> {
    /// Borrows a device of C for setting it up.
    ///
    /// # Safety
    ///
    /// `dev` must be valid, and used only through the new value for as long as that value exists.
    pub(in crate::linux) unsafe fn from_raw(dev: *mut bindings::net_device) -> Self {
        Self {
            // SAFETY: By the safety requirement.
            dev: unsafe { &mut *dev },
        }
    }

    /// The C structure, for the faces of other subsystems.
    pub(in crate::linux) fn dev(&mut self) -> &mut bindings::net_device {
        self.dev
    }

    /// The flags that C keeps in a struct group.
    fn priv_flags(&mut self) -> &mut bindings::net_device__bindgen_ty_1__bindgen_ty_2 {
        // SAFETY: The union is a struct group: both of its members name the same bits.
        unsafe { &mut self.dev.__bindgen_anon_1.priv_flags_fast }
    }

    /// `needed_headroom`, `needed_tailroom`: room that the driver wants in front of and behind a
    /// packet, in bytes.
    pub(crate) fn needed_room(&mut self, head: u16, tail: u16) {
        let dev = self.dev();
        dev.needed_headroom = head;
        dev.needed_tailroom = tail;
    }

    /// The MTU of a new device, and the largest MTU that can be set. In bytes, limited to
    /// `i32::MAX`.
    pub(crate) fn mtu(&mut self, mtu: u32, max: u32) {
        let dev = self.dev();
        dev.max_mtu = max.min(i32::MAX as u32);
        dev.mtu = mtu.min(dev.max_mtu);
    }

    /// The offload features of the device, for encapsulated packets as well. The user can turn them
    /// off.
    pub(crate) fn features(&mut self, features: Features) {
        let dev = self.dev();
        dev.features |= features.0;
        dev.hw_features |= features.0;
        dev.hw_enc_features |= features.0;
    }

    /// `netif_set_tso_max_size()`: the largest GSO packet that the device takes, in bytes, up to
    /// [`GSO_MAX_SIZE`](super::GSO_MAX_SIZE).
    pub(crate) fn tso_max_size(&mut self, size: u32) {
        // SAFETY: The device is valid, and only this value uses it.
        unsafe { bindings::netif_set_tso_max_size(self.dev, size) };
    }

    /// `IFF_NO_QUEUE`: the device has no queueing discipline by default.
    pub(crate) fn no_queue(&mut self) {
        let flags = self.priv_flags();
        flags.set_priv_flags(
            flags.priv_flags() | bindings::netdev_priv_flags_IFF_NO_QUEUE as c_ulong,
        );
    }

    /// `lltx`: the core does not take its transmit lock, so several CPUs may transmit concurrently.
    pub(crate) fn lltx(&mut self) {
        self.priv_flags().set_lltx(1);
    }

    /// `netif_keep_dst()`: packets keep their route when they are handed to the driver. ICMP errors
    /// need it.
    pub(crate) fn keep_dst(&mut self) {
        // SAFETY: The device is valid, and only this value uses it.
        unsafe { bindings::netif_keep_dst(self.dev) };
    }
}
