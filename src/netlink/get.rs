// SPDX-License-Identifier: GPL-2.0

//! `WG_CMD_GET_DEVICE`: the configuration of a device and the state of its peers.
//!
//! A dump is as many messages as it takes. Between two of them it holds no lock, only a reference
//! to the device. It then goes on with the next peer that there is, and within a peer with the next
//! allowed IP, if no allowed IP of the device has changed meanwhile. Each message tells whether the
//! configuration has changed since the one before ([`DumpBuffer::set_generation`]); readers then
//! ask again.

use core::{
    net::IpAddr,
    ops::ControlFlow, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
};
use zerocopy::IntoBytes;
use zerocopy_derive::{
    Immutable,
    IntoBytes, //
};

use super::attributes::{
    lookup_interface,
    uapi::*,
    GET_ATTRS,
    GET_POLICY,
    PROTOCOL_VERSION,
    TIMESPEC_LEN, //
};
use crate::{
    allowedips::AllowedIp,
    linux::{
        genetlink::{
            Access,
            DumpBuffer,
            DumpOp,
            Message,
            Progress,
            Request, //
        },
        ip::{
            AF_INET,
            AF_INET6, //
        }, //
        netlink::{
            Nest,
            PolicyRef,
            Put, //
        },
        rcu,
        rtnetlink,
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

/// A dump of a device.
pub(super) struct GetDevice {
    device: Arc<Device>,
    /// Set once the device's own attributes have been put.
    begun: bool,
    /// The number of the last peer that was put as a whole; 0: none.
    last_peer: u64,
    /// Where to go on within the peer after that one.
    resume: Option<Resume>,
}

/// A peer some of whose allowed IPs are put already.
struct Resume {
    /// The number of the peer.
    peer: u64,
    /// The number of allowed IPs that are put.
    allowed_ips: usize,
    /// The `AllowedIps::seq()` of the device at that time.
    seq: u64,
}

/// The result of putting a peer.
enum Outcome {
    /// The whole peer is put.
    Whole,
    /// This many of its allowed IPs are put. There was no room for the next.
    Part(usize),
    /// There was no room for the peer, and nothing of it is put.
    Nothing,
}

impl DumpOp for GetDevice {
    const CMD: u8 = WG_CMD_GET_DEVICE;
    const ACCESS: Access = Access::NamespaceAdmin;
    const POLICY: PolicyRef = GET_POLICY.by_ref();

    fn start(request: &Request<'_>) -> Result<Self> {
        Ok(Self {
            device: lookup_interface(request, &request.attrs::<GET_ATTRS>())?,
            begun: false,
            last_peer: 0,
            resume: None,
        })
    }

    fn dump(&mut self, request: &Request<'_>, buffer: &mut DumpBuffer<'_>) -> Result<Progress> {
        // Under the RTNL the name is that of the index, and neither changes. It is released last,
        // see the lock order.
        let _rtnl = (!self.begun).then(rtnetlink::lock);
        let device = self.device.clone();
        let mut config = device.update.lock();
        buffer.set_generation(config.generation);
        let mut message = buffer.message()?;

        let begun = self.begun;
        if !begun {
            put_device(&device, &config, &mut message).map_err(|errno| {
                if errno == ENODEV {
                    request
                        .extack()
                        .err(errno, c"the interface has been deleted meanwhile")
                } else {
                    errno
                }
            })?;
            self.begun = true;
        }

        let (progress, any) = self.put_peers(&mut config, &mut message)?;
        if begun && !any && matches!(progress, Progress::More) {
            // The buffer is too small for a single peer: it will not be larger the next time.
            return Err(request
                .extack()
                .err(EMSGSIZE, c"the buffer is too small for a peer"));
        }
        message.end();
        Ok(progress)
    }
}

impl GetDevice {
    /// Puts as many peers as there is room for. Returns how far it got, and whether it put any.
    fn put_peers(
        &mut self,
        config: &mut Config,
        message: &mut Message<'_>,
    ) -> Result<(Progress, bool)> {
        let mut peers = message.nest(WGDEVICE_A_PEERS)?;
        let mut any = false;
        let full = config.try_for_each_peer_after(self.last_peer, |peer| {
            let resume = self.resume.take().filter(|resume| resume.peer == peer.id);
            match put_peer(peer, resume.as_ref(), &mut peers) {
                Outcome::Whole => {
                    any = true;
                    self.last_peer = peer.id;
                    return ControlFlow::Continue(());
                }
                Outcome::Part(allowed_ips) => {
                    any |= resume.is_none_or(|resume| resume.allowed_ips != allowed_ips);
                    self.resume = Some(Resume {
                        peer: peer.id,
                        allowed_ips,
                        seq: self.device.allowed_ips.seq(),
                    });
                }
                Outcome::Nothing => self.resume = resume,
            }
            ControlFlow::Break(())
        });
        let progress = match full {
            ControlFlow::Break(()) => Progress::More,
            ControlFlow::Continue(()) => Progress::Done,
        };
        if any {
            peers.end()?;
        }
        Ok((progress, any))
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
        if device.is_sealed() {
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

/// Puts a peer or, with `resume`, the rest of its allowed IPs.
fn put_peer(peer: &Peer, resume: Option<&Resume>, peers: &mut Nest<'_>) -> Outcome {
    try_put_peer(peer, resume, peers).unwrap_or(Outcome::Nothing)
}

/// As [`put_peer`], where an error is [`Outcome::Nothing`].
fn try_put_peer(peer: &Peer, resume: Option<&Resume>, peers: &mut Nest<'_>) -> Result<Outcome> {
    let mut nest = peers.nest(0)?;
    nest.put(WGPEER_A_PUBLIC_KEY, peer.public_key.as_bytes())?;
    if resume.is_none() {
        put_peer_state(peer, &mut nest)?;
    }

    let allowed_ips = peer.allowed_ips.lock();
    let allowed_ips = allowed_ips.as_slice();
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
        if let Some(n) = left
            .iter()
            .position(|allowed_ip| put_allowed_ip(allowed_ip, &mut list).is_err())
        {
            put = n;
        }
        list.end()?;
    }
    nest.end()?;
    Ok(if put == left.len() {
        Outcome::Whole
    } else {
        Outcome::Part(first.saturating_add(put))
    })
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
