// SPDX-License-Identifier: GPL-2.0

//! References to a device that may be kept.

use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Release, //
            },
            Atomic, //
        },
        Arc,
        SetOnce, //
    }, //
};

use crate::linux::{
    bindings,
    bottom_half::BhGuard,
    cpumask,
    engine::napi_set::NapiSet,
    netdevice::{
        Name,
        NetDevice, //
    },
    rcu, //
};

/// The shared part of all clones of a [`Handle`].
struct Link {
    /// The device; null once the handle is revoked.
    dev: Atomic<*mut bindings::net_device>,
    /// The last name of the device, set when the handle is revoked.
    last_name: SetOnce<Name>,
    napis: NapiSet,
}

/// A revocable reference to a device of a [`Driver`](super::Driver), and to its NAPIs.
///
/// It does not keep the device alive. The device may go away at any time; [`Handle::get`] returns
/// `None` from then on.
///
/// # Invariants
///
/// `dev` is null, or points to a device that is not freed before a grace period has passed since
/// `dev` became null.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Link>);

// SAFETY: The pointer is only followed under RCU, and `NetDevice` and `NapiSet` are `Send` and
// `Sync`.
unsafe impl Send for Handle {}
// SAFETY: As above.
unsafe impl Sync for Handle {}

impl Handle {
    /// # Safety
    ///
    /// `dev` must be valid. Before the device is freed, the caller must call [`Handle::revoke`] and
    /// a grace period must pass.
    pub(super) unsafe fn new(dev: *mut bindings::net_device) -> Result<Self> {
        // INVARIANT: By the safety requirement.
        Ok(Self(Arc::new(
            Link {
                dev: Atomic::new(dev),
                last_name: SetOnce::new(),
                napis: NapiSet::new()?,
            },
            GFP_KERNEL,
        )?))
    }

    /// Makes [`Handle::get`] return `None` from now on. Readers that already have the device may
    /// use it until a grace period has passed.
    pub(super) fn revoke(&self) {
        let guard = rcu::Guard::new();
        if let Some(dev) = self.get(&guard) {
            self.0.last_name.populate(dev.name());
        }
        // A reader that loads null sees `last_name`. Pairs with the load in `get()`.
        self.0.dev.store(ptr::null_mut(), Release);
    }

    /// The name of the device, or the last one that it had if it is gone. Any context.
    pub(crate) fn name(&self) -> Name {
        let guard = rcu::Guard::new();
        match self.get(&guard) {
            Some(dev) => dev.name(),
            None => self.0.last_name.copy().unwrap_or(Name::EMPTY),
        }
    }

    /// Whether the device still exists and is running: [`NetDevice::is_running`]. Any context.
    ///
    /// When [`stop`](super::Driver::stop) is called, every read-side critical section in which this
    /// returned true has ended.
    #[inline]
    pub(crate) fn is_running(&self, guard: &rcu::Guard) -> bool {
        self.get(guard).is_some_and(NetDevice::is_running)
    }

    /// The device's NAPIs.
    pub(super) fn napis(&self) -> &NapiSet {
        &self.0.napis
    }

    /// The device, if it still exists. Any context.
    #[inline]
    pub(crate) fn get<'g>(&self, _guard: &'g rcu::Guard) -> Option<&'g NetDevice> {
        // Pairs with the store in `revoke()`.
        let dev = self.0.dev.load(Acquire);
        if dev.is_null() {
            return None;
        }
        // SAFETY: By the type invariant the device is not freed before the read-side critical
        // section ends.
        Some(unsafe { NetDevice::from_raw(dev) })
    }

    /// `napi_schedule()`: has [`poll`](super::Driver::poll) called for the current CPU's NAPI.
    ///
    /// If the NAPI is already running, on any CPU, it runs once more afterwards. Does nothing if
    /// the device is not registered yet or is gone. The NAPI runs no later than when bottom halves
    /// are enabled again. Any context but a hard interrupt.
    #[inline]
    pub(crate) fn napi_schedule_local(&self, bh: &BhGuard) {
        self.0.napis.schedule(self.napi_index_local(bh));
    }

    /// The index of the current CPU's NAPI, which is the number of the CPU, below `nr_cpu_ids()`.
    #[inline]
    pub(crate) fn napi_index_local(&self, _bh: &BhGuard) -> u32 {
        // The task cannot be moved to another CPU while bottom halves are off.
        cpumask::current()
    }
}
