// SPDX-License-Identifier: GPL-2.0

//! Memory barriers, in the same form for every kernel series.
//!
//! C header: [`include/asm-generic/barrier.h`](srctree/include/asm-generic/barrier.h)

use super::bindings;

/// `smp_mb()`: orders all earlier loads and stores before all later ones, on every CPU. Any
/// context.
#[inline]
pub(crate) fn smp_mb() {
    // SAFETY: The barrier takes no argument and accesses no memory.
    unsafe { bindings::helper_smp_mb() };
}
