// SPDX-License-Identifier: GPL-2.0

//! The properties of a new device.

use core::{
    marker::PhantomData,
    ops::BitOr,
    ptr::NonNull, //
};
use kernel::prelude::*;

use super::bindings;

/// `NETIF_F_*`: the offload features of a device. Joined with `|`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(bindings::netdev_features_t);

impl Features {
    /// `NETIF_F_SG`: the device takes packets with fragments.
    pub(crate) const SG: Self = Self(1 << bindings::NETIF_F_SG_BIT);
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
///
/// # Invariants
///
/// `dev` points to a device that is valid, and used only through this value, during `'a`.
pub(crate) struct Setup<'a> {
    dev: NonNull<bindings::net_device>,
    _p: PhantomData<&'a mut bindings::net_device>,
}

impl Setup<'_> {
    /// Borrows a device of C for setting it up.
    ///
    /// # Safety
    ///
    /// `dev` must be valid, and used only through the new value for as long as that value exists.
    pub(in crate::linux) unsafe fn from_raw(dev: *mut bindings::net_device) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            // SAFETY: By the safety requirement `dev` is valid, so it is not null.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _p: PhantomData,
        }
    }

    /// The C structure, for the faces of other subsystems.
    pub(in crate::linux) fn dev(&mut self) -> &mut bindings::net_device {
        // SAFETY: By the type invariant the device is valid, and only this value uses it.
        unsafe { self.dev.as_mut() }
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
        // SAFETY: By the type invariant the device is valid, and only this value uses it.
        unsafe { bindings::netif_set_tso_max_size(self.dev.as_ptr(), size) };
    }

    /// `IFF_NO_QUEUE`: the device has no queueing discipline by default.
    pub(crate) fn no_queue(&mut self) {
        // SAFETY: The union is a struct group: both of its members name the same bits.
        let flags = unsafe { &mut self.dev().__bindgen_anon_1.priv_flags_fast };
        flags.set_priv_flags(
            flags.priv_flags() | bindings::netdev_priv_flags_IFF_NO_QUEUE as c_ulong,
        );
    }

    /// `lltx`: the core does not take its transmit lock, so several CPUs may transmit concurrently.
    pub(crate) fn lltx(&mut self) {
        // SAFETY: The union is a struct group: both of its members name the same bits.
        unsafe { &mut self.dev().__bindgen_anon_1.priv_flags_fast }.set_lltx(1);
    }

    /// `netif_keep_dst()`: packets keep their route when they are handed to the driver. ICMP errors
    /// need it.
    pub(crate) fn keep_dst(&mut self) {
        // SAFETY: By the type invariant the device is valid, and only this value uses it.
        unsafe { bindings::netif_keep_dst(self.dev.as_ptr()) };
    }
}
