// SPDX-License-Identifier: GPL-2.0

//! The callbacks from C, and the private memory of a device that they use.

use core::{
    marker::PhantomData,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

use super::{
    Driver,
    Handle, //
};
use crate::linux::{
    bindings,
    napi::NapiContext,
    netdevice::{
        NetDevice,
        Setup,
        Stat, //
    },
    rcu,
    skbuff::{
        DropReason,
        SkBuff, //
    },
};

/// The private memory of a device.
pub(super) struct Private<D: Driver> {
    driver: Arc<D>,
    handle: Handle,
    /// Whether [`Driver::closing`] was called and [`Driver::stop`] is yet to be called. Only
    /// accessed with the RTNL held.
    closing: Atomic<bool>,
}

impl<D: Driver> Private<D> {
    pub(super) fn new(driver: Arc<D>, handle: Handle) -> Self {
        Self {
            driver,
            handle,
            closing: Atomic::new(false),
        }
    }

    pub(super) fn driver(&self) -> &Arc<D> {
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
    pub(super) fn ptr(dev: *mut bindings::net_device) -> *mut Self {
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
    pub(super) unsafe fn of<'a>(dev: *mut bindings::net_device) -> &'a Self {
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
pub(super) struct Operations<D>(PhantomData<D>);

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
    pub(super) const fn netdev_ops() -> &'static bindings::net_device_ops {
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
    pub(super) unsafe extern "C" fn setup(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement.
        let mut setup = unsafe { Setup::from_raw(dev) };
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
            // SAFETY: The device is valid; the RTNL is held by the safety requirement.
            unsafe { bindings::helper_netdev_no_neighbours(dev.as_raw()) };
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
        skb.clear_dev();
        // A sender that bypasses the queueing disciplines checks this some time before it disables
        // softirqs.
        if !dev.is_running() {
            dev.stats_add(Stat::TxDropped, 1);
            skb.discard(DropReason::NotReady);
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
    pub(super) unsafe extern "C" fn poll(napi: *mut bindings::napi_struct, budget: c_int) -> c_int {
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
            private.handle.napis().index_of(&napi),
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
    pub(super) unsafe extern "C" fn destructor(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement. `uninit()` has revoked the handle, after lookups had
        // stopped finding the device.
        unsafe { Self::end(dev, |private, dev| D::destroy(private.driver.clone(), dev)) };
    }

    /// Drops the private memory of a device that could not be registered. Sleeps.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid device of this kind that is not registered, or not any more. Its
    /// private memory must be initialised and its NAPIs enabled. It may not be used as a device of
    /// this kind afterwards.
    pub(super) unsafe fn teardown(dev: *mut bindings::net_device) {
        // SAFETY: By the safety requirement.
        unsafe { Private::<D>::of(dev) }.handle.revoke();
        // SAFETY: By the safety requirement, and the handle has been revoked.
        unsafe { Self::end(dev, |_, _| {}) };
    }

    /// Removes the NAPIs of a device, calls `last`, and drops the private memory.
    ///
    /// # Safety
    ///
    /// As for [`Self::teardown`]. The handle must have been revoked.
    unsafe fn end(dev: *mut bindings::net_device, last: impl FnOnce(&Private<D>, &NetDevice)) {
        // SAFETY: By the safety requirement; the private memory is dropped below.
        let (private, netdev) = unsafe { Private::<D>::with_device(dev) };
        // SAFETY: By the safety requirement the NAPIs were added, and are enabled.
        unsafe { private.handle.napis().remove() };
        // For RCU readers that got the device from the handle, or a NAPI from the device; and for
        // the core, which looks at a NAPI, and by it at the device, after it has let go of it.
        rcu::synchronize_net();
        last(private, netdev);
        // SAFETY: By the safety requirement the memory is allocated and initialised. Neither the
        // core nor a NAPI calls the functions of this device any more.
        unsafe { Private::<D>::ptr(dev).drop_in_place() };
    }
}
