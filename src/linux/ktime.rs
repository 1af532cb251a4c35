// SPDX-License-Identifier: GPL-2.0

//! Clock readings and jiffies.
//!
//! Every function may be called from any context.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
//! [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use kernel::bindings::CONFIG_HZ;

use super::bindings;

pub(crate) use kernel::time::Jiffies;

/// Jiffies per second.
// Not `bindings::HZ`, which is the user interface's (`USER_HZ`).
pub(crate) const HZ: Jiffies = CONFIG_HZ as Jiffies;

/// `ktime_get_coarse_boottime_ns()`: nanoseconds since boot, time in suspend included, as of the
/// last tick.
#[inline]
pub(crate) fn coarse_boottime_ns() -> u64 {
    // SAFETY: The function takes no argument and may be called in any context.
    unsafe { bindings::ktime_get_coarse_boottime_ns() }
}

/// `ktime_get()`: nanoseconds since boot, time in suspend not included.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    // SAFETY: The function takes no argument and may be called in any context but from an NMI, in
    // which no code of a module runs.
    unsafe { bindings::ktime_get() as u64 }
}

/// `ktime_get_real_ns()`: nanoseconds since 1970, by the wall clock.
#[inline]
pub(crate) fn real_ns() -> i64 {
    // SAFETY: As above.
    unsafe { bindings::ktime_get_real() }
}

/// `ktime_get_real_ts64()`: the wall clock as seconds since 1970 and nanoseconds (0 to
/// 999,999,999).
pub(crate) fn real() -> (i64, u32) {
    let mut now = bindings::timespec64::default();
    // SAFETY: `now` is valid for writes.
    unsafe { bindings::ktime_get_real_ts64(&mut now) };
    (now.tv_sec, now.tv_nsec as u32)
}

/// `jiffies`: ticks since shortly before boot. It wraps around.
#[inline]
pub(crate) fn jiffies() -> Jiffies {
    let jiffies = &raw const bindings::jiffies;
    // SAFETY: The variable is valid for reads, and C writes it with single stores.
    unsafe { jiffies.read_volatile() }
}
