// SPDX-License-Identifier: GPL-2.0

//! What happens to the machine as a whole and that no session may outlive: it is copied, or it
//! sleeps.
//!
//! A virtual machine that is copied goes on as two with the same keys and counters. An [`Era`]
//! lasts from one copy to the next: a key is used to send only in the era in which it was made. The
//! next era begins with one addition, so that keys expire before anything is waited for.
//!
//! An image of the memory that is written to disk has the keys and counters of when it was made. So
//! no session begins from before the keys are forgotten ([`begins_to_sleep`]) until the machine is
//! awake again ([`wakes_up`]), and none is in the image.

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

/// Whether the machine is on its way to sleep or back, in each of the ways.
static SUSPENDED: Atomic<bool> = Atomic::new(false);
static HIBERNATED: Atomic<bool> = Atomic::new(false);

/// The time in which there is only one machine with what is in its memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(i64);

impl Era {
    /// The present one. What is drawn at random afterwards, only this machine has.
    pub(crate) fn now() -> Self {
        Self(ERA.load(Acquire))
    }

    /// Whether it lasts.
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
/// A holder of a handshake's lock sees it in [`is_awake`] if the caller of this function has had
/// that lock before.
pub(crate) fn begins_to_sleep(sleep: Sleep) {
    asleep(sleep).store(true, Relaxed);
}

/// Takes back one [`begins_to_sleep`].
pub(crate) fn wakes_up(sleep: Sleep) {
    asleep(sleep).store(false, Relaxed);
}

/// Whether sessions may begin.
pub(crate) fn is_awake() -> bool {
    !SUSPENDED.load(Relaxed) && !HIBERNATED.load(Relaxed)
}
