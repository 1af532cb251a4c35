// SPDX-License-Identifier: GPL-2.0

//! The scheduler.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use super::bindings;

/// `cond_resched()`: lets another task run if one should. Process context.
#[inline]
pub(crate) fn cond_resched() {
    // SAFETY: No memory is touched; a caller that may not sleep gets a report from the kernel.
    unsafe { bindings::helper_cond_resched() };
}
