// SPDX-License-Identifier: GPL-2.0

//! Notifications that the system is about to sleep, has woken up, or was duplicated.
//!
//! C headers: [`include/linux/notifier.h`](srctree/include/linux/notifier.h),
//! [`include/linux/suspend.h`](srctree/include/linux/suspend.h),
//! [`include/linux/random.h`](srctree/include/linux/random.h)

use core::marker::PhantomData;
use kernel::prelude::*;

use super::{
    bindings,
    registration::{
        Register,
        Registration, //
    }, //
};

/// Whether the kernel is built for a system that suspends routinely (`CONFIG_PM_AUTOSLEEP`,
/// `CONFIG_PM_USERSPACE_AUTOSLEEP`).
pub(crate) const AUTOSLEEP: bool = cfg!(any(CONFIG_PM_AUTOSLEEP, CONFIG_PM_USERSPACE_AUTOSLEEP));

/// The kind of sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Suspend: the memory keeps its contents.
    Suspend,
    /// Hibernation: an image of the memory is written to disk while the system runs, and restored
    /// later.
    Hibernation,
}

/// Callbacks for power management events.
pub(crate) trait PmEvents: 'static {
    /// The system is about to sleep (`PM_SUSPEND_PREPARE`, `PM_HIBERNATION_PREPARE`).
    ///
    /// Process context, may sleep. User space still runs.
    fn prepare(sleep: Sleep);

    /// The system is awake again, or did not go to sleep after all (`PM_POST_SUSPEND`,
    /// `PM_POST_HIBERNATION`).
    ///
    /// Process context, may sleep. If the registration was made in between, no
    /// [`PmEvents::prepare`] has come before.
    fn finished(sleep: Sleep);
}

/// Callback for the duplication of a virtual machine.
pub(crate) trait VmForkEvents: 'static {
    /// This virtual machine was resumed from a snapshot or cloned: another one may have the same
    /// contents in its memory. The random number generator has already been reseeded.
    ///
    /// Process context, may sleep.
    fn forked();
}

/// A registration of `T` with `register_pm_notifier()`, until it is dropped. Process context, for
/// dropping the value too: the drop waits for a running callback.
pub(crate) type PmNotifier<T> = Registration<Pm<T>>;

/// The kind of registration of a [`PmNotifier`].
pub(crate) struct Pm<T>(PhantomData<T>);

// SAFETY: The chain's lock makes unregistering wait for running callbacks, and registering fails
// before it adds the block to the chain.
unsafe impl<T: PmEvents> Register for Pm<T> {
    type Raw = bindings::notifier_block;

    fn raw() -> bindings::notifier_block {
        bindings::notifier_block {
            notifier_call: Some(Self::notify),
            ..Default::default()
        }
    }

    unsafe fn register(raw: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { bindings::register_pm_notifier(raw) }
    }

    unsafe fn unregister(raw: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirement. The only error is for a block that is not registered.
        unsafe { bindings::unregister_pm_notifier(raw) };
    }
}

impl<T: PmEvents> Pm<T> {
    /// # Safety
    ///
    /// None; `unsafe` is part of the type that C expects.
    unsafe extern "C" fn notify(
        _block: *mut bindings::notifier_block,
        action: c_ulong,
        _data: *mut c_void,
    ) -> c_int {
        match action as u32 {
            bindings::PM_SUSPEND_PREPARE => T::prepare(Sleep::Suspend),
            bindings::PM_HIBERNATION_PREPARE => T::prepare(Sleep::Hibernation),
            bindings::PM_POST_SUSPEND => T::finished(Sleep::Suspend),
            bindings::PM_POST_HIBERNATION => T::finished(Sleep::Hibernation),
            _ => {}
        }
        bindings::NOTIFY_DONE as c_int
    }
}

/// A registration of `T` with `register_random_vmfork_notifier()`, until it is dropped. Process
/// context, for dropping the value too: the drop waits for a running callback.
pub(crate) type VmForkNotifier<T> = Registration<VmFork<T>>;

/// The kind of registration of a [`VmForkNotifier`].
pub(crate) struct VmFork<T>(PhantomData<T>);

// SAFETY: The chain's lock makes unregistering wait for running callbacks, and registering fails
// before it adds the block to the chain.
unsafe impl<T: VmForkEvents> Register for VmFork<T> {
    type Raw = bindings::notifier_block;

    fn raw() -> bindings::notifier_block {
        bindings::notifier_block {
            notifier_call: Some(Self::notify),
            ..Default::default()
        }
    }

    unsafe fn register(raw: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { bindings::register_random_vmfork_notifier(raw) }
    }

    unsafe fn unregister(raw: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirement. The only error is for a block that is not registered.
        unsafe { bindings::unregister_random_vmfork_notifier(raw) };
    }
}

impl<T: VmForkEvents> VmFork<T> {
    /// # Safety
    ///
    /// None; `unsafe` is part of the type that C expects.
    unsafe extern "C" fn notify(
        _block: *mut bindings::notifier_block,
        _action: c_ulong,
        _data: *mut c_void,
    ) -> c_int {
        T::forked();
        bindings::NOTIFY_DONE as c_int
    }
}
