// SPDX-License-Identifier: GPL-2.0

//! The NAPIs of a device without interrupts: one for each possible CPU.
//!
//! ```text
//!   new: SCHED ──add()──> idle <────────────────────┐
//!                          │ schedule()             │ complete()
//!                          └─────> SCHED ──> poll() ┤
//!                                    ^              │ complete(), if scheduled
//!                                    └──────────────┘ meanwhile (MISSED)
//!
//!   any state after add() ──remove()──> SCHED
//! ```
//!
//! `NAPI_STATE_SCHED` says that the instance already has an owner. Scheduling it then only sets
//! `NAPI_STATE_MISSED`. The flag is also set whenever the instance is not enabled, so scheduling is
//! harmless at any time.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use kernel::{
    alloc::KVVec,
    prelude::*,
    types::Opaque, //
};

use crate::linux::{
    bindings,
    cpumask,
    napi::NapiContext, //
};

/// One NAPI, on cache lines of its own, because different CPUs use different instances.
#[repr(align(64))]
struct Instance {
    napi: Opaque<bindings::napi_struct>,
}

/// A NAPI for each possible CPU.
///
/// # Invariants
///
/// * Until the instances are dropped they are not moved, and no mutable reference to one exists.
/// * Each instance is in one of the states of the drawing above, and has `NAPI_STATE_SCHED` set
///   unless it is enabled.
pub(super) struct NapiSet {
    instances: KVVec<Instance>,
}

// SAFETY: The functions that change more than the atomic state are `unsafe`, and their safety
// requirements say when they may be called.
unsafe impl Send for NapiSet {}
// SAFETY: As above.
unsafe impl Sync for NapiSet {}

impl NapiSet {
    /// Makes the instances. Process context.
    pub(super) fn new() -> Result<Self> {
        let count = cpumask::possible()
            .last()
            .map_or(0, |cpu| cpu.saturating_add(1));
        let mut instances = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            let napi: bindings::napi_struct = bindings::napi_struct {
                // No busy polling: that is for devices that wait for interrupts.
                state: 1 << bindings::NAPI_STATE_SCHED | 1 << bindings::NAPI_STATE_NO_BUSY_POLL,
                ..pin_init::zeroed()
            };
            instances
                .push_within_capacity(Instance {
                    napi: Opaque::new(napi),
                })
                .map_err(|_| ENOMEM)?;
        }
        // INVARIANT: The instances are `SCHED` and not added. The vector
        // never grows again, so they do not move.
        Ok(Self { instances })
    }

    /// `netif_napi_add()` and `napi_enable()` for each instance.
    ///
    /// # Safety
    ///
    /// * To be called once, from process context, without the device's instance lock held.
    /// * `dev` must be valid until [`NapiSet::remove`] has been called.
    /// * [`NapiSet::remove`] must be called before `self` is dropped. A grace period must pass
    ///   before the drop during which no new RCU reader could find one of the NAPIs: because they
    ///   were removed, or because the device could not be found.
    /// * `poll` must be sound to call as the poll function of a `struct napi_struct`, until
    ///   [`NapiSet::remove`] has been called.
    pub(super) unsafe fn add(
        &self,
        dev: *mut bindings::net_device,
        poll: unsafe extern "C" fn(*mut bindings::napi_struct, c_int) -> c_int,
    ) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement the device is valid, and the instance was not added
            // before. By the type invariant the instance does not move, and by the safety
            // requirement it is not dropped before it is removed.
            unsafe { bindings::netif_napi_add(dev, instance.napi.get(), Some(poll)) };
            // SAFETY: The instance has just been added, and is not enabled yet.
            unsafe { bindings::napi_enable(instance.napi.get()) };
        }
    }

    /// `napi_disable()` and `__netif_napi_del()` for each instance: waits until none runs. An
    /// instance that was scheduled but has not run yet runs before that. Sleeps.
    ///
    /// # Safety
    ///
    /// The instances must have been added, and not be removed yet. The context must be as for
    /// [`NapiSet::add`].
    pub(super) unsafe fn remove(&self) {
        for instance in &self.instances {
            // SAFETY: By the safety requirement the instance is enabled.
            unsafe { bindings::napi_disable(instance.napi.get()) };
        }
        for instance in &self.instances {
            // SAFETY: The instance was added, and has just been disabled.
            unsafe { bindings::__netif_napi_del(instance.napi.get()) };
        }
    }

    /// The number of the instance that is being polled, which is that of its CPU. A NAPI that is
    /// not of this set gets a number without meaning.
    pub(super) fn index_of(&self, napi: &NapiContext<'_>) -> u32 {
        let offset = (napi.as_raw() as usize).wrapping_sub(self.instances.as_ptr() as usize);
        (offset / size_of::<Instance>()) as u32
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
