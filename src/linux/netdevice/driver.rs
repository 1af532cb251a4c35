// SPDX-License-Identifier: GPL-2.0

//! Drivers of network devices: the setup of a device, and its callbacks.

use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::BitOr,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CStr, //
    },
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        ArcBorrow, //
    }, //
};

use super::{
    super::{
        napi::NapiContext,
        net_namespace::Net, //
    },
    bindings,
    rcu,
    Handle,
    Name,
    NetDevice,
    SkBuff,
    Stat, //
};

/// The callbacks of a kind of network device.
///
/// ```text
///                    newlink                open            down, grace period
///   setup(), new() ───────────> registered() ───> [running] ──────────────────> stop()
///          │ fails, or registering does           start_xmit()  closing()         │
///          └────> drop                                                            │ open() again,
///                                                                                 │ or dellink
///                                  grace period                                   ▼
///                drop <── destroy() <───────────────────────────────────── unregistering()
///
///   poll(): any time between registered() and destroy()
/// ```
///
/// This face waits for the grace periods, or relies on those that the core waits for anyway.
/// Devices that are deleted together, as with their namespace, share these.
///
/// The device's private memory holds one reference to the driver. Other references may keep the
/// driver for longer, but after `destroy()` none of these functions is called for it.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// The name of the kind, for `ip link add type …`, and `DEVTYPE` of the devices in sysfs.
    const KIND: &'static CStr;

    /// Whether the device has no link layer and hence no neighbours. If so, when it is opened,
    /// sending ICMP redirects is turned off for it and for "all" of its namespace, because
    /// redirects are sent if either allows it. IPv6 makes no address from a link layer identifier.
    const NO_NEIGHBOURS: bool = false;

    /// Sets the properties of a new device of this kind.
    ///
    /// Process context.
    fn setup(dev: &mut Setup<'_>);

    /// Makes the driver of a new device, which is about to be registered.
    ///
    /// `name` is the device's name, or a pattern for one (`wg%d`). `net` is the namespace for the
    /// device's sockets: the one that the request to make the device came from, or that the request
    /// named with `link-netnsid`. The device itself may be in another. If registering fails the
    /// driver is dropped, and none of its other functions is called.
    ///
    /// Process context, the RTNL is held.
    fn new(handle: Handle, name: &Name, net: &Net) -> Result<Arc<Self>>;

    /// The device has been registered.
    ///
    /// Process context, the RTNL is held.
    fn registered(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_open`: the device is coming up. An error keeps it down.
    ///
    /// Process context, the RTNL is held.
    fn open(this: ArcBorrow<'_, Self>, dev: &NetDevice) -> Result;

    /// The device is going down: [`NetDevice::is_running`] has just become false. RCU readers that
    /// saw the device running may still begin new work. This function should unpublish what such
    /// readers look up under RCU, and no more: freeing is for [`Driver::stop`].
    ///
    /// Process context, the RTNL is held.
    fn closing(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device is down. A grace period has passed since [`Driver::closing`]: no packets are
    /// transmitted any more, and every RCU read-side critical section that saw the device running
    /// has ended.
    ///
    /// Process context, the RTNL is held.
    fn stop(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_start_xmit`: takes a packet to transmit. Its data begins with the network header.
    ///
    /// The packet has no other owner, its flow hash is computed, and it refers to no device. An
    /// error is reported to the sender. The packet is consumed in any case, and the driver has to
    /// count a packet that it drops.
    ///
    /// Softirqs are off, and the call is in an RCU read-side critical section. With [`Setup::lltx`]
    /// it may run on several CPUs concurrently.
    fn start_xmit(this: ArcBorrow<'_, Self>, dev: &NetDevice, skb: SkBuff) -> Result;

    /// A NAPI was scheduled: processes at most `budget` of the packets that arrived for it, and
    /// returns how many it has processed. If that is `budget` it is called again, otherwise not
    /// before it is next scheduled.
    ///
    /// There is one NAPI for each possible CPU, and it is scheduled from that CPU. `index` is the
    /// CPU's number. Calls with the same index never overlap. A call may run on another CPU, if the
    /// NAPI's own went offline or if the user has made the NAPIs threads. It may be called while
    /// the device is not running, or is about to be removed.
    ///
    /// Softirq context, or process context with softirqs off.
    fn poll(
        this: ArcBorrow<'_, Self>,
        dev: &NetDevice,
        index: u32,
        napi: &NapiContext<'_>,
        budget: usize,
    ) -> usize;

    /// The device is being unregistered: it is down, and lookups no longer find it. After this
    /// [`Handle::get`] returns `None`, and a grace period passes before [`Driver::destroy`].
    ///
    /// Process context, the RTNL is held.
    fn unregistering(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device has been unregistered, nothing else refers to it, and its NAPIs are stopped. It
    /// is freed when this returns.
    ///
    /// Process context, the RTNL is not held.
    fn destroy(this: Arc<Self>, dev: &NetDevice);
}

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
    fn dev(&mut self) -> &mut bindings::net_device {
        // SAFETY: By the type invariant the device is valid, and only this value uses it.
        unsafe { self.dev.as_mut() }
    }

    /// The device carries bare IP packets: no link layer header, no hardware addresses, no ARP,
    /// point to point.
    pub(crate) fn no_link_layer(&mut self) {
        let dev = self.dev();
        dev.header_ops = &raw const bindings::ip_tunnel_header_ops;
        dev.hard_header_len = 0;
        dev.addr_len = 0;
        dev.type_ = bindings::ARPHRD_NONE as u16;
        dev.flags =
            bindings::net_device_flags_IFF_POINTOPOINT | bindings::net_device_flags_IFF_NOARP;
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

/// The private memory of a device.
pub(in super::super) struct Private<D: Driver> {
    driver: Arc<D>,
    handle: Handle,
    /// Whether [`Driver::closing`] was called and [`Driver::stop`] is yet to be called. Only
    /// accessed with the RTNL held.
    closing: Atomic<bool>,
}

impl<D: Driver> Private<D> {
    pub(in super::super) fn new(driver: Arc<D>, handle: Handle) -> Self {
        Self {
            driver,
            handle,
            closing: Atomic::new(false),
        }
    }

    pub(in super::super) fn driver(&self) -> &Arc<D> {
        &self.driver
    }

    /// Calls [`Driver::stop`] if that call is pending.
    fn finish_closing(&self, dev: &NetDevice) {
        if self.closing.xchg(false, Relaxed) {
            D::stop(self.driver.as_arc_borrow(), dev);
        }
    }

    /// The address of the private memory of `dev`. The address is only meaningful if `dev` is a
    /// valid device that was allocated for the rtnl link kind of `D`: its private memory is aligned
    /// to `NETDEV_ALIGN` (32 bytes) and has the size of `Self`.
    pub(in super::super) fn ptr(dev: *mut bindings::net_device) -> *mut Self {
        const { assert!(align_of::<Self>() <= 32) };
        dev.wrapping_byte_add(offset_of!(bindings::net_device, priv_))
            .cast()
    }

    /// Borrows the private memory.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid device that was allocated for the rtnl link kind of `D`. Its private
    /// memory must be initialised and stay so during `'a`.
    pub(in super::super) unsafe fn of<'a>(dev: *mut bindings::net_device) -> &'a Self {
        // SAFETY: By the safety requirement the memory is allocated and initialised.
        unsafe { &*Self::ptr(dev) }
    }

    /// Borrows the private memory and the device.
    ///
    /// # Safety
    ///
    /// As for [`Private::of`]. Besides, the device must not be freed during `'a`.
    unsafe fn with_device<'a>(dev: *mut bindings::net_device) -> (&'a Self, &'a NetDevice) {
        // SAFETY: By the safety requirement.
        let private = unsafe { Self::of(dev) };
        // SAFETY: By the safety requirement the device is valid during `'a`.
        (private, unsafe { NetDevice::from_raw(dev) })
    }
}

/// The callbacks from C.
///
/// The core calls them between `register_netdevice()` and the end of `priv_destructor()`. The
/// private memory is initialised during that time.
pub(in super::super) struct Operations<D>(PhantomData<D>);

impl<D: Driver> Operations<D> {
    const NETDEV_OPS: bindings::net_device_ops = bindings::net_device_ops {
        ndo_init: Some(Self::init),
        ndo_uninit: Some(Self::uninit),
        ndo_open: Some(Self::open),
        ndo_stop: Some(Self::stop),
        ndo_start_xmit: Some(Self::start_xmit),
        ..pin_init::zeroed()
    };

    const DEVICE_TYPE: kernel::bindings::device_type = kernel::bindings::device_type {
        name: as_char_ptr_in_const_context(D::KIND),
        ..pin_init::zeroed()
    };

    /// `dev->netdev_ops` of the devices of this kind.
    pub(in super::super) const fn netdev_ops() -> &'static bindings::net_device_ops {
        &Self::NETDEV_OPS
    }

    const fn device_type() -> &'static kernel::bindings::device_type {
        &Self::DEVICE_TYPE
    }

    /// `setup` of `struct rtnl_link_ops`.
    ///
    /// # Safety
    ///
    /// `dev` must be valid and not be used concurrently.
    pub(in super::super) unsafe extern "C" fn setup(dev: *mut bindings::net_device) {
        // INVARIANT: By the safety requirement.
        let mut setup = Setup {
            // SAFETY: By the safety requirement `dev` is valid, so it is not null.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _p: PhantomData,
        };
        D::setup(&mut setup);
        let dev = setup.dev();
        dev.netdev_ops = Self::netdev_ops();
        dev.dev.type_ = Self::device_type();
        // `NetDevice::rx_add()` and the tunnels count in these per-CPU statistics.
        dev.set_pcpu_stat_type(bindings::netdev_stat_type_NETDEV_PCPU_STAT_TSTATS);
        // The core frees the device after `priv_destructor()`.
        dev.needs_free_netdev = true;
    }

    /// # Safety
    ///
    /// `dev` must be valid and about to be registered.
    unsafe extern "C" fn init(dev: *mut bindings::net_device) -> c_int {
        // The transmit function may send through another device. Lockdep must know that device's
        // locks as other locks.
        // SAFETY: By the safety requirement.
        unsafe { bindings::helper_netdev_lockdep_set_classes(dev) };
        0
    }

    /// # Safety
    ///
    /// `dev` must be valid and registered for this kind. The RTNL must be held.
    unsafe extern "C" fn open(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: By the safety requirement; both are borrowed for the call.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        if D::NO_NEIGHBOURS {
            // SAFETY: The RTNL is held by the safety requirement.
            unsafe { dev.no_neighbours() };
        }
        match D::open(private.driver.as_arc_borrow(), dev) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// `dev` must be valid and registered for this kind. The RTNL must be held.
    unsafe extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: By the safety requirement; both are borrowed for the call.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        D::closing(private.driver.as_arc_borrow(), dev);
        private.closing.store(true, Relaxed);
        // The device has no queueing discipline, so the core has not waited for a grace period
        // since the device stopped running. If the device is being unregistered, the core is about
        // to wait, once for all devices that end together, and calls `uninit()` after that.
        if !dev.is_dismantled() {
            rcu::synchronize_net();
            private.finish_closing(dev);
        }
        0
    }

    /// `ndo_uninit`.
    ///
    /// # Safety
    ///
    /// * `dev` must be valid and of this kind, and its private memory initialised. The RTNL must be
    ///   held.
    /// * The device must no longer be registered, or its registration must have failed.
    /// * If it was ever open, a grace period must have passed since it was closed.
    unsafe extern "C" fn uninit(dev: *mut bindings::net_device) {
        // SAFETY: The device is valid by the safety requirement.
        let registered = unsafe { (*dev).priv_destructor }.is_some();
        // SAFETY: By the safety requirement; both are borrowed for the call.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        if registered {
            private.finish_closing(dev);
            D::unregistering(private.driver.as_arc_borrow(), dev);
        }
        private.handle.revoke();
    }

    /// # Safety
    ///
    /// * `dev` must be valid, of this kind, and have been running when the core last checked.
    /// * `skb` must be valid. The caller must own it, and gives it away.
    /// * The caller must be in an RCU read-side critical section with softirqs off.
    unsafe extern "C" fn start_xmit(
        skb: *mut bindings::sk_buff,
        dev: *mut bindings::net_device,
    ) -> bindings::netdev_tx_t {
        // SAFETY: By the safety requirement. Both are borrowed for the call: the device is freed no
        // sooner than a grace period after it was closed.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        // SAFETY: By the safety requirement the packet is valid. If it has other owners, the
        // function returns a clone.
        let skb = unsafe { bindings::skb_share_check(skb, bindings::GFP_ATOMIC) };
        let Some(skb) = NonNull::new(skb) else {
            dev.stats_add(Stat::TxDropped, 1);
            return bindings::netdev_tx_NETDEV_TX_OK;
        };
        // SAFETY: The packet is valid. The hash is computed while the packet still has its device,
        // because the rules of the device's namespace apply to it.
        unsafe { bindings::skb_get_hash(skb.as_ptr()) };
        // SAFETY: The packet is valid, and this function is its only owner. `dev_queue_xmit()` has
        // removed it from all lists and has either counted or dropped its route. Its data begins
        // with a network header, or with a link layer header in front of one, whose offset C keeps
        // in 16 bits. The next line removes its device.
        let mut skb = unsafe { SkBuff::from_raw(skb) };
        // SAFETY: No device has to stay valid for a null pointer.
        unsafe { skb.set_dev(core::ptr::null_mut()) };
        // A sender that bypasses the queueing disciplines checks this some time before it disables
        // softirqs.
        if !dev.is_running() {
            dev.stats_add(Stat::TxDropped, 1);
            return bindings::netdev_tx_NETDEV_TX_OK;
        }
        match D::start_xmit(private.driver.as_arc_borrow(), dev, skb) {
            Ok(()) => bindings::netdev_tx_NETDEV_TX_OK,
            // The core treats a negative value as a consumed packet.
            Err(e) => e.to_errno(),
        }
    }

    /// `poll` of the device's NAPIs.
    ///
    /// # Safety
    ///
    /// `napi` must be a NAPI of a device of this kind, enabled and scheduled. Softirqs must be off.
    pub(in super::super) unsafe extern "C" fn poll(
        napi: *mut bindings::napi_struct,
        budget: c_int,
    ) -> c_int {
        // Netpoll passes a budget of 0 to have transmissions completed. There are none here, and
        // netpoll may have interrupts off.
        let Ok(room @ 1..) = usize::try_from(budget) else {
            return 0;
        };
        // SAFETY: By the safety requirement. The NAPI stays enabled until this function returns.
        let napi = unsafe { NapiContext::new(napi) };
        let dev = napi.dev();
        // SAFETY: The NAPIs are enabled after the private memory is initialised, and disabled
        // before it is dropped.
        let private = unsafe { Private::<D>::of(dev.as_raw()) };
        let done = D::poll(
            private.driver.as_arc_borrow(),
            dev,
            napi.index(),
            &napi,
            room,
        );
        match c_int::try_from(done) {
            Ok(done) if done < budget => {
                napi.complete(done);
                done
            }
            _ => budget,
        }
    }

    /// `priv_destructor`: the last callback for a device that was registered.
    ///
    /// # Safety
    ///
    /// `dev` must be valid, of this kind, and unregistered. A grace period must have passed since
    /// `uninit()` was called.
    pub(in super::super) unsafe extern "C" fn destructor(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement; the private memory is dropped below.
        let (private, netdev) = unsafe { Private::<D>::with_device(dev) };
        let napis = private.handle.napis();
        // SAFETY: The NAPIs were added and enabled before the device was registered.
        unsafe { napis.disable() };
        // SAFETY: The NAPIs have just been disabled.
        unsafe { napis.delete() };
        D::destroy(private.driver.clone(), netdev);
        // `uninit()` has revoked the handle, after lookups had stopped finding the device. The core
        // has waited for a grace period since, so no RCU reader is left that got the device from
        // the handle, or a NAPI from the device.
        // SAFETY: By the safety requirement the memory is allocated and initialised. Neither the
        // core nor a NAPI calls the functions of this device any more.
        unsafe { Private::<D>::ptr(dev).drop_in_place() };
    }

    /// Drops the private memory of a device that could not be registered. Sleeps.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid device of this kind that is not registered, or not any more. Its
    /// private memory must be initialised and its NAPIs enabled. It may not be used as a device of
    /// this kind afterwards.
    pub(in super::super) unsafe fn teardown(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement.
        let private = unsafe { Private::<D>::of(dev) };
        // SAFETY: By the safety requirement the NAPIs are enabled.
        unsafe { private.handle.napis().disable() };
        private.handle.revoke();
        // SAFETY: The NAPIs have just been disabled.
        unsafe { private.handle.napis().delete() };
        // Wait for RCU readers that got the device from the handle, or a NAPI from the device.
        rcu::synchronize_net();
        // SAFETY: By the safety requirement the memory is allocated and initialised. Neither the
        // core nor a NAPI calls the functions of this device any more.
        unsafe { Private::<D>::ptr(dev).drop_in_place() };
    }
}
