// SPDX-License-Identifier: GPL-2.0

//! The life of the module: what it owns while it is loaded, and what is waited for before its text
//! goes.
//!
//! A module implements [`Module`], and `module!` is given [`Ending`] of it. The `kernel` crate's
//! own traits are not to be implemented outside of this folder: with them a module is over when its
//! last field is dropped, while callbacks that this drop has handed to RCU are yet to run.
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

/// A module: what is done when it is loaded. Dropping the value undoes it.
pub(crate) trait Module: Send + Sync + Sized + 'static {
    /// Loads it. Process context.
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error>;
}

/// A module `M`, and after it the end of everything that `M` has left to RCU and to timers.
///
/// ```text
///   drop: M ──> no timer is left, no RCU callback is left ──> the text may go
/// ```
///
/// Loading that fails ends in the same way.
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
            // First, so that it is dropped after what there is of the module when loading fails.
            _end: End,
            module <- M::init(module),
        }? Error)
    }
}

/// Dropping this waits until no timer of the module exists and no RCU callback of it is left.
///
/// Both are bounded only if nothing goes on that makes new ones, which is so when a module is over.
/// A timer that is still armed is waited for: it keeps its object, and that the timer.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        /// Between two looks whether the timers are gone.
        const PAUSE: Delta = Delta::from_millis(10);

        loop {
            let timers = timer::any_exists();
            // For a timer's function that is about to return.
            rcu::synchronize_net();
            // After that, because the functions may have handed in callbacks; and those may drop
            // the last timers.
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

    /// A value that is dropped by one callback after the other, as many as it is deep.
    struct Nested(Option<RcuArc<Nested>>, Dropped);

    impl AtomicDrop for Nested {}

    /// An object that a timer keeps, and that leaves something to RCU when it goes.
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

    /// A module that leaves behind what its load was given.
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
                    timer <- new_timer!("wireguard::linux::module::tests"),
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

    /// Everything that a module leaves behind is dropped when its end returns: by callbacks one
    /// after the other, and by a timer that has yet to expire.
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
