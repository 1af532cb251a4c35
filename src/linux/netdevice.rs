// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! [`NetDevice`] is a device that is there for as long as it is borrowed, [`Handle`] a reference that may be kept
//! and that stops giving out the device before it is freed. A module that has devices of its own implements
//! [`Driver`] and registers it with [`rtnetlink::Registration`](super::rtnetlink::Registration).
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::{
    mem::offset_of,
    ptr, //
};
use kernel::{
    fmt,
    prelude::*,
    str::CStr,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc,
        SetOnce, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    bottom_half::BhGuard,
    napi,
    rcu,
    skbuff::SkBuff, //
};

mod driver;

pub(crate) use driver::{
    Driver,
    Features,
    Setup, //
};
pub(super) use driver::{
    Operations,
    Private, //
};

/// `GSO_MAX_SIZE`: bytes of the largest GSO packet that a device can be set up to take.
pub(crate) const GSO_MAX_SIZE: u32 = bindings::GSO_MAX_SIZE;
/// Bytes of a device's name, the terminating zero included.
const IFNAMSIZ: usize = bindings::IFNAMSIZ as usize;

/// The name of a device as it was at some time.
///
/// While the device is being renamed it may be a mixture of the old name and the new one.
#[derive(Clone, Copy)]
pub(crate) struct Name([u8; IFNAMSIZ]);

impl Name {
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

/// `dev_recursion_level()`: how many devices' transmit functions this CPU is in, one called by another.
pub(crate) fn xmit_recursion_level(_bh: &BhGuard) -> u32 {
    // SAFETY: It reads a variable of this CPU, which with bottom halves off stays this one.
    unsafe { bindings::dev_recursion_level() as u32 }
}

/// A counter of errors that `ip -s link` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stat {
    /// Received, but not usable.
    RxErrors,
    /// Received, but there was no room.
    RxDropped,
    /// Received with a length that cannot be.
    RxLengthErrors,
    /// Received, but malformed or not allowed.
    RxFrameErrors,
    /// Not sent because something is wrong.
    TxErrors,
    /// Not sent because there was no room.
    TxDropped,
}

/// A network device.
///
/// # Invariants
///
/// A reference to this type refers to a valid `struct net_device` that is not freed during the reference's
/// lifetime.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

// SAFETY: What this type offers of a `struct net_device` may be used from any thread.
unsafe impl Send for NetDevice {}
// SAFETY: As above.
unsafe impl Sync for NetDevice {}

/// Reads a number in a device which may change meanwhile, as `READ_ONCE()` does.
macro_rules! read_once {
    ($dev:expr, $field:ident) => {{
        let dev: &NetDevice = $dev;
        // SAFETY: By the type invariant the device is valid; only an address is taken.
        let field = unsafe { &raw const (*dev.as_raw()).$field };
        // SAFETY: The field of a valid device is valid for reads, and C writes numbers as a whole.
        unsafe { field.read_volatile() }
    }};
}

impl NetDevice {
    /// Looks at a device of C.
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
        let mut name = [0; IFNAMSIZ];
        // SAFETY: By the type invariant the device is valid; only the address is taken.
        let from: *const u8 = unsafe { &raw const (*self.as_raw()).name }.cast();
        for (i, to) in name.iter_mut().enumerate() {
            // SAFETY: `i` lies within the array. The read is volatile because the name may change meanwhile.
            *to = unsafe { from.wrapping_add(i).read_volatile() };
        }
        if let Some(last) = name.last_mut() {
            *last = 0;
        }
        Name(name)
    }

    /// `dev->ifindex`: the number of the device in its namespace, 0 before it is registered. Any context.
    pub(crate) fn ifindex(&self) -> u32 {
        // It changes if the device changes its namespace.
        read_once!(self, ifindex).unsigned_abs()
    }

    /// `dev->mtu`: bytes of the largest packet, without any link layer header. Any context.
    #[inline]
    pub(crate) fn mtu(&self) -> u32 {
        read_once!(self, mtu)
    }

    /// `netif_running()`: whether the device is open. Any context.
    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        read_once!(self, state) & (1 << bindings::netdev_state_t___LINK_STATE_START) != 0
    }

    /// Whether the device is going to be unregistered as soon as it is closed. With the RTNL held.
    fn is_dismantled(&self) -> bool {
        read_once!(self, dismantle)
    }

    /// `netif_carrier_off()`: says that the device cannot reach anything. Any context but a hard interrupt.
    ///
    /// Does nothing if the device is not registered, or not any more.
    pub(crate) fn carrier_off(&self) {
        let _guard = rcu::Guard::new();
        if u32::from(read_once!(self, reg_state)) != bindings::netdev_reg_state_NETREG_REGISTERED {
            return;
        }
        // SAFETY: By the type invariant the device is valid. The function takes a reference for the time it takes to
        // announce the event. As the device was registered within this read-side critical section, its removal
        // waits for the end of the section and then for that reference.
        unsafe { bindings::netif_carrier_off(self.as_raw()) };
    }

    /// `DEV_STATS_ADD()`: adds `n` to a counter of errors. Any context.
    pub(crate) fn stats_add(&self, stat: Stat, n: usize) {
        use bindings::net_device_stats as Stats;
        // Each is a union of the number and the `atomic_long_t` that it is used as.
        let offset = match stat {
            Stat::RxErrors => offset_of!(Stats, __bindgen_anon_5.rx_errors),
            Stat::RxDropped => offset_of!(Stats, __bindgen_anon_7.rx_dropped),
            Stat::RxLengthErrors => offset_of!(Stats, __bindgen_anon_11.rx_length_errors),
            Stat::RxFrameErrors => offset_of!(Stats, __bindgen_anon_14.rx_frame_errors),
            Stat::TxErrors => offset_of!(Stats, __bindgen_anon_6.tx_errors),
            Stat::TxDropped => offset_of!(Stats, __bindgen_anon_8.tx_dropped),
        };
        // SAFETY: By the type invariant the device is valid; only an address is taken.
        let stats = unsafe { &raw mut (*self.as_raw()).stats };
        let counter: *mut usize = stats.wrapping_byte_add(offset).cast();
        // SAFETY: The counter is one of a valid device, an aligned `unsigned long`, and drivers and the core only use it
        // atomically.
        unsafe { Atomic::from_ptr(counter) }.add(n, Relaxed);
    }

    /// As `dev_sw_netstats_rx_add()`, counts received packets, of `bytes` in all. Any context but a hard interrupt.
    ///
    /// Does nothing if the device is not running: then its counters may be gone.
    #[inline]
    pub(crate) fn rx_add(&self, packets: usize, bytes: usize) {
        // SAFETY: By the type invariant the device is valid.
        unsafe { bindings::helper_dev_sw_netstats_rx_add(self.as_raw(), packets, bytes) };
    }

    /// `icmp_ndo_send()`, `icmpv6_ndo_send()`: tells the sender of an IPv4 or IPv6 packet that was to leave by this
    /// device that its destination cannot be reached (host unreachable, or address unreachable).
    ///
    /// The packet has to be what [`Driver::start_xmit`] got, its route still there. If its source address was
    /// translated on the way out, the message goes to the address it had before. Nothing is sent if the device is
    /// not running, or the packet is not what the network stack would answer. Any context but a hard interrupt.
    pub(crate) fn icmp_unreachable(&self, skb: &mut SkBuff) {
        if skb.ip_version_protocol() != Some(skb.protocol()) {
            return;
        }
        // SAFETY: By the type invariant the device is valid; the packet is valid and ours, and its network header
        // is an IP header of its protocol.
        unsafe { bindings::helper_icmp_ndo_unreachable(skb.as_raw(), self.as_raw()) };
    }

    /// What C does not let a driver without link layer say beforehand, for [`Driver::NO_NEIGHBOURS`].
    ///
    /// # Safety
    ///
    /// The RTNL must be held.
    unsafe fn no_neighbours(&self) {
        // SAFETY: By the type invariant the device is valid; the RTNL is held by the safety requirement.
        unsafe { bindings::helper_netdev_no_neighbours(self.as_raw()) };
    }
}

/// What a [`Handle`] refers to.
struct Link {
    /// Null once revoked.
    dev: Atomic<*mut bindings::net_device>,
    /// What the device was called in the end, once revoked.
    last_name: SetOnce<Name>,
    napis: napi::Set,
}

/// A reference to a device of a [`Driver`], for as long as there is one, and to the device's NAPIs.
///
/// It does not keep the device: the device may go away any time, whereupon [`Handle::get`] gives `None`.
///
/// # Invariants
///
/// `dev` is null, or points to a device that is freed no sooner than one grace period after `dev` became null.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Link>);

// SAFETY: The pointer is only looked at under RCU, and `NetDevice` and `napi::Set` are `Send` and `Sync`.
unsafe impl Send for Handle {}
// SAFETY: As above.
unsafe impl Sync for Handle {}

impl Handle {
    /// # Safety
    ///
    /// `dev` must be valid, and the caller must call [`Handle::revoke`] and wait for a grace period before he frees
    /// it or lets it be freed.
    pub(super) unsafe fn new(dev: *mut bindings::net_device) -> Result<Self> {
        // INVARIANT: By the safety requirement.
        Ok(Self(Arc::new(
            Link {
                dev: Atomic::new(dev),
                last_name: SetOnce::new(),
                napis: napi::Set::new()?,
            },
            GFP_KERNEL,
        )?))
    }

    /// From now on [`Handle::get`] gives `None`; who already looks at the device may do so for a grace period.
    pub(super) fn revoke(&self) {
        let guard = rcu::Guard::new();
        if let Some(dev) = self.get(&guard) {
            self.0.last_name.populate(dev.name());
        }
        // Who finds the device gone finds its name. Pairs with the load in `get()`.
        self.0.dev.store(ptr::null_mut(), Release);
    }

    /// The name of the device; when it is gone the last one it had. Any context.
    pub(crate) fn name(&self) -> Name {
        let guard = rcu::Guard::new();
        match self.get(&guard) {
            Some(dev) => dev.name(),
            None => self.0.last_name.copy().unwrap_or(Name([0; IFNAMSIZ])),
        }
    }

    /// Whether the device is there and running: [`NetDevice::is_running`]. Any context.
    ///
    /// When [`Driver::stop`] is called nobody is left in a read-side critical section in which the
    /// answer was yes.
    #[inline]
    pub(crate) fn is_running(&self, guard: &rcu::Guard) -> bool {
        self.get(guard).is_some_and(NetDevice::is_running)
    }

    /// The device's NAPIs.
    pub(super) fn napis(&self) -> &napi::Set {
        &self.0.napis
    }

    /// The device, if it is still there. Any context.
    #[inline]
    pub(crate) fn get<'g>(&self, _guard: &'g rcu::Guard) -> Option<&'g NetDevice> {
        let dev = self.0.dev.load(Acquire);
        if dev.is_null() {
            return None;
        }
        // SAFETY: By the type invariant the device is not freed before the read-side critical section ends.
        Some(unsafe { NetDevice::from_raw(dev) })
    }

    /// `napi_schedule()`: has [`Driver::poll`] called for the current CPU's NAPI.
    ///
    /// If it is running already, on whatever CPU, it runs once more. Does nothing when the device is not registered
    /// yet or is gone. Takes effect no later than when bottom halves are enabled again; any context but a hard
    /// interrupt.
    #[inline]
    pub(crate) fn napi_schedule_local(&self, bh: &BhGuard) {
        self.0.napis.schedule(self.napi_index_local(bh));
    }

    /// Which of the device's NAPIs is the current CPU's: the number of the CPU, below `nr_cpu_ids()`.
    #[inline]
    pub(crate) fn napi_index_local(&self, _bh: &BhGuard) -> u32 {
        // The task cannot be moved to another CPU while bottom halves are off.
        super::cpumask::current()
    }
}
