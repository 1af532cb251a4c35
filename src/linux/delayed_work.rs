// SPDX-License-Identifier: GPL-2.0

//! Periodic work that ends with its owner.
//!
//! The `kernel` crate's delayed work keeps itself alive while it is queued and cannot be cancelled.
//! A module that can be unloaded needs the opposite: once a [`PeriodicWork`] is dropped, its
//! function does not run and never will.
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

/// The function of a [`PeriodicWork`] and its period.
pub(crate) trait Periodic: Send + Sync + 'static {
    /// The time from the end of one call to the beginning of the next.
    const PERIOD: Jiffies;

    /// Called once per period. Process context; may sleep.
    fn run(&self);
}

/// An object whose [`Periodic::run`] is called periodically for as long as the object lives.
///
/// The calls are made from the system's power efficient work queue. They do not wake an idle CPU.
///
/// # Invariants
///
/// * `work` is an initialised `struct delayed_work` whose function is [`Self::call`].
/// * Only `new()` and [`Self::call`] queue it, and never after `drop()` has disabled it.
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
    /// Process context, for dropping the object too.
    pub(crate) fn new<E>(object: impl PinInit<T, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            object <- object,
            // The last field: the work is queued only after everything that can fail, and after the
            // object is initialised.
            work <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                // SAFETY: `slot` is memory for a `struct delayed_work` that does not move once
                // initialised.
                unsafe { bindings::helper_init_deferrable_work(slot, Some(Self::call)) };
                // SAFETY: The work has just been initialised, so all of `Self` is. `Self` is
                // pinned, so it stays in place until `drop()` disables the work.
                unsafe { bindings::helper_queue_periodic_work(slot, T::PERIOD) };
            }),
        }? Error)
    }

    /// The work's function.
    ///
    /// # Safety
    ///
    /// `work` is the `work_struct` in the `work` field of a `PeriodicWork<T>` that is not dropped
    /// before this function has returned.
    unsafe extern "C" fn call(work: *mut work_struct) {
        // From the `work_struct` to the `delayed_work` around it, and from there to `Self`. An
        // `Opaque` has the layout of its content.
        let delayed: *mut bindings::delayed_work = work
            .wrapping_byte_sub(offset_of!(bindings::delayed_work, work))
            .cast();
        let this: *const Self = delayed
            .wrapping_byte_sub(offset_of!(Self, work))
            .cast_const()
            .cast();
        // SAFETY: By the safety requirement `work` lies in a `PeriodicWork<T>`, so `this` points to
        // that value, which is not dropped before this function returns. The object was initialised
        // before the work was queued.
        let object = unsafe { &(*this).object };
        object.run();
        // SAFETY: The work is initialised. Queueing it is a no-op once it is disabled.
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
        // Waits for a running call and prevents further ones.
        // SAFETY: By the type invariant the work is initialised.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }
}

#[kernel::macros::kunit_tests(rust_delayed_work)]
mod tests {
    use super::*;
    use kernel::sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Completion, //
    };

    #[pin_data]
    struct Three {
        calls: Atomic<u32>,
        #[pin]
        done: Completion,
    }

    impl Periodic for Three {
        const PERIOD: Jiffies = 1;

        fn run(&self) {
            if self.calls.fetch_add(1, Relaxed) == 2 {
                self.done.complete_all();
            }
        }
    }

    #[test]
    fn the_function_is_called_again_and_again() -> Result {
        let three = KBox::pin_init(
            PeriodicWork::new(pin_init!(Three {
                calls: Atomic::new(0),
                done <- Completion::new(),
            })),
            GFP_KERNEL,
        )?;
        three.done.wait_for_completion();
        Ok(())
    }
}
