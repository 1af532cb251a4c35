// SPDX-License-Identifier: GPL-2.0

//! `get` of the family `wireguard_ext`: what has happened to the messages and packets of a device
//! and of its peers, and the sessions of the peers.
//!
//! A peer that does not fit into a message is in the next one: see [`dump`](super::dump).

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

use super::dump::{
    Contents,
    Outcome, //
};
use crate::{
    events::Counters,
    extension::{
        cmd,
        ext,
        peer as attr,
        session, //
    },
    keypair::Slot,
    linux::{
        genetlink::Message,
        ktime,
        netlink::{
            Nest,
            Put, //
        },
        rcu,
    },
    protocol::timers::is_still_under_load,
    socket::Binding,
    state::{
        device::{
            Config,
            Device, //
        },
        peer::{
            Keypair,
            Peer, //
        },
    },
};

/// Nanoseconds in a millisecond.
const NSEC_PER_MSEC: u64 = 1_000_000;

/// What has happened with a device and its peers.
pub(super) struct Happenings;

impl Contents for Happenings {
    const CMD: u8 = cmd::GET;
    const PEERS: Option<u16> = None;

    fn new() -> Self {
        Self
    }

    fn put_device(device: &Device, config: &Config, message: &mut Message<'_>) -> Result {
        put_device(device, config, message)
    }

    fn put_peer(&mut self, peer: &Peer, message: &mut impl Put) -> Outcome {
        match put_peer(peer, message) {
            Ok(()) => Outcome::Whole,
            Err(_) => Outcome::Nothing,
        }
    }
}

/// Puts a flag: an attribute that is there or not.
fn put_flag(to: &mut impl Put, ty: u16, is_set: bool) -> Result {
    if is_set {
        to.put(ty, &[])
    } else {
        Ok(())
    }
}

/// Puts a setting of the numbers 0 and 1 if it is 1.
fn put_if_set(to: &mut impl Put, ty: u16, is_set: bool) -> Result {
    if is_set {
        to.put_u8(ty, 1)
    } else {
        Ok(())
    }
}

/// Puts the counters that are not zero.
fn put_counters<const FIRST: u8, const N: usize>(
    nest: &mut Nest<'_>,
    counters: &Counters<FIRST, N>,
) -> Result {
    counters.try_for_each(|number, count| nest.put_u32(number.into(), count))
}

/// Puts the attributes of a device besides its peers.
fn put_device(device: &Device, config: &Config, message: &mut Message<'_>) -> Result {
    let (ifindex, name, is_up) = {
        let guard = rcu::Guard::new();
        let netdev = device.netdev.get(&guard).ok_or(ENODEV)?;
        (netdev.ifindex(), netdev.name(), netdev.is_running())
    };
    message.put_u32(ext::IFINDEX, ifindex)?;
    message.put_string(ext::IFNAME, name.as_c_str())?;
    let mut counts = message.nest(ext::COUNTS)?;
    put_counters(&mut counts, &device.counters)?;
    counts.end()?;
    message.put_u16(ext::LISTEN_PORT, config.incoming_port)?;
    let identity = device.identity.get();
    let has_key = identity.is_some_and(|identity| identity.public_key().is_some());
    put_flag(message, ext::HAS_PRIVATE_KEY, has_key)?;
    put_flag(message, ext::IS_UP, is_up)?;
    let last_under_load = device.last_under_load.load(Relaxed) as u64;
    let under_load =
        last_under_load != 0 && is_still_under_load(last_under_load, ktime::coarse_boottime_ns());
    put_flag(message, ext::UNDER_LOAD, under_load)?;
    put_if_set(message, ext::SEALED, device.settings.is_sealed())?;
    for (ty, setting) in [
        (ext::VALIDATION, &device.settings.validation),
        (ext::AGGREGATE_TX, &device.settings.aggregate_tx),
        (ext::AGGREGATE_RX, &device.settings.aggregate_rx),
    ] {
        if let Some(number) = setting.own() {
            message.put_u8(ty, number)?;
        }
    }
    if let Some(copied) = device.settings.copied() {
        put_if_set(message, ext::COPY_DSCP, copied.dscp)?;
        put_if_set(message, ext::COPY_FLOW_LABEL, copied.flow_label)?;
    }
    put_binding(&device.sockets.binding(), message)
}

/// Puts what the sockets of a device are bound to.
fn put_binding(binding: &Binding, message: &mut Message<'_>) -> Result {
    if binding.v4 != [0; 4] {
        message.put(ext::LOCAL_IPV4, &binding.v4)?;
    }
    if binding.v6 != [0; 16] {
        message.put(ext::LOCAL_IPV6, &binding.v6)?;
    }
    if binding.ifindex != 0 {
        message.put_u32(ext::BIND_IFINDEX, binding.ifindex)?;
    }
    Ok(())
}

/// Puts a peer, or nothing.
fn put_peer(peer: &Peer, message: &mut impl Put) -> Result {
    let mut nest = message.nest(ext::PEER)?;
    nest.put(attr::PUBLIC_KEY, peer.public_key.as_bytes())?;
    if let Some((endpoint, state)) = peer.endpoint.get_with_state() {
        nest.put(attr::ENDPOINT, endpoint.to_sockaddr().as_bytes())?;
        nest.put_u8(attr::ENDPOINT_STATE, state as u8)?;
    }
    let last_handshake_ns = peer.last_handshake_ns.load(Relaxed) as u64;
    if last_handshake_ns != 0 {
        nest.put_u64_64bit(attr::LAST_HANDSHAKE_TIME, last_handshake_ns, attr::PAD)?;
    }
    nest.put_u64_64bit(attr::RX_BYTES, peer.rx_bytes.load(Relaxed), attr::PAD)?;
    nest.put_u64_64bit(attr::TX_BYTES, peer.tx_bytes.load(Relaxed), attr::PAD)?;
    nest.put_u16(
        attr::PERSISTENT_KEEPALIVE,
        peer.persistent_keepalive_interval(),
    )?;
    let waiting = peer.staged.lock().messages();
    nest.put_u32(attr::WAITING, waiting as u32)?;
    let (has_preshared_key, is_pending) = {
        let handshake = peer.handshake.lock();
        (
            !handshake.noise.preshared_key().is_zero(),
            handshake.noise.pending_index().is_some(),
        )
    };
    put_flag(&mut nest, attr::HAS_PRESHARED_KEY, has_preshared_key)?;
    put_flag(&mut nest, attr::HANDSHAKE_PENDING, is_pending)?;
    put_record(peer, &mut nest)?;
    put_settings(peer, &mut nest)?;
    put_sessions(peer, &mut nest)?;
    nest.end()
}

/// Puts what has happened with a peer.
fn put_record(peer: &Peer, nest: &mut Nest<'_>) -> Result {
    let mut counts = nest.nest(attr::COUNTS)?;
    put_counters(&mut counts, &peer.record.counters)?;
    if let Some(settings) = peer.settings.get() {
        put_counters(&mut counts, &settings.counters)?;
    }
    counts.end()?;
    if let Some((event, time_ns)) = peer.record.last_failure() {
        nest.put_u8(attr::LAST_FAILURE, event)?;
        let age_ms = ktime::coarse_boottime_ns().saturating_sub(time_ns) / NSEC_PER_MSEC;
        nest.put_u64_64bit(attr::LAST_FAILURE_AGE, age_ms, attr::PAD)?;
    }
    match peer.record.round_trip_us() {
        Some(us) => nest.put_u32(attr::ROUND_TRIP, us),
        None => Ok(()),
    }
}

/// Puts what is set of a peer beyond the family `wireguard`.
fn put_settings(peer: &Peer, nest: &mut Nest<'_>) -> Result {
    put_if_set(nest, attr::DISABLED, peer.is_disabled())?;
    put_if_set(
        nest,
        attr::REQUIRE_PRESHARED_KEY,
        peer.requires_preshared_key(),
    )?;
    put_if_set(nest, attr::SEALED, peer.is_sealed())?;
    put_if_set(nest, attr::PINNED, peer.endpoint.is_pinned())?;
    if let Some(settings) = peer.settings.get() {
        let label = settings.label.as_bytes();
        if !label.is_empty() {
            nest.put(attr::LABEL, label)?;
        }
        for endpoint in settings.endpoints.iter() {
            nest.put(attr::ENDPOINTS, endpoint.to_sockaddr().as_bytes())?;
        }
    }
    Ok(())
}

/// Puts the sessions of a peer.
fn put_sessions(peer: &Peer, nest: &mut Nest<'_>) -> Result {
    let now_ns = ktime::coarse_boottime_ns();
    peer.keypairs
        .try_for_each(|slot, keypair| put_session(slot, keypair, now_ns, nest))
}

/// Puts a session.
fn put_session(slot: Slot, keypair: &Keypair, now_ns: u64, to: &mut Nest<'_>) -> Result {
    let mut nest = to.nest(attr::SESSION)?;
    nest.put_u8(session::SLOT, slot as u8)?;
    nest.put_u32(session::LOCAL_INDEX, keypair.index)?;
    nest.put_u32(session::REMOTE_INDEX, keypair.remote_index())?;
    let age_ms = now_ns.saturating_sub(keypair.birthdate()) / NSEC_PER_MSEC;
    nest.put_u32(session::AGE, age_ms as u32)?;
    put_flag(&mut nest, session::INITIATOR, keypair.i_am_the_initiator())?;
    nest.end()
}
