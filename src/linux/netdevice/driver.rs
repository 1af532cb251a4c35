// SPDX-License-Identifier: GPL-2.0

//! Drivers of network devices: how a device is set up, and what it does.

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

/// What a kind of network device does.
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
/// The grace periods are waited for here, or are ones that the core waits for anyway: where many
/// devices are deleted together, as with their namespace, they have these in common.
///
/// The device's private memory holds one reference to the driver; the driver may be held for longer by others, but
/// then no function here is called for it any more.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// The name of the kind, for `ip link add type …`, and `DEVTYPE` of the devices in sysfs.
    const KIND: &'static CStr;

    /// There is no link layer and hence no neighbour: when the device is opened, sending of ICMP redirects is
    /// turned off for it and for "all" of its namespace (redirects are sent if either says so), and IPv6 makes no
    /// address from a link layer identifier.
    const NO_NEIGHBOURS: bool = false;

    /// Says what a new device of this kind is like.
    ///
    /// Process context.
    fn setup(dev: &mut Setup<'_>);

    /// Makes the driver of a new device, which is about to be registered.
    ///
    /// `name` is the device's name, or a pattern for one (`wg%d`). `net` is the namespace that the request to make
    /// the device came from (or the one it named with `link-netnsid`), where sockets go, not the one the device is
    /// in. If registering fails the driver is dropped, and nothing else of it is called.
    ///
    /// Process context, the RTNL is held.
    fn new(handle: Handle, name: &Name, net: &Net) -> Result<Arc<Self>>;

    /// The device is now registered.
    ///
    /// Process context, the RTNL is held.
    fn registered(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_open`: the device is to come up.
    ///
    /// Process context, the RTNL is held.
    fn open(this: ArcBorrow<'_, Self>, dev: &NetDevice) -> Result;

    /// The device is going down: [`NetDevice::is_running`] has just become false. Who saw it
    /// running under RCU may still be about to begin something, so this is the time to take away
    /// what such users find under RCU, and no more.
    ///
    /// Process context, the RTNL is held.
    fn closing(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device is down. A grace period has passed since [`Driver::closing`]: no packets are
    /// transmitted any more, and nobody is left in an RCU read-side critical section in which the
    /// device was seen running.
    ///
    /// Process context, the RTNL is held.
    fn stop(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_start_xmit`: takes a packet to transmit, whose network header is at the start of the data.
    ///
    /// The packet is nobody else's, its flow hash was computed, and it refers to no device. An error is what
    /// the sender gets to see, if he cares; the packet is gone in any case, which is for the driver to count.
    ///
    /// Softirqs are off, as in an RCU read-side critical section; may run on several CPUs at once.
    fn start_xmit(this: ArcBorrow<'_, Self>, dev: &NetDevice, skb: SkBuff) -> Result;

    /// A NAPI was scheduled: processes what came in for it, at most `budget` packets, and returns how many those
    /// were. If they were `budget` it is called again, otherwise when it is next scheduled.
    ///
    /// There is one NAPI for each possible CPU, and it is scheduled from that CPU; `index` is the CPU's number, and
    /// calls with the same index never overlap. Where they run is another matter: on another CPU if that one
    /// went offline or if the user has made the NAPIs threads. May be called when the device is not running, or is
    /// about to be removed.
    ///
    /// Softirq context, or process context with softirqs off.
    fn poll(
        this: ArcBorrow<'_, Self>,
        dev: &NetDevice,
        index: u32,
        napi: &NapiContext<'_>,
        budget: usize,
    ) -> usize;

    /// The device is being unregistered: it is down, and is not found any more. After this
    /// [`Handle::get`] gives `None`, and a grace period passes before [`Driver::destroy`].
    ///
    /// Process context, the RTNL is held.
    fn unregistering(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device was unregistered, nothing else refers to it, and its NAPIs are stopped. When this
    /// returns it is freed.
    ///
    /// Process context, the RTNL is not held.
    fn destroy(this: Arc<Self>, dev: &NetDevice);
}

/// `NETIF_F_*`: what a device can do with packets by itself. Joined with `|`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(bindings::netdev_features_t);

impl Features {
    /// `NETIF_F_SG`: takes packets in pieces.
    pub(crate) const SG: Self = Self(1 << bindings::NETIF_F_SG_BIT);
    /// `NETIF_F_HW_CSUM`: takes packets whose checksum is yet to be computed.
    pub(crate) const HW_CSUM: Self = Self(1 << bindings::NETIF_F_HW_CSUM_BIT);
    /// `NETIF_F_RXCSUM`: received packets have their checksum verified.
    pub(crate) const RXCSUM: Self = Self(1 << bindings::NETIF_F_RXCSUM_BIT);
    /// `NETIF_F_GSO`: takes packets that are yet to be segmented.
    pub(crate) const GSO: Self = Self(1 << bindings::NETIF_F_GSO_BIT);
    /// `NETIF_F_GSO_SOFTWARE`: every kind of them that the stack itself can segment.
    pub(crate) const GSO_SOFTWARE: Self = Self(bindings::NETIF_F_GSO_SOFTWARE);
    /// `NETIF_F_HIGHDMA`: takes packets whose memory is anywhere.
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
/// `dev` points to a device that nobody else uses, and may be written to during `'a`.
pub(crate) struct Setup<'a> {
    dev: NonNull<bindings::net_device>,
    _p: PhantomData<&'a mut bindings::net_device>,
}

impl Setup<'_> {
    fn dev(&mut self) -> &mut bindings::net_device {
        // SAFETY: By the type invariant.
        unsafe { self.dev.as_mut() }
    }

    /// The device carries IP packets as they are: no header in front of them, no addresses, one peer.
    pub(crate) fn no_link_layer(&mut self) {
        let dev = self.dev();
        dev.header_ops = &raw const bindings::ip_tunnel_header_ops;
        dev.hard_header_len = 0;
        dev.addr_len = 0;
        dev.type_ = bindings::ARPHRD_NONE as u16;
        dev.flags =
            bindings::net_device_flags_IFF_POINTOPOINT | bindings::net_device_flags_IFF_NOARP;
    }

    /// `needed_headroom`, `needed_tailroom`: bytes the driver wants in front of and behind a packet.
    pub(crate) fn needed_room(&mut self, head: u16, tail: u16) {
        let dev = self.dev();
        dev.needed_headroom = head;
        dev.needed_tailroom = tail;
    }

    /// The MTU that a new device has, and the largest one that can be set; bytes, at most `i32::MAX`.
    pub(crate) fn mtu(&mut self, mtu: u32, max: u32) {
        let dev = self.dev();
        dev.max_mtu = max.min(i32::MAX as u32);
        dev.mtu = mtu.min(dev.max_mtu);
    }

    /// What the device can do; the user can turn it off. It goes for packets that are encapsulated as well.
    pub(crate) fn features(&mut self, features: Features) {
        let dev = self.dev();
        dev.features |= features.0;
        dev.hw_features |= features.0;
        dev.hw_enc_features |= features.0;
    }

    /// `netif_set_tso_max_size()`: bytes of the largest GSO packet the device takes, up to
    /// [`GSO_MAX_SIZE`](super::GSO_MAX_SIZE).
    pub(crate) fn tso_max_size(&mut self, size: u32) {
        // SAFETY: By the type invariant the device is valid, and nobody else uses it.
        unsafe { bindings::netif_set_tso_max_size(self.dev.as_ptr(), size) };
    }

    /// `IFF_NO_QUEUE`: there is no queueing discipline by default.
    pub(crate) fn no_queue(&mut self) {
        // SAFETY: The union names the same bits twice.
        let flags = unsafe { &mut self.dev().__bindgen_anon_1.priv_flags_fast };
        flags.set_priv_flags(
            flags.priv_flags() | bindings::netdev_priv_flags_IFF_NO_QUEUE as c_ulong,
        );
    }

    /// `lltx`: packets are transmitted without the transmit lock of the core, on several CPUs at once.
    pub(crate) fn lltx(&mut self) {
        // SAFETY: The union names the same bits twice.
        unsafe { &mut self.dev().__bindgen_anon_1.priv_flags_fast }.set_lltx(1);
    }

    /// `netif_keep_dst()`: packets keep the route they are sent by, which ICMP errors need.
    pub(crate) fn keep_dst(&mut self) {
        // SAFETY: By the type invariant the device is valid, and nobody else uses it.
        unsafe { bindings::netif_keep_dst(self.dev.as_ptr()) };
    }
}

/// The private memory of a device.
pub(in super::super) struct Private<D: Driver> {
    driver: Arc<D>,
    handle: Handle,
    /// Whether [`Driver::closing`] was called and [`Driver::stop`] is yet to be. Only with the RTNL
    /// held.
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

    /// Calls [`Driver::stop`], if that is yet to be done.
    fn finish_closing(&self, dev: &NetDevice) {
        if self.closing.xchg(false, Relaxed) {
            D::stop(self.driver.as_arc_borrow(), dev);
        }
    }

    /// Where it is, if `dev` is a valid device that was allocated for the rtnl link kind of `D`: that memory is aligned to
    /// `NETDEV_ALIGN`, and has the size that was asked for, which is that of `Self`.
    pub(in super::super) fn ptr(dev: *mut bindings::net_device) -> *mut Self {
        const { assert!(align_of::<Self>() <= 32) };
        dev.wrapping_byte_add(offset_of!(bindings::net_device, priv_))
            .cast()
    }

    /// The private memory while it is in use.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid device that was allocated for the rtnl link kind of `D`, and the memory must be initialised and
    /// stay so during `'a`.
    pub(in super::super) unsafe fn of<'a>(dev: *mut bindings::net_device) -> &'a Self {
        // SAFETY: By the safety requirement it is there, and initialised.
        unsafe { &*Self::ptr(dev) }
    }

    /// The private memory while it is in use, and the device.
    ///
    /// # Safety
    ///
    /// As for [`Private::of`], and the device must not be freed during `'a`.
    unsafe fn with_device<'a>(dev: *mut bindings::net_device) -> (&'a Self, &'a NetDevice) {
        // SAFETY: By the safety requirement.
        let private = unsafe { Self::of(dev) };
        // SAFETY: By the safety requirement the device is valid during `'a`.
        (private, unsafe { NetDevice::from_raw(dev) })
    }
}

/// The callbacks from C.
///
/// Between `register_netdevice()` and the end of `priv_destructor()`, which is when the core calls them, the private
/// memory is initialised.
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
    /// `dev` must be valid and nobody else may use it.
    pub(in super::super) unsafe extern "C" fn setup(dev: *mut bindings::net_device) {
        // INVARIANT: By the safety requirement.
        let mut setup = Setup {
            // SAFETY: By the safety requirement it is not null.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _p: PhantomData,
        };
        D::setup(&mut setup);
        let dev = setup.dev();
        dev.netdev_ops = Self::netdev_ops();
        dev.dev.type_ = Self::device_type();
        // `NetDevice::rx_add()` and the tunnels count in these.
        dev.set_pcpu_stat_type(bindings::netdev_stat_type_NETDEV_PCPU_STAT_TSTATS);
        // The core frees the device after `priv_destructor()`.
        dev.needs_free_netdev = true;
    }

    /// # Safety
    ///
    /// `dev` must be valid and about to be registered.
    unsafe extern "C" fn init(dev: *mut bindings::net_device) -> c_int {
        // A packet may be sent by the transmit function, through another device: to lockdep the locks of that one are others.
        // SAFETY: By the safety requirement.
        unsafe { bindings::helper_netdev_lockdep_set_classes(dev) };
        0
    }

    /// # Safety
    ///
    /// `dev` must be valid, registered for this kind, and the RTNL be held.
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
    /// `dev` must be valid, registered for this kind, and the RTNL be held.
    unsafe extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: By the safety requirement; both are borrowed for the call.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        D::closing(private.driver.as_arc_borrow(), dev);
        private.closing.store(true, Relaxed);
        // Without a queue the core has not waited since the device is not running any more. If this
        // is the end of the device the core is about to, for all of the devices that end together,
        // and calls `uninit()` after that.
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
    /// `dev` must be valid, of this kind, its private memory initialised, and the RTNL be held. The
    /// device is not registered any more, or that has failed; if it was open once, a grace period
    /// has passed since it was closed.
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
    /// `dev` must be valid and running, and `skb` valid and the caller's, who gives it away. The caller must be in
    /// an RCU read-side critical section with softirqs off.
    unsafe extern "C" fn start_xmit(
        skb: *mut bindings::sk_buff,
        dev: *mut bindings::net_device,
    ) -> bindings::netdev_tx_t {
        // SAFETY: By the safety requirement; both are borrowed for the call: the device leaves the stage no sooner
        // than a grace period after it was closed.
        let (private, dev) = unsafe { Private::<D>::with_device(dev) };
        // SAFETY: By the safety requirement the packet is valid. If somebody else has it too, we get one of our own.
        let skb = unsafe { bindings::skb_share_check(skb, bindings::GFP_ATOMIC) };
        let Some(skb) = NonNull::new(skb) else {
            dev.stats_add(Stat::TxDropped, 1);
            return bindings::netdev_tx_NETDEV_TX_OK;
        };
        // SAFETY: The packet is valid. The hash comes first because it is made by the rules of the namespace that
        // the device is in.
        unsafe { bindings::skb_get_hash(skb.as_ptr()) };
        // SAFETY: The packet is valid and now ours alone. `dev_queue_xmit()` took it off all lists and has its route
        // counted, unless it dropped it. Its data begin with a network header, or a link layer
        // header in front of one, whose offset C has in 16 bits. Its device goes with the next
        // line.
        let mut skb = unsafe { SkBuff::from_raw(skb) };
        // SAFETY: There is no device that has to stay.
        unsafe { skb.set_dev(core::ptr::null_mut()) };
        // A sender of packets that bypass the queueing disciplines looks at this some time before
        // softirqs are off.
        if !dev.is_running() {
            dev.stats_add(Stat::TxDropped, 1);
            return bindings::netdev_tx_NETDEV_TX_OK;
        }
        match D::start_xmit(private.driver.as_arc_borrow(), dev, skb) {
            Ok(()) => bindings::netdev_tx_NETDEV_TX_OK,
            // An error counts as a packet that was taken.
            Err(e) => e.to_errno(),
        }
    }

    /// `poll` of the device's NAPIs.
    ///
    /// # Safety
    ///
    /// `napi` must be an enabled one of the NAPIs of a device of this kind, scheduled, and softirqs be off.
    pub(in super::super) unsafe extern "C" fn poll(
        napi: *mut bindings::napi_struct,
        budget: c_int,
    ) -> c_int {
        // Zero is what netpoll gives, to have transmissions completed, of which there are none. It may have
        // interrupts off.
        let Ok(room @ 1..) = usize::try_from(budget) else {
            return 0;
        };
        // SAFETY: By the safety requirement; it stays enabled until this function returns.
        let napi = unsafe { NapiContext::new(napi) };
        let dev = napi.dev();
        // SAFETY: NAPIs are enabled after the private memory was initialised, and disabled before it is dropped.
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

    /// `priv_destructor`: the last thing that is called for a device that was registered.
    ///
    /// # Safety
    ///
    /// `dev` must be valid, of this kind, and unregistered; a grace period must have passed since
    /// `uninit()` was called.
    pub(in super::super) unsafe extern "C" fn destructor(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement; the private memory is dropped below.
        let (private, netdev) = unsafe { Private::<D>::with_device(dev) };
        let napis = private.handle.napis();
        // SAFETY: They were added and enabled before the device was registered.
        unsafe { napis.disable() };
        // SAFETY: They have just been disabled.
        unsafe { napis.delete() };
        D::destroy(private.driver.clone(), netdev);
        // `uninit()` has revoked the handle, when the device could not be found any more. The core
        // has waited for a grace period after that, for who had got the device from the handle, or
        // one of the NAPIs from the device.
        // SAFETY: By the safety requirement the memory is there, and initialised. The core does not
        // call us any more, and neither do the NAPIs.
        unsafe { Private::<D>::ptr(dev).drop_in_place() };
    }

    /// Drops the private memory of a device that could not be registered. Sleeps.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid device of this kind that is not registered (any more), its private memory initialised,
    /// and its NAPIs enabled. It may not be used as a device of this kind afterwards.
    pub(in super::super) unsafe fn teardown(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement.
        let private = unsafe { Private::<D>::of(dev) };
        // SAFETY: By the safety requirement they are enabled.
        unsafe { private.handle.napis().disable() };
        private.handle.revoke();
        // SAFETY: They have just been disabled.
        unsafe { private.handle.napis().delete() };
        // For who has got the device from the handle, or one of the NAPIs from the device.
        rcu::synchronize_net();
        // SAFETY: By the safety requirement the memory is there, and initialised. The core does not call us any more, and neither
        // do the NAPIs.
        unsafe { Private::<D>::ptr(dev).drop_in_place() };
    }
}
