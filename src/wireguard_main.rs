// SPDX-License-Identifier: GPL-2.0

//! WireGuard: a layer-3 secure network tunnel.
//!
//! The crate root says what the module is made of and what is initialised in which order; nothing
//! else.

use kernel::prelude::*;

#[forbid(unsafe_code)]
mod allowedips;
#[forbid(unsafe_code)]
mod class;
#[forbid(unsafe_code)]
mod debug;
#[forbid(unsafe_code)]
mod events;
#[forbid(unsafe_code)]
mod expiry;
#[forbid(unsafe_code)]
mod extension;
#[forbid(unsafe_code)]
mod interface;
#[forbid(unsafe_code)]
mod keypair;
#[forbid(unsafe_code)]
mod lifecycle;
mod linux;
#[forbid(unsafe_code)]
mod machine;
#[forbid(unsafe_code)]
mod memory;
#[forbid(unsafe_code)]
mod netlink;
#[forbid(unsafe_code)]
mod noise;
#[forbid(unsafe_code)]
mod notify;
#[forbid(unsafe_code)]
mod pace;
#[forbid(unsafe_code)]
mod packet;
#[forbid(unsafe_code)]
mod parameters;
#[forbid(unsafe_code)]
mod peerlookup;
#[forbid(unsafe_code)]
mod prefixes;
#[forbid(unsafe_code)]
mod protocol;
#[forbid(unsafe_code)]
mod queueing;
#[forbid(unsafe_code)]
mod ratelimiter;
#[forbid(unsafe_code)]
mod receive;
#[forbid(unsafe_code)]
mod send;
#[forbid(unsafe_code)]
mod socket;
#[forbid(unsafe_code)]
mod state;
#[forbid(unsafe_code)]
mod steer;
#[cfg(CONFIG_KUNIT = "y")]
#[forbid(unsafe_code)]
mod testing;
#[forbid(unsafe_code)]
mod trace;
#[forbid(unsafe_code)]
mod tuning;

module! {
    type: linux::module::Ending<WireGuard>,
    name: "wireguard",
    authors: ["The WireGuard for Rust developers"],
    description: "WireGuard secure network tunnel",
    license: "GPL v2",
    alias: ["rtnl-link-wireguard", "net-pf-16-proto-16-family-wireguard"],
}

linux::moduleparam::bool_param! {
    crate::parameters::AGGREGATE_TX: aggregate_tx,
        "Hand datagrams of a tunnel to the network as UDP GSO packets (default: Y)";
}

linux::moduleparam::bool_param! {
    crate::parameters::AGGREGATE_RX: aggregate_rx,
        "Let GRO join datagrams that arrive for a tunnel (default: Y)";
}

linux::moduleparam::choice_param! {
    crate::parameters::ROAMING: roaming,
        "Data to a peer's new address before its proof: 0 all, 1 a little, 2 none (default: 1)";
}

/// The module. Fields are dropped in this order: no request configures devices that are being
/// deleted.
#[pin_data]
struct WireGuard {
    _extension: linux::genetlink::Registration,
    _netlink: linux::genetlink::Registration,
    #[pin]
    _devices: interface::Registration,
    _sockets: linux::udp_tunnel::Registration,
}

impl linux::module::Module for WireGuard {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _sockets: linux::udp_tunnel::Registration::new()?,
            _devices <- interface::Registration::new(),
            _netlink: netlink::register(module)?,
            _extension: netlink::register_extension(module)?,
        }? Error)
        .pin_chain(|_| {
            pr_info!("WireGuard 1.0.0 loaded. See www.wireguard.com for information.\n");
            pr_info!("This is WireGuard in Rust, not the module that comes with the kernel.\n");
            Ok(())
        })
    }
}
