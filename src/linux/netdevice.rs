// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! A borrowed [`NetDevice`] is valid for as long as the borrow. [`Setup`] sets the properties of a
//! new device.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::mem::offset_of;
use kernel::{
    fmt,
    str::CStr,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    bottom_half::BhGuard,
    rcu,
    skbuff::SkBuff, //
};

mod setup;

pub(crate) use setup::{
    Features,
    Setup, //
};

/// `GSO_MAX_SIZE`: the largest GSO packet that a device can be set up to take, in bytes.
pub(crate) const GSO_MAX_SIZE: u32 = bindings::GSO_MAX_SIZE;
/// Size of a device's name in bytes, the terminating zero included.
const IFNAMSIZ: usize = bindings::IFNAMSIZ as usize;

/// A copy of a device's name.
///
/// A copy made during a rename may be a mixture of the old name and the new one.
#[derive(Clone, Copy)]
pub(crate) struct Name([u8; IFNAMSIZ]);

impl Name {
    /// No name.
    pub(crate) const EMPTY: Self = Self([0; IFNAMSIZ]);

    /// The name without the terminating zero.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.split(|&b| b == 0).next().unwrap_or(&[])
    }

    /// The name as a C string.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("?")?;
            }
        }
        Ok(())
    }
}

/// `dev_recursion_level()`: the depth of nested device transmit functions on this CPU.
pub(crate) fn xmit_recursion_level(_bh: &BhGuard) -> u32 {
    // SAFETY: The function reads a variable of this CPU. With bottom halves off the task stays on
    // it.
    unsafe { bindings::dev_recursion_level() as u32 }
}

/// A counter of errors that `ip -s link` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stat {
    /// Received, but not usable.
    RxErrors,
    /// Received, but dropped for lack of room.
    RxDropped,
    /// Received with an impossible length.
    RxLengthErrors,
    /// Received, but malformed or not allowed.
    RxFrameErrors,
    /// Not sent because of an error.
    TxErrors,
    /// Not sent for lack of room.
    TxDropped,
}

/// A network device.
///
/// # Invariants
///
/// A reference to this type refers to a valid `struct net_device` that is not freed during the
/// reference's lifetime.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

// SAFETY: All functions of this type may be called from any thread.
unsafe impl Send for NetDevice {}
// SAFETY: As above.
unsafe impl Sync for NetDevice {}

/// `READ_ONCE()` of an integer field of a device, which may change concurrently.
macro_rules! read_once {
    ($dev:expr, $field:ident) => {{
        let dev: &NetDevice = $dev;
        // SAFETY: By the type invariant the device is valid; only an address is taken.
        let field = unsafe { &raw const (*dev.as_raw()).$field };
        // SAFETY: The field of a valid device is valid for reads, and C writes such fields with
        // single stores.
        unsafe { field.read_volatile() }
    }};
}

impl NetDevice {
    /// Borrows a device of C.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid, and the device must not be freed during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net_device) -> &'a Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// `dev->name`. Any context.
    ///
    /// Before the device is registered the name may still be a pattern such as `wg%d`.
    pub(crate) fn name(&self) -> Name {
        const NAME: usize = offset_of!(bindings::net_device, name);
        let mut name = [0; IFNAMSIZ];
        let from: *const u8 = self.as_raw().wrapping_byte_add(NAME).cast();
        for (i, to) in name.iter_mut().enumerate() {
            // SAFETY: By the type invariant the device is valid, and `i` lies within the array. The
            // read is volatile because the name may change meanwhile.
            *to = unsafe { from.wrapping_add(i).read_volatile() };
        }
        if let Some(last) = name.last_mut() {
            *last = 0;
        }
        Name(name)
    }

    /// `dev->ifindex`: the number of the device in its namespace, 0 before it is registered. Any
    /// context.
    pub(crate) fn ifindex(&self) -> u32 {
        // The number changes if the device changes its namespace.
        read_once!(self, ifindex).unsigned_abs()
    }

    /// `dev->mtu`: the largest packet without a link layer header, in bytes. Any context.
    #[inline]
    pub(crate) fn mtu(&self) -> u32 {
        read_once!(self, mtu)
    }

    /// `netif_running()`: whether the device is open. Any context.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        read_once!(self, state) & (1 << bindings::netdev_state_t___LINK_STATE_START) != 0
    }

    /// Whether the device will be unregistered as soon as it is closed. To be called with the RTNL
    /// held.
    pub(super) fn is_dismantled(&self) -> bool {
        read_once!(self, dismantle)
    }

    /// `netif_carrier_off()`: marks the device as unable to reach anything. Any context but a hard
    /// interrupt.
    ///
    /// Does nothing if the device is not registered.
    pub(crate) fn carrier_off(&self) {
        let _guard = rcu::Guard::new();
        if u32::from(read_once!(self, reg_state)) != bindings::netdev_reg_state_NETREG_REGISTERED {
            return;
        }
        // SAFETY: By the type invariant the device is valid. The function takes a reference to it
        // until the event is announced. The device was registered within this read-side critical
        // section, so its removal waits for the end of the section and then for that reference.
        unsafe { bindings::netif_carrier_off(self.as_raw()) };
    }

    /// `DEV_STATS_ADD()`: adds `n` to a counter of errors. Any context.
    pub(crate) fn stats_add(&self, stat: Stat, n: usize) {
        use bindings::net_device_stats as Stats;
        // Each counter is a union of the plain number and the `atomic_long_t` that is used.
        let offset = match stat {
            Stat::RxErrors => offset_of!(Stats, __bindgen_anon_5.rx_errors),
            Stat::RxDropped => offset_of!(Stats, __bindgen_anon_7.rx_dropped),
            Stat::RxLengthErrors => offset_of!(Stats, __bindgen_anon_11.rx_length_errors),
            Stat::RxFrameErrors => offset_of!(Stats, __bindgen_anon_14.rx_frame_errors),
            Stat::TxErrors => offset_of!(Stats, __bindgen_anon_6.tx_errors),
            Stat::TxDropped => offset_of!(Stats, __bindgen_anon_8.tx_dropped),
        };
        let stats = self
            .as_raw()
            .wrapping_byte_add(offset_of!(bindings::net_device, stats));
        let counter: *mut usize = stats.wrapping_byte_add(offset).cast();
        // SAFETY: The counter is an aligned `unsigned long` of a valid device. Drivers and the core
        // only access it atomically.
        unsafe { Atomic::from_ptr(counter) }.add(n, Relaxed);
    }

    /// Counts received packets with `bytes` in total, as `dev_sw_netstats_rx_add()`. Any context
    /// but a hard interrupt.
    ///
    /// Does nothing if the device is not running, because its counters may have been freed.
    #[inline]
    pub(crate) fn rx_add(&self, packets: usize, bytes: usize) {
        // SAFETY: By the type invariant the device is valid.
        unsafe { bindings::helper_dev_sw_netstats_rx_add(self.as_raw(), packets, bytes) };
    }

    /// `icmp_ndo_send()`, `icmpv6_ndo_send()`: tells the sender of an IPv4 or IPv6 packet that its
    /// destination cannot be reached by this device (host unreachable, or address unreachable).
    ///
    /// The packet has to be as the transmit function was given it, with its route. If its source
    /// address was translated on the way out, the ICMP message goes to the original address.
    /// Nothing is sent if the device is not running, or if the network stack would not answer such
    /// a packet. Any context but a hard interrupt.
    pub(crate) fn icmp_unreachable(&self, skb: &mut SkBuff) {
        if skb.ip_header().is_none() {
            return;
        }
        // SAFETY: By the type invariant the device is valid. The packet is valid and borrowed
        // exclusively, and the check above found an IP header of its protocol at its network
        // header.
        unsafe { bindings::helper_icmp_ndo_unreachable(skb.as_raw(), self.as_raw()) };
    }
}
