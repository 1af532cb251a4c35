// SPDX-License-Identifier: GPL-2.0

//! Bottom halves (softirqs): disabling them on the current CPU.
//!
//! C header: [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use core::mem::ManuallyDrop;
use kernel::types::NotThreadSafe;

use super::bindings;

/// Bottom halves are off on the current CPU for as long as this value lives.
///
/// No softirq and, without `CONFIG_PREEMPT_RT`, no other task preempts the current task meanwhile,
/// so it may use per-CPU data that it shares with softirqs. With `CONFIG_PREEMPT_RT` the task at
/// least stays on its CPU.
///
/// # Invariants
///
/// The value owns one level of `local_bh_disable()` of the task that made it.
#[must_use = "bottom halves are enabled again when the guard is dropped"]
pub(crate) struct BhGuard {
    _not_send: NotThreadSafe,
}

/// `local_bh_disable()`: keeps bottom halves off the current CPU until the guard is dropped.
///
/// Process or softirq context. Calls nest, and guards may be dropped in any order. Dropping a guard
/// in hard interrupt context or with interrupts off makes the kernel log a warning.
#[inline]
pub(crate) fn disable() -> BhGuard {
    // SAFETY: The call only raises a count of the current task.
    unsafe { bindings::local_bh_disable() };
    // INVARIANT: The new value owns the level just added.
    BhGuard {
        _not_send: NotThreadSafe,
    }
}

impl BhGuard {
    /// Calls `f` with a guard where bottom halves are off already, without counting a level.
    ///
    /// # Safety
    ///
    /// To be called in softirq context, or with bottom halves off.
    #[inline]
    pub(super) unsafe fn already<T>(f: impl FnOnce(&BhGuard) -> T) -> T {
        // INVARIANT: The value is never dropped, so it gives no level back. By the safety
        // requirement bottom halves are off by another level, or the caller runs in a softirq,
        // which no other softirq preempts on this CPU.
        let guard = ManuallyDrop::new(BhGuard {
            _not_send: NotThreadSafe,
        });
        f(&guard)
    }
}

impl Drop for BhGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant the value owns a level. It is not `Send`, so the current
        // task is the one that has this level.
        unsafe { bindings::local_bh_enable() };
    }
}
