// SPDX-License-Identifier: GPL-2.0

//! Debug messages, which can be switched on while the module runs.
//!
//! Dynamic debug controls them, as it controls `pr_debug()` of C. The whole module has one entry in
//! its control file: `echo 'module NAME +p' > /sys/kernel/debug/dynamic_debug/control`, or
//! `modprobe NAME dyndbg=+p` when the module is loaded. Each message begins with the name of the
//! module and a colon.
//!
//! While debug messages are off, a message costs a call and a patched jump, and its arguments are
//! not evaluated.
//!
//! C headers: [`include/linux/dynamic_debug.h`](srctree/include/linux/dynamic_debug.h),
//! [`include/linux/net.h`](srctree/include/linux/net.h)

use core::ptr;
use kernel::fmt;

use super::bindings;

/// `pr_debug()`: prints a message if debug messages are on. The format has to end with `\n`. Any
/// context.
macro_rules! pr_dbg {
    ($($arg:tt)+) => {
        if $crate::linux::debug::is_enabled() {
            $crate::linux::debug::print(::kernel::prelude::fmt!($($arg)+));
        }
    };
}
pub(crate) use pr_dbg;

/// `net_dbg_ratelimited()`: as [`pr_dbg!`], for messages that a stranger on the network can cause.
/// All such messages of the kernel share one limit: `net.core.message_burst` in
/// `net.core.message_cost` seconds.
macro_rules! net_dbg {
    ($($arg:tt)+) => {
        if $crate::linux::debug::is_enabled() {
            $crate::linux::debug::print_ratelimited(::kernel::prelude::fmt!($($arg)+));
        }
    };
}
pub(crate) use net_dbg;

/// Whether debug messages are on. If so, prints `args`, if there are some.
#[inline(always)]
fn debug(args: Option<&fmt::Arguments<'_>>, ratelimited: bool) -> bool {
    let args = args.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: The pointer is null, which prints nothing, or to a `fmt::Arguments`, as `%pA`
    // requires, which is valid during the call.
    unsafe { bindings::helper_debug(args.cast(), ratelimited) }
}

/// Whether debug messages are on. Any context.
#[inline]
pub(crate) fn is_enabled() -> bool {
    debug(None, false)
}

/// Prints a message if debug messages are on. See [`pr_dbg!`].
#[cold]
pub(crate) fn print(args: fmt::Arguments<'_>) {
    debug(Some(&args), false);
}

/// Prints a message if debug messages are on and the rate limit allows it. See [`net_dbg!`].
#[cold]
pub(crate) fn print_ratelimited(args: fmt::Arguments<'_>) {
    debug(Some(&args), true);
}
