// SPDX-License-Identifier: GPL-2.0

//! Which CPUs there are.
//!
//! Every function may be called from any context. CPUs go online and offline at any time, so what is said about it
//! may be outdated by the time it is used.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpu::CpuId;

use super::bindings;

/// `nr_cpu_ids`: one more than the highest id a CPU can have. Constant once the kernel runs.
pub(crate) fn nr_cpu_ids() -> u32 {
    kernel::cpu::nr_cpu_ids()
}

/// The CPU this runs on; by the time it is used another, unless the caller cannot be moved.
#[inline]
pub(crate) fn current() -> u32 {
    CpuId::current().as_u32()
}

/// `cpu_online()`: whether `cpu` is an online CPU. Any number may be asked for.
#[inline]
pub(crate) fn is_online(cpu: u32) -> bool {
    // SAFETY: The id is below `nr_cpu_ids`, and so within the mask.
    cpu < nr_cpu_ids() && unsafe { bindings::cpu_online(cpu) }
}

/// `cpu_possible()`: whether `cpu` may ever be an online CPU. Any number may be asked for.
#[inline]
pub(crate) fn is_possible(cpu: u32) -> bool {
    // SAFETY: The id is below `nr_cpu_ids`, and so within the mask.
    cpu < nr_cpu_ids() && unsafe { bindings::cpu_possible(cpu) }
}

/// The ids of the possible CPUs, in order: for what is kept for each CPU.
pub(crate) fn possible() -> impl Iterator<Item = u32> {
    (0..nr_cpu_ids()).filter(|&cpu| is_possible(cpu))
}

/// An online CPU for the number `n`: numbers in a row are spread evenly over the CPUs that are
/// online now.
#[inline]
pub(crate) fn nth_online(n: u32) -> u32 {
    // SAFETY: Any number may be passed.
    unsafe { bindings::helper_cpumask_nth_online(n) }
}

/// The next online CPU after `cpu`, which may be any number; after the last one comes the first.
#[inline]
pub(crate) fn next_online_after(cpu: u32) -> u32 {
    // SAFETY: Any number may be passed.
    unsafe { bindings::helper_cpumask_next_online(cpu) }
}
