// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, in the same form for every kernel series.
//!
//! C header: [`include/asm-generic/barrier.h`](srctree/include/asm-generic/barrier.h)

use super::bindings;

/// `smp_mb()`: what comes before, loads and stores, is before what comes after, on all CPUs. Any context.
#[inline]
pub(crate) fn smp_mb() {
    // SAFETY: A barrier touches no memory.
    unsafe { bindings::helper_smp_mb() };
}
