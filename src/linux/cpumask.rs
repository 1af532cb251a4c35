// SPDX-License-Identifier: GPL-2.0

//! The possible, online and current CPUs.
//!
//! Every function may be called from any context. CPUs go online and offline at any time, so an
//! answer may be outdated when the caller uses it.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpu::{
    nr_cpu_ids,
    CpuId, //
};

use super::bindings;

/// The CPU that the caller runs on. The answer may be outdated when it is used, unless the caller
/// cannot be migrated.
#[inline]
pub(crate) fn current() -> u32 {
    CpuId::current().as_u32()
}

/// `cpu_online()`: whether `cpu` is an online CPU. Any number may be passed.
#[inline]
pub(crate) fn is_online(cpu: u32) -> bool {
    // SAFETY: The id is below `nr_cpu_ids`, so it is within the mask.
    cpu < nr_cpu_ids() && unsafe { bindings::cpu_online(cpu) }
}

/// `cpu_possible()`: whether `cpu` may ever be an online CPU. Any number may be passed.
#[inline]
pub(crate) fn is_possible(cpu: u32) -> bool {
    // SAFETY: The id is below `nr_cpu_ids`, so it is within the mask.
    cpu < nr_cpu_ids() && unsafe { bindings::cpu_possible(cpu) }
}

/// The ids of the possible CPUs, in ascending order.
pub(crate) fn possible() -> impl Iterator<Item = u32> {
    (0..nr_cpu_ids()).filter(|&cpu| is_possible(cpu))
}

/// Maps the number `n` to an online CPU. Consecutive numbers are spread evenly over the CPUs that
/// are online now.
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

/// Whether no other CPU than the current one is online.
#[inline]
pub(crate) fn is_alone() -> bool {
    // SAFETY: The function only reads a count.
    unsafe { bindings::helper_cpumask_is_alone() }
}
