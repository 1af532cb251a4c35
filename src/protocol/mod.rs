// SPDX-License-Identifier: GPL-2.0

//! WireGuard itself: messages, handshake, keypairs, replay window, cookies, and the decisions of
//! its timers.
//!
//! Bytes, keys and a clock reading come in; bytes and decisions go out. There is no packet buffer,
//! lock or other kernel object in here, only the primitives of [`crate::linux::crypto`], so that
//! tests can drive all of it with published vectors and a clock of their own.
//!
//! Clock readings are nanoseconds since boot that go on counting during suspend
//! (`ktime_get_coarse_boottime_ns()`). Times in the constants are seconds; delays of timers are
//! milliseconds.
//!
//! The "paper" is Jason A. Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", NDSS
//! 2017.

#![allow(dead_code)]

pub(crate) mod cookie;
#[cfg(CONFIG_KUNIT = "y")]
mod crossing;
pub(crate) mod identity;
mod kdf;
pub(crate) mod keypairs;
pub(crate) mod limits;
pub(crate) mod macs;
pub(crate) mod messages;
pub(crate) mod moving;
pub(crate) mod noise;
pub(crate) mod replay;
mod symmetric;
pub(crate) mod tai64n;
pub(crate) mod timers;
