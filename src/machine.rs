// SPDX-License-Identifier: GPL-2.0

//! The two things that happen to a machine as a whole, and that no session may outlive: it is
//! copied, or it sleeps.
//!
//! A virtual machine that is copied goes on as two with the same keys and counters. An [`Era`]
//! lasts from one copy to the next: a key is used to send only in the era in which it was made. The
//! next era begins with one addition, so that keys expire before anything has to be waited for.
//!
//! An image of the memory that is written to disk would have the keys and counters of that moment.
//! So all keys are forgotten before, and no session begins from before that ([`begins_to_sleep`])
//! until the machine is awake again ([`wakes_up`]): the image has none.

use kernel::sync::atomic::{
    ordering::{
        Acquire,
        Full,
        Relaxed, //
    },
    Atomic, //
};

use crate::linux::notifier::Sleep;

/// The number of the present era. It only goes up.
static ERA: Atomic<i64> = Atomic::new(0);

/// Whether the machine is on its way to sleep or back, for each kind of sleep.
static SUSPENDED: Atomic<bool> = Atomic::new(false);
static HIBERNATED: Atomic<bool> = Atomic::new(false);

/// A time in which no other machine has the same contents of its memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(i64);

impl Era {
    /// The present era. Only this machine has the random numbers that are drawn afterwards.
    pub(crate) fn now() -> Self {
        Self(ERA.load(Acquire))
    }

    /// Whether the era still lasts.
    #[inline]
    pub(crate) fn lasts(self) -> bool {
        self.0 == ERA.load(Relaxed)
    }
}

/// Begins another era: this machine is a copy, or was copied. Any context.
pub(crate) fn was_copied() {
    ERA.fetch_add(1, Full);
}

fn asleep(sleep: Sleep) -> &'static Atomic<bool> {
    match sleep {
        Sleep::Suspend => &SUSPENDED,
        Sleep::Hibernation => &HIBERNATED,
    }
}

/// Refuses sessions from now on, until [`wakes_up`].
///
/// No barrier is needed: the caller then takes the lock of each handshake, and a thread that holds
/// such a lock after the caller sees the change in [`is_awake`].
pub(crate) fn begins_to_sleep(sleep: Sleep) {
    asleep(sleep).store(true, Relaxed);
}

/// Takes back a call of [`begins_to_sleep`].
pub(crate) fn wakes_up(sleep: Sleep) {
    asleep(sleep).store(false, Relaxed);
}

/// Whether sessions may begin.
pub(crate) fn is_awake() -> bool {
    !SUSPENDED.load(Relaxed) && !HIBERNATED.load(Relaxed)
}
