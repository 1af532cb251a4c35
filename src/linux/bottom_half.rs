// SPDX-License-Identifier: GPL-2.0

//! Bottom halves (softirqs): keeping them off the current CPU for a while.
//!
//! C header: [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use core::mem::ManuallyDrop;
use kernel::types::NotThreadSafe;

use super::bindings;

/// Bottom halves are off on the current CPU for as long as this value lives.
///
/// As the task cannot be preempted by a softirq nor (without `CONFIG_PREEMPT_RT`) by another task in the
/// meantime, data of the current CPU that is shared with softirqs may be used. On `CONFIG_PREEMPT_RT` the task
/// is at least not moved to another CPU.
///
/// # Invariants
///
/// The value owns one level of `local_bh_disable()` of the task it was made in.
#[must_use = "bottom halves are enabled again when the guard is dropped"]
pub(crate) struct BhGuard {
    _not_send: NotThreadSafe,
}

/// `local_bh_disable()`: keeps bottom halves off the current CPU until the guard is dropped.
///
/// Process or softirq context; calls nest, and guards may be dropped in any order. In hard interrupt context,
/// or with interrupts off, dropping the guard is a warning in the log.
#[inline]
pub(crate) fn disable() -> BhGuard {
    // SAFETY: It only counts up for the current task.
    unsafe { bindings::local_bh_disable() };
    // INVARIANT: The level just added belongs to the new value.
    BhGuard {
        _not_send: NotThreadSafe,
    }
}

impl BhGuard {
    /// Calls `f` with a guard where bottom halves are off already: nothing is counted.
    ///
    /// # Safety
    ///
    /// To be called in softirq context, or with bottom halves off.
    #[inline]
    pub(super) unsafe fn already<T>(f: impl FnOnce(&BhGuard) -> T) -> T {
        // INVARIANT: The value is never dropped, so it needs no level of its own; by the safety
        // requirement there is one, or a softirq runs, which others wait for as they do for that.
        let guard = ManuallyDrop::new(BhGuard {
            _not_send: NotThreadSafe,
        });
        f(&guard)
    }
}

impl Drop for BhGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a level to give back; the value is not `Send`, so this is the
        // task that owns it.
        unsafe { bindings::local_bh_enable() };
    }
}
