// SPDX-License-Identifier: GPL-2.0

//! Debug messages about a device, which begin with its name: `wireguard: wg0: …`.

/// A message about a device, if debug messages are on. Any context.
///
/// The device is anything that has a `name()`, such as the
/// [`Handle`](crate::linux::engine::link::Handle) of a network device. A handle keeps nothing
/// alive: once the device is gone, it has the last name.
macro_rules! dev_dbg {
    ($device:expr, $($arg:tt)+) => {
        $crate::linux::debug::pr_dbg!(
            "{}: {}",
            $device.name(),
            ::kernel::prelude::fmt!($($arg)+)
        )
    };
}
pub(crate) use dev_dbg;

/// The same, with a limit on the rate, for events that a stranger on the network can cause.
macro_rules! dev_dbg_ratelimited {
    ($device:expr, $($arg:tt)+) => {
        $crate::linux::debug::net_dbg!(
            "{}: {}",
            $device.name(),
            ::kernel::prelude::fmt!($($arg)+)
        )
    };
}
pub(crate) use dev_dbg_ratelimited;
