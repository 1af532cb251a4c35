// SPDX-License-Identifier: GPL-2.0

//! Debug messages, to be switched on while the module runs.
//!
//! They are in the hands of dynamic debug, like `pr_debug()` of C, as one entry of its control file for the whole
//! module: `echo 'module NAME +p' > /sys/kernel/debug/dynamic_debug/control` or, when it is loaded,
//! `modprobe NAME dyndbg=+p`. Each begins with the name of the module and a colon.
//!
//! As long as they are off, a message costs a call and a patched jump, and its arguments are not evaluated.
//!
//! C headers: [`include/linux/dynamic_debug.h`](srctree/include/linux/dynamic_debug.h),
//! [`include/linux/net.h`](srctree/include/linux/net.h)

use core::ptr;
use kernel::fmt;

use super::bindings;

/// `pr_debug()`: prints a debug message if they are on; the message ends with `\n`. Any context.
macro_rules! pr_dbg {
    ($($arg:tt)+) => {
        if $crate::linux::debug::is_enabled() {
            $crate::linux::debug::print(::kernel::prelude::fmt!($($arg)+));
        }
    };
}
pub(crate) use pr_dbg;

/// `net_dbg_ratelimited()`: as [`pr_dbg!`], for what a stranger on the network can cause. All of the
/// kernel's messages of that kind share one limit (`net.core.message_burst` in `net.core.message_cost` seconds).
macro_rules! net_dbg {
    ($($arg:tt)+) => {
        if $crate::linux::debug::is_enabled() {
            $crate::linux::debug::print_ratelimited(::kernel::prelude::fmt!($($arg)+));
        }
    };
}
pub(crate) use net_dbg;

/// Whether debug messages are on. Any context.
#[inline]
pub(crate) fn is_enabled() -> bool {
    // SAFETY: Null only asks.
    unsafe { bindings::helper_debug(ptr::null(), false) }
}

/// Prints a debug message if they are on. See [`pr_dbg!`].
#[cold]
pub(crate) fn print(args: fmt::Arguments<'_>) {
    // SAFETY: The pointer is to a `fmt::Arguments`, as `%pA` wants it, that is valid during the call.
    unsafe { bindings::helper_debug(ptr::from_ref(&args).cast(), false) };
}

/// Prints a debug message if they are on and there were not too many. See [`net_dbg!`].
#[cold]
pub(crate) fn print_ratelimited(args: fmt::Arguments<'_>) {
    // SAFETY: As in `print()`.
    unsafe { bindings::helper_debug(ptr::from_ref(&args).cast(), true) };
}
