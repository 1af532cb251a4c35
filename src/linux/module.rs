// SPDX-License-Identifier: GPL-2.0

//! The life of a module: its state while it is loaded, and the wait for its timers and RCU
//! callbacks before its text is freed.
//!
//! A module implements [`Module`] and passes [`Ending`] of it to `module!`. The `kernel` crate's
//! own traits must not be implemented outside of this folder: with them the module is unloaded when
//! its last field has been dropped, while RCU callbacks that this drop has queued are yet to run.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
    InPlaceModule, //
};

use super::{
    rcu,
    timer, //
};

/// The state of a loaded module. Dropping the value undoes [`Module::init`].
pub(crate) trait Module: Send + Sync + Sized + 'static {
    /// Loads the module. Process context.
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error>;
}

/// A module `M`, followed by the wait for every timer and RCU callback that `M` leaves behind.
///
/// ```text
///   drop: M ──> no timer is left, no RCU callback is left ──> the text may go
/// ```
///
/// A load that fails ends in the same way.
#[pin_data]
pub(crate) struct Ending<M: Module> {
    // Fields are dropped in this order.
    #[pin]
    module: M,
    _end: End,
}

impl<M: Module> InPlaceModule for Ending<M> {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Initialised first: if loading fails, it is dropped after the part of the module that
            // was initialised.
            _end: End,
            module <- M::init(module),
        }? Error)
    }
}

/// Dropping this value waits until the module has no timer and no RCU callback left.
///
/// The wait is bounded only if nothing makes new timers or callbacks. That holds once the module
/// has been dropped. The wait includes timers that are still armed: an armed timer keeps its object
/// alive, and the object contains the timer.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        /// Time between two checks whether timers exist.
        const PAUSE: Delta = Delta::from_millis(10);

        loop {
            let timers = timer::any_exists();
            // Wait for timer functions that are about to return.
            rcu::synchronize_net();
            // Drain after that, because the timer functions may have queued callbacks. The
            // callbacks in turn may drop the last timers.
            rcu::drain();
            if !timers {
                break;
            }
            fsleep(PAUSE);
        }
    }
}

#[kernel::macros::kunit_tests(rust_module_end)]
mod tests {
    use super::*;
    use crate::linux::{
        rcu::{
            AtomicDrop,
            RcuArc, //
        },
        timer::{
            new_timer,
            Timer,
            TimerCallback, //
        }, //
    };
    use kernel::sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        Arc, //
    };

    /// Counts how many values have been dropped.
    struct Dropped(Arc<Atomic<u32>>);

    impl AtomicDrop for Dropped {}

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Full);
        }
    }

    /// A value whose drop takes as many RCU callbacks, one after the other, as it has levels.
    #[expect(dead_code, reason = "held for what their drop does")]
    struct Nested(Option<RcuArc<Nested>>, Dropped);

    impl AtomicDrop for Nested {}

    /// An object that a timer keeps alive, and whose drop queues an RCU callback.
    #[pin_data]
    struct Late {
        #[pin]
        timer: Timer<Late, 0>,
        left: RcuArc<Dropped>,
    }

    impl AtomicDrop for Late {}

    impl TimerCallback<0> for Late {
        fn timer(&self) -> &Timer<Self, 0> {
            &self.timer
        }

        fn expired(_this: Arc<Self>) {}
    }

    /// A module whose drop leaves a chain of RCU callbacks and an armed timer behind.
    #[expect(dead_code, reason = "held for what their drop does")]
    struct Leaving(Option<RcuArc<Nested>>, Arc<Late>);

    impl Leaving {
        fn new(dropped: &Arc<Atomic<u32>>) -> Result<Self> {
            let mut nested = None;
            for _ in 0..3 {
                nested = Some(RcuArc::new(
                    Nested(nested.take(), Dropped(dropped.clone())),
                    GFP_KERNEL,
                )?);
            }
            let left = RcuArc::new(Dropped(dropped.clone()), GFP_KERNEL)?;
            let late = Arc::pin_init(
                pin_init!(Late {
                    timer <- new_timer!("linux::module::tests"),
                    left,
                }),
                GFP_KERNEL,
            )?;
            timer::modify::<_, 0>(late.as_arc_borrow(), kernel::time::msecs_to_jiffies(50));
            Ok(Self(nested, late))
        }
    }

    impl Module for Leaving {
        fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
            Err::<Self, _>(ENODEV)
        }
    }

    /// When the drop of [`Ending`] returns, everything that the module left behind has been
    /// dropped: by a chain of callbacks, and by a timer that had yet to expire.
    #[test]
    fn the_end_waits_for_all_that_is_left() -> Result {
        let dropped = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
        let ending = Ending {
            module: Leaving::new(&dropped)?,
            _end: End,
        };
        assert_eq!(dropped.load(Acquire), 0);
        drop(ending);
        assert_eq!(dropped.load(Acquire), 4);
        Ok(())
    }
}
