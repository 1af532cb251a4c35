// SPDX-License-Identifier: GPL-2.0

//! WireGuard: a layer-3 secure network tunnel.
//!
//! The crate root says what the module is made of and what is initialised in which order; nothing else.

use kernel::prelude::*;

#[forbid(unsafe_code)]
mod allowedips;
mod linux;
#[forbid(unsafe_code)]
mod peerlookup;
#[forbid(unsafe_code)]
mod protocol;
#[forbid(unsafe_code)]
mod ratelimiter;
#[cfg(CONFIG_KUNIT = "y")]
#[forbid(unsafe_code)]
mod testing;

module! {
    type: WireGuard,
    name: "wireguard",
    authors: ["The WireGuard for Rust developers"],
    description: "WireGuard secure network tunnel",
    license: "GPL v2",
    alias: ["rtnl-link-wireguard", "net-pf-16-proto-16-family-wireguard"],
}

struct WireGuard;

impl kernel::Module for WireGuard {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(WireGuard)
    }
}

impl Drop for WireGuard {
    fn drop(&mut self) {
        linux::rcu::barrier();
    }
}
