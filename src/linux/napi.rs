// SPDX-License-Identifier: GPL-2.0

//! NAPI: processing of received packets in softirq context, with one instance per CPU.
//!
//! The face of network devices owns the instances of a device: see
//! [`netdevice::Driver::poll`](super::netdevice::Driver::poll).
//!
//! ```text
//!   new: SCHED ──add()──> SCHED ──enable()──> idle <────────────────────┐
//!                                              │ schedule()             │ complete()
//!                                              └─────> SCHED ──> poll() ┤
//!                                                        ^              │ complete(), if scheduled
//!                                                        └──────────────┘ meanwhile (MISSED)
//!
//!   any state after enable() ──disable()──> SCHED ──delete()──> SCHED
//! ```
//!
//! `NAPI_STATE_SCHED` says that the instance already has an owner. Scheduling it then only sets
//! `NAPI_STATE_MISSED`. The flag is also set whenever the instance is not enabled, so scheduling is
//! harmless at any time.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::{
    marker::PhantomData,
    mem::offset_of, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use super::{
    bindings,
    cpumask,
    netdevice::NetDevice,
    skbuff::SkBuff, //
};

/// One NAPI, on cache lines of its own, because different CPUs use different instances.
#[repr(C, align(64))]
struct Instance {
    napi: Opaque<bindings::napi_struct>,
    index: u32,
}

/// A NAPI for each possible CPU.
///
/// # Invariants
///
/// * Instance `i` has the index `i`.
/// * Until the instances are dropped they are not moved, and no mutable reference to one exists.
/// * Each instance is in one of the states of the drawing above, and has `NAPI_STATE_SCHED` set
///   unless it is enabled.
pub(super) struct Set {
    instances: KVVec<Instance>,
}

// SAFETY: The functions that change more than the atomic state are `unsafe`, and their safety
// requirements say when they may be called.
unsafe impl Send for Set {}
// SAFETY: As above.
unsafe impl Sync for Set {}

impl Set {
    /// Makes the instances. Process context.
    pub(super) fn new() -> Result<Self> {
        let count = cpumask::possible()
            .last()
            .map_or(0, |cpu| cpu.saturating_add(1));
        let mut instances = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for index in 0..count {
            let napi: bindings::napi_struct = bindings::napi_struct {
                // No busy polling: that is for devices that wait for interrupts.
                state: 1 << bindings::NAPI_STATE_SCHED | 1 << bindings::NAPI_STATE_NO_BUSY_POLL,
                ..pin_init::zeroed()
            };
            instances
                .push_within_capacity(Instance {
                    napi: Opaque::new(napi),
                    index,
                })
                .map_err(|_| ENOMEM)?;
        }
        // INVARIANT: The instances were numbered in order, are `SCHED` and not added. The vector
        // never grows again, so they do not move.
        Ok(Self { instances })
    }

    /// `netif_napi_add()` for each instance.
    ///
    /// # Safety
    ///
    /// * To be called once, from process context, without the device's instance lock held.
    /// * `dev` must be valid until [`Set::delete`] has been called.
    /// * [`Set::delete`] must be called before `self` is dropped. A grace period must pass before
    ///   the drop during which no new RCU reader could find one of the NAPIs: because they were
    ///   deleted, or because the device could not be found.
    /// * `poll` must be sound to call as the poll function of a `struct napi_struct`, from
    ///   [`Set::enable`] to [`Set::disable`].
    pub(super) unsafe fn add(
        &self,
        dev: *mut bindings::net_device,
        poll: unsafe extern "C" fn(*mut bindings::napi_struct, c_int) -> c_int,
    ) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement the device is valid, and the instance was not added
            // before. By the type invariant the instance does not move, and by the safety
            // requirement it is not dropped before it is deleted.
            unsafe { bindings::netif_napi_add(dev, instance.napi.get(), Some(poll)) };
        }
    }

    /// `napi_enable()` for each instance.
    ///
    /// # Safety
    ///
    /// The instances must have been added and not be enabled. The context must be as for
    /// [`Set::add`].
    pub(super) unsafe fn enable(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::napi_enable(instance.napi.get()) };
        }
    }

    /// `napi_disable()` for each instance: waits until none runs. An instance that was scheduled
    /// but has not run yet runs before that. None runs again until they are enabled. Sleeps.
    ///
    /// # Safety
    ///
    /// The instances must be enabled. The context must be as for [`Set::add`].
    pub(super) unsafe fn disable(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::napi_disable(instance.napi.get()) };
        }
    }

    /// `__netif_napi_del()` for each instance. Sleeps.
    ///
    /// # Safety
    ///
    /// The instances must have been added and not be enabled. The context must be as for
    /// [`Set::add`].
    pub(super) unsafe fn delete(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::__netif_napi_del(instance.napi.get()) };
        }
    }

    /// `napi_schedule()` for the instance `index`: it runs on the current CPU, or as a thread. Does
    /// nothing if there is no such instance.
    ///
    /// It runs no later than when softirqs are enabled again. Any context.
    #[inline]
    pub(super) fn schedule(&self, index: u32) {
        let Some(instance) = self.instances.get(index as usize) else {
            return;
        };
        // SAFETY: The instance is valid, and the function changes its state atomically.
        if unsafe { bindings::napi_schedule_prep(instance.napi.get()) } {
            // SAFETY: By the type invariant the instance is enabled, because otherwise
            // `napi_schedule_prep()` would have returned false. That function returns true to one
            // caller only, so the instance is on no list yet and this call alone puts it on one.
            unsafe { bindings::__napi_schedule(instance.napi.get()) };
        }
    }
}

/// A NAPI that is being polled.
///
/// # Invariants
///
/// * `instance` is valid during `'a`, is part of a [`Set`], and is enabled. Its poll function is
///   running on the current CPU in the current context, with softirqs off.
/// * The device that the instance was added to is valid during `'a`.
pub(crate) struct NapiContext<'a> {
    instance: &'a Instance,
    _not_send: NotThreadSafe,
    _p: PhantomData<&'a NetDevice>,
}

impl<'a> NapiContext<'a> {
    /// # Safety
    ///
    /// * `napi` must be in a [`Set`], and the caller must be its poll function.
    /// * The value may not be used after the poll function has returned.
    pub(super) unsafe fn new(napi: *mut bindings::napi_struct) -> Self {
        let instance: *const Instance = napi
            .wrapping_byte_sub(offset_of!(Instance, napi))
            .cast_const()
            .cast();
        // INVARIANT: By the safety requirement this is the poll function of an instance of a `Set`.
        // A poll function runs with softirqs off. The device stays valid for as long as the
        // instance is enabled.
        Self {
            // SAFETY: By the safety requirement the NAPI lies in an `Instance`, which starts at
            // this address. While its poll function runs the instance is valid and there are only
            // shared references to it.
            instance: unsafe { &*instance },
            _not_send: NotThreadSafe,
            _p: PhantomData,
        }
    }

    fn napi(&self) -> *mut bindings::napi_struct {
        self.instance.napi.get()
    }

    /// The number of the CPU that the instance belongs to.
    pub(super) fn index(&self) -> u32 {
        self.instance.index
    }

    /// The device that the instance belongs to.
    pub(super) fn dev(&self) -> &'a NetDevice {
        // SAFETY: The instance is valid. By the type invariant it was added to a device, so the
        // field is set and constant.
        let dev = unsafe { (*self.napi()).dev };
        // SAFETY: By the type invariant the device is valid during `'a`.
        unsafe { NetDevice::from_raw(dev) }
    }

    /// `napi_complete_done()`: the poll function has processed `done` packets and found no more.
    pub(super) fn complete(&self, done: c_int) {
        // SAFETY: By the type invariant the caller is the poll function, so it owns the instance.
        // If the instance was scheduled meanwhile, `napi_complete_done()` has it polled again.
        unsafe { bindings::napi_complete_done(self.napi(), done) };
    }

    /// The first half of `napi_complete_done()`: passes to the stack all packets that
    /// [`NapiContext::gro_receive`] holds back for merging.
    pub(crate) fn gro_flush(&self) {
        // SAFETY: By the type invariant the caller owns the instance, and softirqs are off.
        unsafe { bindings::helper_napi_gro_flush(self.napi()) };
    }

    /// `napi_gro_receive()`: hands a packet to the network stack as received by the device. Its
    /// data has to start with the network header, and its protocol has to be set.
    ///
    /// The packet is dropped if the device is not running.
    #[inline]
    pub(crate) fn gro_receive(&self, mut skb: SkBuff) {
        let dev = self.dev();
        // After the device is closed, unregistering it waits for a grace period, and so for this
        // function, before it frees the state that the stack needs.
        if !dev.is_running() {
            return;
        }
        // SAFETY: The stack removes the packet from all its lists and queues before the device is
        // freed.
        unsafe { skb.set_dev(dev.as_raw()) };
        skb.set_network_header();
        // SAFETY: By the type invariant the caller owns the instance, and softirqs are off. The
        // packet is owned, and ownership passes to the function.
        unsafe { bindings::napi_gro_receive(self.napi(), skb.into_raw()) };
    }
}
