// SPDX-License-Identifier: GPL-2.0

//! `WG_CMD_GET_DEVICE`: the configuration of a device and the state of its peers.
//!
//! A peer that does not fit into a message goes on in the next one with its next allowed IP, if no
//! allowed IP of the device has changed meanwhile. For the rest see [`dump`](super::dump).

use core::net::IpAddr;
use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};
use zerocopy::IntoBytes;
use zerocopy_derive::{
    Immutable,
    IntoBytes, //
};

use super::{
    attributes::{
        uapi::*,
        PROTOCOL_VERSION,
        TIMESPEC_LEN, //
    },
    dump::{
        Contents,
        Outcome, //
    },
};
use crate::{
    allowedips::AllowedIp,
    linux::{
        genetlink::Message,
        ip::{
            AF_INET,
            AF_INET6, //
        }, //
        netlink::{
            Nest,
            Put, //
        },
        rcu,
    },
    protocol::limits::NSEC_PER_SEC,
    state::{
        device::{
            Config,
            Device, //
        },
        peer::Peer, //
    },
};

/// `struct __kernel_timespec`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Timespec {
    /// Seconds since 1970.
    sec: u64,
    /// And nanoseconds.
    nsec: u64,
}

static_assert!(size_of::<Timespec>() == TIMESPEC_LEN as usize);

/// The configuration of a device.
pub(super) struct Configuration {
    /// Where to go on within the peer after the last whole one.
    resume: Option<Resume>,
}

/// A peer some of whose allowed IPs are put already.
struct Resume {
    /// The number of the peer.
    peer: u64,
    /// The place in the list of the first allowed IP that is not put.
    allowed_ips: usize,
    /// The `AllowedIps::seq()` of the device at that time.
    seq: u64,
}

impl Contents for Configuration {
    const CMD: u8 = WG_CMD_GET_DEVICE;
    const PEERS: Option<u16> = Some(WGDEVICE_A_PEERS);

    fn new() -> Self {
        Self { resume: None }
    }

    fn put_device(device: &Device, config: &Config, message: &mut Message<'_>) -> Result {
        put_device(device, config, message)
    }

    fn put_peer(&mut self, peer: &Peer, peers: &mut impl Put) -> Outcome {
        let resume = self.resume.take().filter(|resume| resume.peer == peer.id);
        match put_peer(peer, resume.as_ref(), peers) {
            Ok(None) => Outcome::Whole,
            Ok(Some(allowed_ips)) => {
                let before = resume.map(|resume| resume.allowed_ips);
                self.resume = Some(Resume {
                    peer: peer.id,
                    allowed_ips,
                    seq: peer.device.allowed_ips.seq(),
                });
                if before == Some(allowed_ips) {
                    Outcome::Nothing
                } else {
                    Outcome::Part
                }
            }
            Err(_) => {
                self.resume = resume;
                Outcome::Nothing
            }
        }
    }
}

/// Puts the attributes of a device besides its peers.
fn put_device(device: &Device, config: &Config, message: &mut Message<'_>) -> Result {
    let (ifindex, name) = {
        let guard = rcu::Guard::new();
        let netdev = device.netdev.get(&guard).ok_or(ENODEV)?;
        (netdev.ifindex(), netdev.name())
    };
    message.put_u16(WGDEVICE_A_LISTEN_PORT, config.incoming_port)?;
    message.put_u32(WGDEVICE_A_FWMARK, device.fwmark.load(Relaxed))?;
    message.put_u32(WGDEVICE_A_IFINDEX, ifindex)?;
    message.put_string(WGDEVICE_A_IFNAME, name.as_c_str())?;
    if let Some(identity) = device.identity.get() {
        if device.settings.is_sealed() {
            if let Some(public) = identity.public_key() {
                message.put(WGDEVICE_A_PUBLIC_KEY, public.as_bytes())?;
            }
        } else if let (Some(private), Some(public)) =
            (identity.private_key(), identity.public_key())
        {
            message.put(WGDEVICE_A_PRIVATE_KEY, private.as_bytes())?;
            message.put(WGDEVICE_A_PUBLIC_KEY, public.as_bytes())?;
        }
    }
    Ok(())
}

/// Puts a peer or, with `resume`, the rest of its allowed IPs. Returns the place of the first one
/// that there was no room for. `EMSGSIZE`: nothing of the peer is put.
fn put_peer(peer: &Peer, resume: Option<&Resume>, peers: &mut impl Put) -> Result<Option<usize>> {
    let mut nest = peers.nest(0)?;
    nest.put(WGPEER_A_PUBLIC_KEY, peer.public_key.as_bytes())?;
    if resume.is_none() {
        put_peer_state(peer, &mut nest)?;
    }

    let allowed_ips = peer.allowed_ips.lock();
    let allowed_ips = allowed_ips.places();
    let first = match resume {
        // The list may have changed: it is not known which of them were put.
        Some(resume) if resume.seq != peer.device.allowed_ips.seq() => allowed_ips.len(),
        Some(resume) => resume.allowed_ips,
        None => 0,
    };
    let left = allowed_ips.get(first..).unwrap_or(&[]);
    let mut put = left.len();
    if !left.is_empty() {
        let mut list = nest.nest(WGPEER_A_ALLOWEDIPS)?;
        if let Some(n) = left.iter().position(|place| {
            place.is_some_and(|allowed_ip| put_allowed_ip(&allowed_ip, &mut list).is_err())
        }) {
            put = n;
        }
        list.end()?;
    }
    nest.end()?;
    Ok((put != left.len()).then_some(first.saturating_add(put)))
}

/// Puts the attributes of a peer besides its key and its allowed IPs.
fn put_peer_state(peer: &Peer, nest: &mut Nest<'_>) -> Result {
    if !peer.is_sealed() {
        nest.put(
            WGPEER_A_PRESHARED_KEY,
            peer.handshake.lock().noise.preshared_key().as_bytes(),
        )?;
    }
    let last_handshake_ns = peer.last_handshake_ns.load(Relaxed) as u64;
    let last_handshake = Timespec {
        sec: last_handshake_ns / NSEC_PER_SEC,
        nsec: last_handshake_ns % NSEC_PER_SEC,
    };
    nest.put(WGPEER_A_LAST_HANDSHAKE_TIME, last_handshake.as_bytes())?;
    nest.put_u16(
        WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
        peer.persistent_keepalive_interval(),
    )?;
    nest.put_u64_64bit(
        WGPEER_A_TX_BYTES,
        peer.tx_bytes.load(Relaxed),
        WGPEER_A_UNSPEC,
    )?;
    nest.put_u64_64bit(
        WGPEER_A_RX_BYTES,
        peer.rx_bytes.load(Relaxed),
        WGPEER_A_UNSPEC,
    )?;
    nest.put_u32(WGPEER_A_PROTOCOL_VERSION, PROTOCOL_VERSION)?;
    if let Some(endpoint) = peer.endpoint.get() {
        nest.put(WGPEER_A_ENDPOINT, endpoint.to_sockaddr().as_bytes())?;
    }
    Ok(())
}

/// Puts a prefix.
fn put_allowed_ip(allowed_ip: &AllowedIp, list: &mut Nest<'_>) -> Result {
    let mut nest = list.nest(0)?;
    nest.put_u8(WGALLOWEDIP_A_CIDR_MASK, allowed_ip.cidr())?;
    match allowed_ip.addr() {
        IpAddr::V4(addr) => {
            nest.put_u16(WGALLOWEDIP_A_FAMILY, AF_INET)?;
            nest.put(WGALLOWEDIP_A_IPADDR, &addr.octets())?;
        }
        IpAddr::V6(addr) => {
            nest.put_u16(WGALLOWEDIP_A_FAMILY, AF_INET6)?;
            nest.put(WGALLOWEDIP_A_IPADDR, &addr.octets())?;
        }
    }
    nest.end()
}
