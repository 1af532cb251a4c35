// SPDX-License-Identifier: GPL-2.0

//! Telling those who listen: the multicast groups of the family `wireguard_ext`.
//!
//! A message goes to the network namespace that the interface is in. Without a listener an event
//! costs a look at the list of listeners. The group `config` tells what an administrator has
//! changed, `session` what happens with peers that have authenticated themselves.
//!
//! A flood of messages that anybody can send must not become a flood of messages to listeners. So
//! the group `unauth` has a limit for each device, and says how much was left out.

use core::net::IpAddr;
use kernel::prelude::*;

use crate::{
    allowedips::AllowedIp,
    events::Event,
    extension::{
        self,
        allowed_ip,
        cmd,
        ext,
        peer as attr,
        Change, //
    },
    linux::{
        genetlink::{
            Family,
            Group,
            Message, //
        },
        ip::{
            AF_INET,
            AF_INET6, //
        },
        ktime,
        netdevice::NetDevice,
        netlink::Put,
        rcu,
    },
    protocol::limits::REKEY_AFTER_TIME,
    socket::{
        Endpoint,
        Proof, //
    },
    state::{
        device::Device,
        peer::Peer, //
    },
    trace, //
};

/// The groups, in the order of [`extension::Group`].
static GROUPS: [Group; 3] = [
    Group::for_admins(c"config"),
    Group::for_admins(c"session"),
    Group::for_admins(c"unauth"),
];

/// The family. [`netlink`](crate::netlink) registers it, with its operations.
pub(crate) static FAMILY: Family = Family::new(c"wireguard_ext", extension::VERSION, &GROUPS);

/// What a message tells.
#[derive(Clone, Copy)]
enum News {
    /// The configuration was changed.
    Changed(Change),
    /// Something has happened with a peer that has authenticated itself.
    Happened(Event),
    /// A message was refused, whose sender may be anybody.
    Refused(Event),
}

impl News {
    /// The group of listeners, the command, and the attribute that has the value.
    const fn message(self) -> (extension::Group, u8, u16, u8) {
        use extension::Group;

        match self {
            Self::Changed(change) => (Group::Config, cmd::CONFIG_NTF, ext::CHANGE, change as u8),
            Self::Happened(event) => (Group::Session, cmd::SESSION_NTF, ext::EVENT, event as u8),
            Self::Refused(event) => (Group::Unauth, cmd::UNAUTH_NTF, ext::EVENT, event as u8),
        }
    }
}

/// Tells those who listen, about a device and perhaps a peer of it. `rest` puts further attributes.
/// Any context but hard interrupts.
fn tell(
    device: &Device,
    news: News,
    peer: Option<&Peer>,
    rest: impl FnOnce(&mut Message<'_>) -> Result,
) {
    let guard = rcu::Guard::new();
    let Some(dev) = device.netdev.get(&guard) else {
        return;
    };
    let (group, cmd, attribute, value) = news.message();
    FAMILY.multicast(dev, group as u8, cmd, |message| {
        put_interface(dev, message)?;
        message.put_u8(attribute, value)?;
        if let Some(peer) = peer {
            put_peer(peer, message)?;
        }
        rest(message)
    });
}

fn put_interface(dev: &NetDevice, message: &mut Message<'_>) -> Result {
    message.put_u32(ext::IFINDEX, dev.ifindex())?;
    message.put_string(ext::IFNAME, dev.name().as_c_str())
}

/// Puts the peer that an event is about: its key and its endpoint.
fn put_peer(peer: &Peer, message: &mut Message<'_>) -> Result {
    let mut nest = message.nest(ext::PEER)?;
    nest.put(attr::PUBLIC_KEY, peer.public_key.as_bytes())?;
    if let Some(endpoint) = peer.endpoint.get() {
        nest.put(attr::ENDPOINT, endpoint.to_sockaddr().as_bytes())?;
    }
    nest.end()
}

fn put_allowed_ip(prefix: &AllowedIp, message: &mut Message<'_>) -> Result {
    let mut nest = message.nest(ext::ALLOWED_IP)?;
    match prefix.addr() {
        IpAddr::V4(addr) => {
            nest.put_u16(allowed_ip::FAMILY, AF_INET)?;
            nest.put(allowed_ip::IPADDR, &addr.octets())?;
        }
        IpAddr::V6(addr) => {
            nest.put_u16(allowed_ip::FAMILY, AF_INET6)?;
            nest.put(allowed_ip::IPADDR, &addr.octets())?;
        }
    }
    nest.put_u8(allowed_ip::CIDR_MASK, prefix.cidr())?;
    nest.end()
}

impl Device {
    /// Tells that the device's own configuration was changed. Process context.
    pub(crate) fn tell_changed(&self) {
        tell(self, News::Changed(Change::DeviceChanged), None, |_| Ok(()));
    }

    /// Counts that `n` messages were refused that cannot be ascribed to a peer, and tells it.
    /// `from` is where they came from, if that is known. Any context but hard interrupts.
    pub(crate) fn refused(&self, event: Event, n: usize, from: Option<&Endpoint>) {
        self.count(event, n);
        tell_refused(self, event, None, from);
    }
}

impl Peer {
    fn tell(&self, news: News, rest: impl FnOnce(&mut Message<'_>) -> Result) {
        tell(&self.device, news, Some(self), rest);
    }

    /// Tells of a change to the peer. Process context.
    pub(crate) fn tell_config(&self, change: Change) {
        self.tell(News::Changed(change), |_| Ok(()));
    }

    /// Tells of a change to the peer's allowed IPs; `from` is the peer that had this one before.
    /// Process context.
    pub(crate) fn tell_allowed_ip(&self, change: Change, prefix: &AllowedIp, from: Option<&Peer>) {
        self.tell(News::Changed(change), |message| {
            put_allowed_ip(prefix, message)?;
            match from {
                Some(from) => message.put(ext::FROM_PUBLIC_KEY, from.public_key.as_bytes()),
                None => Ok(()),
            }
        });
    }

    /// Counts an event of the peer, which has authenticated itself, and tells it. Any context but
    /// hard interrupts.
    pub(crate) fn happened(&self, event: Event) {
        self.count(event, 1);
        self.tell(News::Happened(event), |message| match event {
            Event::HandshakeCompleted => message.put_u32(ext::REKEY_IN, REKEY_AFTER_TIME as u32),
            _ => Ok(()),
        });
    }

    /// As [`PeerEndpoint::heard`](crate::socket::PeerEndpoint::heard), and tells what has happened
    /// to the endpoint. Any context but hard interrupts.
    #[inline]
    pub(crate) fn heard(
        &self,
        from: &Endpoint,
        proof: Option<Proof<'_>>,
        is_newest: bool,
        len: usize,
    ) {
        let policy = || self.device.settings.roaming_policy();
        let found = self.endpoint.heard(from, proof, is_newest, len, policy);
        if found.has_moved {
            self.endpoint_changed(Event::EndpointMoved);
        }
        if found.is_proven {
            self.endpoint_changed(Event::EndpointProven);
        }
    }

    /// Tells if the address that the newest message came from is refused from now on. To be called
    /// when a handshake message was not answered. Any context but hard interrupts.
    pub(crate) fn refuse_candidate(&self) {
        if self.endpoint.refuses() {
            self.endpoint_changed(Event::EndpointRefused);
        }
    }

    #[cold]
    fn endpoint_changed(&self, event: Event) {
        let handle = &self.device.netdev;
        trace::endpoint_changed(handle, self.id, event, || self.endpoint.get());
        self.happened(event);
    }

    /// As [`Device::refused`], for messages that name the peer. It need not have sent them.
    pub(crate) fn refused(&self, event: Event, n: usize, from: Option<&Endpoint>) {
        self.count(event, n);
        tell_refused(&self.device, event, Some(self), from);
    }
}

/// Tells that a message was refused, unless too many were lately.
fn tell_refused(device: &Device, event: Event, peer: Option<&Peer>, from: Option<&Endpoint>) {
    if !FAMILY.has_listeners(extension::Group::Unauth as u8) {
        return;
    }
    let Some(left_out) = device.telling.allow(ktime::coarse_boottime_ns()) else {
        return;
    };
    tell(device, News::Refused(event), peer, |message| {
        if let Some(from) = from {
            message.put(ext::SOURCE, from.to_sockaddr().as_bytes())?;
        }
        message.put_u32(ext::LEFT_OUT, left_out)
    });
}
