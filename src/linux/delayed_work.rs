// SPDX-License-Identifier: GPL-2.0

//! Work that is done again and again, and that ends with its owner.
//!
//! The `kernel` crate's delayed work keeps itself alive while it is queued and cannot be cancelled. A module that
//! can be unloaded needs the opposite: once [`PeriodicWork`] is dropped, its function neither runs nor is going to.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::{
    mem::offset_of,
    ops::Deref,
    pin::Pin, //
};
use kernel::{
    bindings::work_struct,
    prelude::*,
    time::Jiffies,
    types::Opaque, //
};

use super::bindings;

/// What [`PeriodicWork`] does.
pub(crate) trait Periodic: Send + Sync + 'static {
    /// The time from the end of one call to the beginning of the next.
    const PERIOD: Jiffies;

    /// Called again and again. Process context; may sleep.
    fn run(&self);
}

/// An object whose [`Periodic::run`] is called as long as it lives.
///
/// The calls are made from the system's power efficient work queue, and an idle CPU is not woken up for them.
///
/// # Invariants
///
/// * `work` is an initialised `struct delayed_work` whose function is [`Self::call`].
/// * It is queued by nobody but `new()` and that function, and not after it has been disabled in `drop()`.
#[pin_data(PinnedDrop)]
pub(crate) struct PeriodicWork<T: Periodic> {
    #[pin]
    object: T,
    #[pin]
    work: Opaque<bindings::delayed_work>,
}

// SAFETY: The object is `Send` and `Sync`, and a `struct delayed_work` may be used from any thread.
unsafe impl<T: Periodic> Send for PeriodicWork<T> {}
// SAFETY: As above.
unsafe impl<T: Periodic> Sync for PeriodicWork<T> {}

impl<T: Periodic> PeriodicWork<T> {
    /// Initialises the object and queues its first call, one period from now.
    ///
    /// Process context, as is dropping it.
    pub(crate) fn new<E>(object: impl PinInit<T, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            object <- object,
            // The last field: what can fail comes before it, and the object is there when the work is queued.
            work <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is memory for a `struct delayed_work` that does not move once initialised.
                unsafe { bindings::helper_init_deferrable_work(slot, Some(Self::call)) };
                // SAFETY: It has just been initialised. All of `Self` is, and stays where it is until the work is
                // disabled in `drop()`.
                unsafe { bindings::helper_queue_periodic_work(slot, T::PERIOD) };
            }),
        }? Error)
    }

    /// The work's function.
    ///
    /// # Safety
    ///
    /// `work` is the `work_struct` in the `work` field of a `PeriodicWork<T>` that is not dropped before this function
    /// has returned.
    unsafe extern "C" fn call(work: *mut work_struct) {
        // What they lie in, one in the other. An `Opaque` is laid out as what is in it.
        let delayed: *mut bindings::delayed_work = work
            .wrapping_byte_sub(offset_of!(bindings::delayed_work, work))
            .cast();
        let this: *const Self = delayed
            .wrapping_byte_sub(offset_of!(Self, work))
            .cast_const()
            .cast();
        // SAFETY: By the safety requirement `work` is where it has to be for this to be a `PeriodicWork<T>`, which is not
        // dropped meanwhile. The object is initialised before the work is queued.
        let object = unsafe { &(*this).object };
        object.run();
        // SAFETY: The work is initialised, and queueing it is a no-op once it is disabled.
        unsafe { bindings::helper_queue_periodic_work(delayed, T::PERIOD) };
    }
}

impl<T: Periodic> Deref for PeriodicWork<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

#[pinned_drop]
impl<T: Periodic> PinnedDrop for PeriodicWork<T> {
    fn drop(self: Pin<&mut Self>) {
        // Waits for a call that is running, and lets no other begin.
        // SAFETY: By the type invariant the work is initialised.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}
