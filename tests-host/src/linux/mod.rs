// SPDX-License-Identifier: GPL-2.0

//! The parts of the module's `linux` that the shared files use.

use kernel::prelude::*;

pub(crate) mod bindings;
#[forbid(unsafe_code)]
pub(crate) mod rhashtable;

/// The module's own files.
#[path = "../../../src/linux"]
mod files {
    use super::{
        bindings,
        compat, //
    };

    pub(crate) mod crypto;
    pub(crate) mod engine {
        pub(crate) mod aead;
    }
    pub(crate) mod random;
    pub(crate) mod rcu;
    pub(crate) mod wipe;
}

pub(crate) use files::{
    crypto,
    engine,
    random,
    rcu, //
};

/// [`engine::aead::chacha20poly1305_open_from`] for a `src` that begins with a block in front of
/// the text. As a shared slice, it does not change meanwhile.
pub(crate) fn open_from(dst: &mut [u8], src: &[u8], nonce: u64, key: &[u8; 32]) -> Result {
    assert!(dst.len() == src.len() && src.len() >= crypto::CHACHA_BLOCK_SIZE);
    let text = src.as_ptr().wrapping_add(crypto::CHACHA_BLOCK_SIZE);
    // SAFETY: `src` has a block in front of `text`, as asserted, and is as long as `dst`. So `text`
    // is valid for as many bytes as `dst` has behind its own block. As a shared slice, `src` is not
    // written to and does not overlap `dst`.
    unsafe { engine::aead::chacha20poly1305_open_from(dst, text, nonce, key) }
}

/// What the newest series of the kernel has.
pub(crate) mod compat {
    pub(crate) use super::bindings::rcu_gp_seq;
    pub(crate) use kernel::{
        error::code,
        sync::rcu::rcu_barrier, //
    };
    use pin_init::PinInit;

    /// Initialises the place `slot`.
    ///
    /// # Safety
    ///
    /// `slot` must be valid for writes, and must not move until its contents are dropped. If this
    /// fails, it holds nothing.
    pub(crate) unsafe fn raw_try_init<T, E>(
        slot: *mut T,
        init: impl PinInit<T, E>,
    ) -> Result<(), E> {
        // SAFETY: By the safety requirement.
        unsafe { init.__pinned_init(slot) }
    }
}

/// Scheduling.
pub(crate) mod sched {
    /// Lets other threads run.
    pub(crate) fn cond_resched() {
        std::thread::yield_now();
    }
}

/// Clocks.
pub(crate) mod ktime {
    /// Nanoseconds since an hour before the first call.
    pub(crate) fn coarse_boottime_ns() -> u64 {
        static BOOT: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let uptime = BOOT.get_or_init(std::time::Instant::now).elapsed();
        3_600_000_000_000 + uptime.as_nanos() as u64
    }
}

/// Memory of the machine.
pub(crate) mod mm {
    /// 4 GiB.
    pub(crate) fn totalram_bytes() -> u64 {
        4 << 30
    }
}

/// Work that is done periodically.
pub(crate) mod delayed_work {
    use core::ops::Deref;
    use kernel::{
        prelude::*,
        time::Jiffies, //
    };

    /// The work of a [`PeriodicWork`].
    pub(crate) trait Periodic: Send + Sync + 'static {
        /// The time between two calls, in ticks.
        const PERIOD: Jiffies;

        /// Does the work once.
        fn run(&self);
    }

    /// An object with periodic work. Here only a test calls [`Periodic::run`].
    #[pin_data]
    pub(crate) struct PeriodicWork<T: Periodic> {
        #[pin]
        object: T,
    }

    impl<T: Periodic> PeriodicWork<T> {
        /// Initialises the object.
        pub(crate) fn new<E>(object: impl PinInit<T, E>) -> impl PinInit<Self, Error>
        where
            Error: From<E>,
        {
            try_pin_init!(Self { object <- object }? Error)
        }
    }

    impl<T: Periodic> Deref for PeriodicWork<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.object
        }
    }
}
