// SPDX-License-Identifier: GPL-2.0

//! Notifications that the system is about to sleep, has woken up, or was duplicated.
//!
//! C headers: [`include/linux/notifier.h`](srctree/include/linux/notifier.h),
//! [`include/linux/suspend.h`](srctree/include/linux/suspend.h),
//! [`include/linux/random.h`](srctree/include/linux/random.h)

use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

use super::bindings;

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

/// A registration with `register_pm_notifier()`, until it is dropped.
///
/// # Invariants
///
/// `block` is registered from the end of the initialisation until the value is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct PmNotifier<T: PmEvents> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _p: PhantomData<fn(T)>,
}

// SAFETY: The only operation on the value is the drop, which any thread may do.
unsafe impl<T: PmEvents> Send for PmNotifier<T> {}
// SAFETY: As above.
unsafe impl<T: PmEvents> Sync for PmNotifier<T> {}

impl<T: PmEvents> PmNotifier<T> {
    /// Registers `T`. Process context, for dropping the value too: the drop waits for a running
    /// callback.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- init_block(Self::notify, |block| {
                // SAFETY: The block is initialised, is pinned, and is unregistered before it is
                // freed.
                unsafe { bindings::register_pm_notifier(block) }
            }),
            _p: PhantomData,
        }? Error)
    }

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

#[pinned_drop]
impl<T: PmEvents> PinnedDrop for PmNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the block is registered. The chain's lock makes this wait
        // for running callbacks. The only error is for a block that is not registered.
        unsafe { bindings::unregister_pm_notifier(self.block.get()) };
    }
}

/// A registration with `register_random_vmfork_notifier()`, until it is dropped.
///
/// # Invariants
///
/// `block` is registered from the end of the initialisation until the value is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct VmForkNotifier<T: VmForkEvents> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _p: PhantomData<fn(T)>,
}

// SAFETY: The only operation on the value is the drop, which any thread may do.
unsafe impl<T: VmForkEvents> Send for VmForkNotifier<T> {}
// SAFETY: As above.
unsafe impl<T: VmForkEvents> Sync for VmForkNotifier<T> {}

impl<T: VmForkEvents> VmForkNotifier<T> {
    /// Registers `T`. Process context, for dropping the value too: the drop waits for a running
    /// callback.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            block <- init_block(Self::notify, |block| {
                // SAFETY: The block is initialised, is pinned, and is unregistered before it is
                // freed.
                unsafe { bindings::register_random_vmfork_notifier(block) }
            }),
            _p: PhantomData,
        }? Error)
    }

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

#[pinned_drop]
impl<T: VmForkEvents> PinnedDrop for VmForkNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the block is registered. The chain's lock makes this wait
        // for running callbacks. The only error is for a block that is not registered.
        unsafe { bindings::unregister_random_vmfork_notifier(self.block.get()) };
    }
}

/// Initialises a block with the function `notify` and registers it with `register`, which returns
/// zero or a negative error number.
fn init_block(
    notify: unsafe extern "C" fn(*mut bindings::notifier_block, c_ulong, *mut c_void) -> c_int,
    register: impl FnOnce(*mut bindings::notifier_block) -> c_int,
) -> impl PinInit<Opaque<bindings::notifier_block>, Error> {
    Opaque::try_ffi_init(move |slot: *mut bindings::notifier_block| {
        let block = bindings::notifier_block {
            notifier_call: Some(notify),
            ..Default::default()
        };
        // SAFETY: The slot is valid for writing.
        unsafe { slot.write(block) };
        to_result(register(slot))
    })
}
