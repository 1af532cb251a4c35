// SPDX-License-Identifier: GPL-2.0

//! A stand-in for the parts of the `kernel` crate that the shared files use, under the same paths.
//!
//! It has what a test needs and no more: allocations do not fail, and sleeping is allowed
//! everywhere.

pub mod alloc;
pub mod error;
pub mod sync;
pub mod types;

pub use macros;

/// Constants of C headers.
pub mod bindings {
    /// Ticks a second.
    pub const CONFIG_HZ: u32 = 250;
}

/// Time.
pub mod time {
    /// A number of ticks, or a time in ticks since boot.
    pub type Jiffies = u64;

    /// A span of time.
    pub struct Delta(u64);

    impl Delta {
        /// A span of `millis` milliseconds.
        pub const fn from_millis(millis: u64) -> Self {
            Self(millis)
        }
    }

    /// Sleeping.
    pub mod delay {
        /// Sleeps for at least `delta`.
        pub fn fsleep(delta: super::Delta) {
            std::thread::sleep(std::time::Duration::from_millis(delta.0));
        }
    }
}

/// Work queues.
pub mod workqueue {
    use crate::alloc::{
        AllocError,
        Flags, //
    };

    /// A work queue that has a thread for each piece of work.
    pub struct Queue;

    impl Queue {
        /// Runs `work` in another thread.
        pub fn try_spawn<W: FnOnce() + Send + 'static>(
            &self,
            _flags: Flags,
            work: W,
        ) -> Result<(), AllocError> {
            std::thread::spawn(work);
            Ok(())
        }
    }

    /// The queue for work that takes long.
    pub fn system_unbound() -> &'static Queue {
        &Queue
    }
}

/// Names that almost every file uses.
pub mod prelude {
    pub use crate::{
        alloc::{
            flags::*,
            KBox,
            KVVec,
            KVec, //
        },
        error::{
            code::*,
            Error,
            Result, //
        },
        pr_err, //
    };
    pub use core::{
        ffi::c_void,
        pin::Pin, //
    };
    pub use macros::Zeroable;
    pub use pinned_init::{
        pin_data,
        pin_init,
        pinned_drop,
        try_pin_init,
        PinInit, //
    };
    pub use zerocopy::{
        FromBytes,
        IntoBytes, //
    };

    /// A type for which all zeros are a valid value.
    pub trait Zeroable {}
}

/// Prints to standard error, which `cargo test` shows if the test fails.
#[macro_export]
macro_rules! pr_err {
    ($($arg:tt)*) => { eprint!($($arg)*) };
}
