// SPDX-License-Identifier: GPL-2.0

//! NAPI: processing of received packets in softirq context, one instance a CPU.
//!
//! The instances of a device belong to the face of network devices, see
//! [`netdevice::Driver::poll`](super::netdevice::Driver::poll).
//!
//! ```text
//!   new: SCHED ──add()──> SCHED ──enable()──> idle <──────────────────────┐
//!                                              │ schedule()               │ complete(), not scheduled meanwhile
//!                                              └────> SCHED ──> poll() ───┘
//!                                                            └── ^ complete(), scheduled meanwhile (MISSED)
//!   any of the latter ──disable()──> SCHED ──delete()──> SCHED
//! ```
//!
//! `NAPI_STATE_SCHED` says that the instance is somebody's already: who schedules it then does nothing but leave a
//! note. It is set whenever the instance is not enabled, so scheduling is harmless at any time.
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

/// One NAPI, on cache lines of its own.
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
/// * The instances are not moved, nor is there a mutable reference to one, until they are dropped.
/// * Each is in one of the states of the drawing above, and has `NAPI_STATE_SCHED` set unless enabled.
pub(super) struct Set {
    instances: KVVec<Instance>,
}

// SAFETY: The functions that change more than the atomic state say who may call them.
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
                // Out of reach of busy polling, which is for devices that wait for interrupts.
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
        // INVARIANT: They were numbered in order, are `SCHED` and not added, and nothing grows the vector any more.
        Ok(Self { instances })
    }

    /// `netif_napi_add()` for each.
    ///
    /// # Safety
    ///
    /// * To be called once, from process context, without the lock of the device's instance.
    /// * `dev` must be valid until [`Set::delete`] was called, which has to be called before `self`
    ///   is dropped. Before the drop a grace period must have passed in which nobody found one of
    ///   the NAPIs under RCU: because they were deleted, or because the device was out of reach.
    /// * `poll` must be sound to call as `struct napi_struct` says, from [`Set::enable`] to [`Set::disable`].
    pub(super) unsafe fn add(
        &self,
        dev: *mut bindings::net_device,
        poll: unsafe extern "C" fn(*mut bindings::napi_struct, c_int) -> c_int,
    ) {
        for instance in &self.instances {
            // SAFETY: The device is valid by the safety requirement; the instance was not added before, stays where
            // it is by the type invariant, and until it was deleted by the safety requirement.
            unsafe { bindings::netif_napi_add(dev, instance.napi.get(), Some(poll)) };
        }
    }

    /// `napi_enable()` for each.
    ///
    /// # Safety
    ///
    /// They must have been added, not be enabled, and the context be as for [`Set::add`].
    pub(super) unsafe fn enable(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::napi_enable(instance.napi.get()) };
        }
    }

    /// `napi_disable()` for each: waits until none runs, and none does until they are enabled again. What was
    /// scheduled but did not run yet runs before. Sleeps.
    ///
    /// # Safety
    ///
    /// They must be enabled, and the context be as for [`Set::add`].
    pub(super) unsafe fn disable(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::napi_disable(instance.napi.get()) };
        }
    }

    /// `__netif_napi_del()` for each. Sleeps.
    ///
    /// # Safety
    ///
    /// They must have been added, not be enabled, and the context be as for [`Set::add`].
    pub(super) unsafe fn delete(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement.
            unsafe { bindings::__netif_napi_del(instance.napi.get()) };
        }
    }

    /// `napi_schedule()` for the instance of a CPU: it runs on the current CPU, or as a thread.
    ///
    /// If softirqs are off it runs when they are on again at the latest. Any context.
    #[inline]
    pub(super) fn schedule(&self, index: u32) {
        let Some(instance) = self.instances.get(index as usize) else {
            return;
        };
        // SAFETY: The instance is valid, its state is changed atomically.
        if unsafe { bindings::napi_schedule_prep(instance.napi.get()) } {
            // SAFETY: By the type invariant the instance is enabled: else the answer would have been no. It is yes for one
            // caller only, who puts an instance on a list that is on none.
            unsafe { bindings::__napi_schedule(instance.napi.get()) };
        }
    }
}

/// A NAPI that is being polled.
///
/// # Invariants
///
/// * `instance` is valid during `'a`, is part of a [`Set`], enabled, and its poll function is running on the current
///   CPU in the current context, with softirqs off.
/// * The device it was added to is valid during `'a`.
pub(crate) struct NapiContext<'a> {
    instance: &'a Instance,
    _not_send: NotThreadSafe,
    _p: PhantomData<&'a NetDevice>,
}

impl<'a> NapiContext<'a> {
    /// # Safety
    ///
    /// * `napi` must be one of a [`Set`], and the caller its poll function.
    /// * The value may not be used when that has returned.
    pub(super) unsafe fn new(napi: *mut bindings::napi_struct) -> Self {
        let instance: *const Instance = napi
            .wrapping_byte_sub(offset_of!(Instance, napi))
            .cast_const()
            .cast();
        // INVARIANT: By the safety requirement; a poll function runs with softirqs off, and the device stays for as
        // long as the instance is enabled.
        Self {
            // SAFETY: By the safety requirement the NAPI lies in an `Instance`, which starts there. It is there, and only
            // shared, for as long as its poll function runs.
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
        // SAFETY: The instance is valid, and as by the type invariant it was added the field is set and constant.
        let dev = unsafe { (*self.napi()).dev };
        // SAFETY: By the type invariant the device is valid during `'a`.
        unsafe { NetDevice::from_raw(dev) }
    }

    /// `napi_complete_done()`: the poll function has processed `done` packets and found no more.
    pub(super) fn complete(&self, done: c_int) {
        // SAFETY: By the type invariant we own the instance as its poll function. If it was scheduled meanwhile the
        // function has it polled again.
        unsafe { bindings::napi_complete_done(self.napi(), done) };
    }

    /// What `napi_complete_done()` does first: passes on to the stack all that [`NapiContext::gro_receive`] keeps in the hope
    /// that more comes to merge it with.
    pub(crate) fn gro_flush(&self) {
        // SAFETY: By the type invariant we own the instance, and softirqs are off.
        unsafe { bindings::helper_napi_gro_flush(self.napi()) };
    }

    /// `napi_gro_receive()`: hands a packet to the network stack as received by the device. Its data starts with the
    /// network header, its protocol is set.
    ///
    /// If the device is not running the packet is dropped.
    #[inline]
    pub(crate) fn gro_receive(&self, mut skb: SkBuff) {
        let dev = self.dev();
        // Once the device is closed, unregistering it waits for a grace period, and so for us, before it takes things
        // apart that the stack needs.
        if !dev.is_running() {
            return;
        }
        // SAFETY: The stack takes the packet off its own lists and queues before the device is freed.
        unsafe { skb.set_dev(dev.as_raw()) };
        skb.set_network_header();
        // SAFETY: By the type invariant we own the instance, softirqs are off; the packet is ours and we give it away.
        unsafe { bindings::napi_gro_receive(self.napi(), skb.into_raw()) };
    }
}
