// SPDX-License-Identifier: GPL-2.0

//! `WG_CMD_SET_DEVICE`: changes to the configuration of a device.
//!
//! A request is carried out in a fixed order, wherever its attributes stand: mark, port, removal of
//! all peers, private key, then its peers one after another. If a step fails, the steps before it
//! have been done.

use core::net::IpAddr;
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
};

use super::attributes::{
    lookup_interface,
    may_use_sockets,
    uapi::*,
    ALLOWEDIP_ATTRS,
    PEER_ATTRS,
    PROTOCOL_VERSION,
    SET_ATTRS,
    SET_POLICY, //
};
use crate::{
    allowedips::AllowedIp,
    extension::Change as Told,
    linux::{
        compat::code::{
            EADDRINUSE,
            EPFNOSUPPORT, //
        },
        genetlink::{
            Access,
            DoOp,
            Request, //
        },
        ip::{
            AF_INET,
            AF_INET6, //
        }, //
        netlink::{
            Attr,
            Attrs,
            ExtAck,
            PolicyRef, //
        },
        rcu::{
            self,
            RcuArc, //
        },
        rtnetlink,
        sched,
    },
    protocol::{
        identity::{
            PrivateKey,
            PublicKey,
            StaticIdentity, //
        },
        limits::MAX_PEERS_PER_DEVICE,
        noise::SymmetricKey, //
    },
    socket::Endpoint,
    state::{
        device::{
            Config,
            Device, //
        },
        peer::Peer, //
    },
    tuning::FEW_ALLOWED_IPS, //
};

/// Peers that a request removes. Their removal is finished for all of them together, with one grace
/// period instead of one each.
struct Removed(RBTree<u64, Arc<Peer>>);

impl Removed {
    fn new() -> Self {
        Self(RBTree::new())
    }

    /// Removes a peer.
    fn add(&mut self, config: &mut Config, peer: Arc<Peer>) {
        peer.tell_config(Told::PeerRemoved);
        peer.detach(config);
        // There is no memory to finish the removal later, so it is finished now.
        if self
            .0
            .try_create_and_insert(peer.id, peer.clone(), GFP_KERNEL)
            .is_err()
        {
            Peer::finish_all([&peer]);
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        Peer::finish_all(self.0.values());
    }
}

/// `WG_CMD_SET_DEVICE`.
pub(super) struct SetDevice;

impl DoOp for SetDevice {
    const CMD: u8 = WG_CMD_SET_DEVICE;
    const ACCESS: Access = Access::NamespaceAdmin;
    const POLICY: PolicyRef = SET_POLICY.by_ref();

    fn doit(request: &Request<'_>) -> Result {
        let attrs = request.attrs::<SET_ATTRS>();
        let extack = request.extack();
        // With the RTNL held the device that is found stays, and it neither goes up nor down.
        let _rtnl = rtnetlink::lock();
        let device = lookup_interface(request, &attrs)?;
        let running = device.is_running();
        let mut config = device.update.lock();
        Change {
            device: &device,
            running,
            extack,
        }
        .apply(&mut config, &attrs)
    }
}

/// A change that is being made to a device, with the device's configuration locked.
struct Change<'a> {
    device: &'a Arc<Device>,
    /// Whether the device is up.
    running: bool,
    extack: &'a ExtAck<'a>,
}

impl Change<'_> {
    fn apply(&self, config: &mut Config, attrs: &Attrs<'_, SET_ATTRS>) -> Result {
        let flags = attrs.get::<u32>(WGDEVICE_A_FLAGS)?.unwrap_or(0);
        let port = attrs.get::<u16>(WGDEVICE_A_LISTEN_PORT)?;
        let fwmark = attrs.get::<u32>(WGDEVICE_A_FWMARK)?;

        if port.is_some() || fwmark.is_some() {
            may_use_sockets(
                self.device,
                self.extack,
                c"port and mark take CAP_NET_ADMIN where the interface was created",
            )?;
        }
        config.changed();

        if let Some(fwmark) = fwmark {
            self.device.fwmark.store(fwmark, Relaxed);
            clear_sources(config);
        }
        let port_set = port.map_or(Ok(()), |port| self.set_port(config, port));
        if port.is_some() || fwmark.is_some() {
            // The mark stays, as with the C module, even if the port cannot be had.
            self.device.tell_changed();
        }
        port_set?;
        if flags & WGDEVICE_F_REPLACE_PEERS != 0 {
            for peer in config.peers() {
                peer.tell_config(Told::PeerRemoved);
            }
            Peer::remove_all(self.device, config);
        }
        if let Some(bytes) = attrs.get::<&[u8; 32]>(WGDEVICE_A_PRIVATE_KEY)? {
            let mut key = PrivateKey::zeroed();
            *key.as_mut_bytes() = *bytes;
            self.set_private_key(config, &key)?;
        }
        if let Some(peers) = attrs.attr(WGDEVICE_A_PEERS) {
            let mut removed = Removed::new();
            for peer in peers.elements() {
                self.set_peer(config, &peer, &mut removed)?;
                sched::cond_resched();
            }
        }
        Ok(())
    }

    fn set_port(&self, config: &mut Config, port: u16) -> Result {
        if config.incoming_port == port {
            return Ok(());
        }
        clear_sources(config);
        if !self.running {
            config.incoming_port = port;
            return Ok(());
        }
        self.device.open_sockets(config, port).map_err(|errno| {
            let message = if errno == EADDRINUSE {
                c"the UDP port is in use"
            } else {
                c"the UDP port cannot be opened"
            };
            self.extack.err(errno, message)
        })
    }

    fn set_private_key(&self, config: &mut Config, key: &PrivateKey) -> Result {
        let old = self.device.identity.get();
        let old_key = old.as_ref().and_then(|old| old.private_key());
        let unchanged = match old_key {
            Some(old_key) => old_key.ct_eq(key),
            None => key.is_zero(),
        };
        if unchanged {
            return Ok(());
        }

        // The keys are worked out where they are to stay, so that no copy of them is left behind.
        let init = Init::<StaticIdentity>::chain(StaticIdentity::none(), |identity| {
            identity.set_private_key(key);
            Ok(())
        });
        let identity: RcuArc<StaticIdentity> = RcuArc::pin_init(init, GFP_KERNEL)
            .map_err(|errno| self.extack.err(errno, c"no memory for the private key"))?;

        // Remove the peer that has the device's own public key before the key is in use.
        if let Some(public) = identity.public_key() {
            if let Some(peer) = self.lookup(public) {
                peer.tell_config(Told::PeerRemoved);
                Peer::remove(config, core::slice::from_ref(&peer));
            }
        }

        let first = old_key.is_none() && identity.public_key().is_some();
        self.device.identity.replace(Some(identity.clone()));
        self.device.tell_changed();
        for peer in config.peers() {
            peer.change_identity(&identity);
            if first && self.running {
                peer.send_staged_packets();
            }
            sched::cond_resched();
        }
        Ok(())
    }

    fn lookup(&self, public_key: &PublicKey) -> Option<Arc<Peer>> {
        let guard = rcu::Guard::new();
        self.device
            .peers_by_key
            .lookup(public_key.as_bytes(), &guard)
            .cloned()
    }

    fn set_peer(&self, config: &mut Config, attr: &Attr<'_>, removed: &mut Removed) -> Result {
        let attrs = attr.nested::<PEER_ATTRS>(self.extack)?;
        let Some(public_key) = attrs.get::<&[u8; 32]>(WGPEER_A_PUBLIC_KEY)? else {
            return Err(self.extack.err_missing(
                EINVAL,
                Some(attr),
                WGPEER_A_PUBLIC_KEY,
                c"a peer has to have a public key",
            ));
        };
        let mut peer_key = PublicKey::zeroed();
        *peer_key.as_mut_bytes() = *public_key;
        let public_key = &peer_key;
        let mut key = SymmetricKey::zeroed();
        let preshared_key = attrs
            .get::<&[u8; 32]>(WGPEER_A_PRESHARED_KEY)?
            .map(|bytes| {
                *key.as_mut_bytes() = *bytes;
                &key
            });
        let mut flags = attrs.get::<u32>(WGPEER_A_FLAGS)?.unwrap_or(0);
        if let Some(version) = attrs.get::<u32>(WGPEER_A_PROTOCOL_VERSION)? {
            if version != PROTOCOL_VERSION {
                return Err(self.extack.err_attr(
                    EPFNOSUPPORT,
                    &attrs.attr(WGPEER_A_PROTOCOL_VERSION).unwrap_or(*attr),
                    c"the only version of the protocol is 1",
                ));
            }
        }

        let Some(peer) = self.find_peer(config, public_key, preshared_key, &mut flags, attr)?
        else {
            return Ok(());
        };
        if flags & WGPEER_F_REMOVE_ME != 0 {
            removed.add(config, peer);
            return Ok(());
        }
        if let Some(key) = preshared_key {
            peer.set_preshared_key(key);
        }
        self.change_peer(config, &peer, &attrs, flags)
    }

    /// The peer with this public key, which may be a new one. `None` if a request with these flags
    /// is not to make one.
    fn find_peer(
        &self,
        config: &mut Config,
        public_key: &PublicKey,
        preshared_key: Option<&SymmetricKey>,
        flags: &mut u32,
        attr: &Attr<'_>,
    ) -> Result<Option<Arc<Peer>>> {
        if let Some(peer) = self.lookup(public_key) {
            return Ok(Some(peer));
        }
        if *flags & (WGPEER_F_REMOVE_ME | WGPEER_F_UPDATE_ONLY) != 0 {
            return Ok(None);
        }
        // A request to make a device its own peer is ignored without an error: so the same request
        // can go to all devices that are each other's peers.
        if self
            .device
            .identity
            .get()
            .is_some_and(|identity| identity.public_key() == Some(public_key))
        {
            return Ok(None);
        }
        // A new peer has none to replace.
        *flags &= !WGPEER_F_REPLACE_ALLOWEDIPS;
        let peer = self.create_peer(config, public_key, preshared_key, attr)?;
        peer.tell_config(Told::PeerAdded);
        Ok(Some(peer))
    }

    /// Changes a peer as the attributes say, except for its keys.
    fn change_peer(
        &self,
        config: &mut Config,
        peer: &Arc<Peer>,
        attrs: &Attrs<'_, PEER_ATTRS>,
        flags: u32,
    ) -> Result {
        if let Some(bytes) = attrs.get::<&[u8]>(WGPEER_A_ENDPOINT)? {
            // An endpoint that is neither IPv4 nor IPv6 is ignored, as it always was.
            if let Some(endpoint) = Endpoint::from_sockaddr(bytes) {
                peer.endpoint.configure(&endpoint);
            }
        }
        if [
            WGPEER_A_PRESHARED_KEY,
            WGPEER_A_ENDPOINT,
            WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
        ]
        .iter()
        .any(|ty| attrs.attr(*ty).is_some())
        {
            peer.tell_config(Told::PeerChanged);
        }
        let replace = flags & WGPEER_F_REPLACE_ALLOWEDIPS != 0;
        self.set_allowed_ips(config, peer, attrs.attr(WGPEER_A_ALLOWEDIPS), replace)?;
        if let Some(interval) = attrs.get::<u16>(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL)? {
            let was_off = peer.persistent_keepalive_interval() == 0;
            peer.set_persistent_keepalive_interval(interval);
            if was_off && interval != 0 && self.running {
                peer.send_keepalive();
            }
        }
        if self.running {
            peer.send_staged_packets();
        }
        Ok(())
    }

    fn create_peer(
        &self,
        config: &mut Config,
        public_key: &PublicKey,
        preshared_key: Option<&SymmetricKey>,
        attr: &Attr<'_>,
    ) -> Result<Arc<Peer>> {
        Peer::create(self.device, config, public_key, preshared_key).map_err(|errno| {
            let message = if config.peer_count() >= MAX_PEERS_PER_DEVICE as usize {
                c"the interface has all the peers that it can have"
            } else {
                c"no memory for another peer"
            };
            self.extack.err_attr(errno, attr, message)
        })
    }

    /// Reads an allowed IP: the prefix, and the flags that say what to do with it.
    fn allowed_ip(&self, attr: &Attr<'_>) -> Result<(AllowedIp, u32)> {
        let attrs = attr.nested::<ALLOWEDIP_ATTRS>(self.extack)?;
        let missing = |ty, message| self.extack.err_missing(EINVAL, Some(attr), ty, message);
        let family = attrs
            .get::<u16>(WGALLOWEDIP_A_FAMILY)?
            .ok_or_else(|| missing(WGALLOWEDIP_A_FAMILY, c"an allowed IP has to have a family"))?;
        let addr = attrs.get::<&[u8]>(WGALLOWEDIP_A_IPADDR)?.ok_or_else(|| {
            missing(
                WGALLOWEDIP_A_IPADDR,
                c"an allowed IP has to have an address",
            )
        })?;
        let cidr = attrs
            .get::<u8>(WGALLOWEDIP_A_CIDR_MASK)?
            .ok_or_else(|| missing(WGALLOWEDIP_A_CIDR_MASK, c"an allowed IP has to have a mask"))?;
        let flags = attrs.get::<u32>(WGALLOWEDIP_A_FLAGS)?.unwrap_or(0);

        let prefix = ip_addr(family, addr)
            .ok_or(EINVAL)
            .and_then(|addr| AllowedIp::new(addr, cidr))
            .map_err(|errno| {
                self.extack.err_attr(
                    errno,
                    attr,
                    c"family, address and mask of an allowed IP do not fit together",
                )
            })?;
        Ok((prefix, flags))
    }

    /// Gives allowed IPs to a peer, or takes them away from it; with `replace` it then has no
    /// others.
    fn set_allowed_ips(
        &self,
        config: &mut Config,
        peer: &Arc<Peer>,
        attr: Option<Attr<'_>>,
        replace: bool,
    ) -> Result {
        let Some(attr) = attr else {
            if replace {
                take_allowed_ips(config, peer, |_| true);
            }
            return Ok(());
        };
        let handle = config.handle(peer.id).ok_or(ENOENT)?;
        let insert = |config: &Config, attr: &Attr<'_>, prefix: AllowedIp| {
            peer.insert_allowed_ip(config, &handle, prefix)
                .map_err(|errno| {
                    self.extack
                        .err_attr(errno, attr, c"no memory for an allowed IP")
                })
        };
        if replace {
            let mut wanted = [None; FEW_ALLOWED_IPS];
            if let Some(wanted) = self.few_allowed_ips(&attr, &mut wanted) {
                // A prefix that the peer has and is to have stays in place: packets find it all the
                // time, and setting a large configuration again costs only what has changed.
                if !wanted.iter().flatten().eq(peer.allowed_ips.lock().iter()) {
                    take_allowed_ips(config, peer, |prefix| !wanted.contains(&Some(*prefix)));
                    for prefix in wanted.iter().flatten() {
                        insert(config, &attr, *prefix)?;
                    }
                }
                return Ok(());
            }
            take_allowed_ips(config, peer, |_| true);
        }
        for attr in attr.elements() {
            let (prefix, flags) = self.allowed_ip(&attr)?;
            if flags & WGALLOWEDIP_F_REMOVE_ME != 0 {
                peer.remove_allowed_ip(config, &prefix);
            } else {
                insert(config, &attr, prefix)?;
            }
            sched::cond_resched();
        }
        Ok(())
    }

    /// Reads the allowed IPs of a peer. `None` if there are more than [`FEW_ALLOWED_IPS`], or if
    /// one is invalid or has flags.
    fn few_allowed_ips<'b>(
        &self,
        attr: &Attr<'_>,
        few: &'b mut [Option<AllowedIp>; FEW_ALLOWED_IPS],
    ) -> Option<&'b [Option<AllowedIp>]> {
        let mut number = 0usize;
        for attr in attr.elements() {
            let place = few.get_mut(number)?;
            number = number.wrapping_add(1);
            // An invalid one is reported later, once those before it have been set.
            match self.allowed_ip(&attr) {
                Ok((prefix, 0)) => *place = Some(prefix),
                _ => return None,
            }
        }
        few.get(..number)
    }
}

/// Takes from a peer the allowed IPs for which `which` returns true.
fn take_allowed_ips(config: &Config, peer: &Peer, which: impl Fn(&AllowedIp) -> bool) {
    peer.remove_allowed_ips(config, |prefix| {
        let take = which(prefix);
        if take {
            peer.tell_allowed_ip(Told::AllowedIpRemoved, prefix, None);
        }
        take
    });
}

/// Clears the sticky source of all peers, and their cached routes.
pub(super) fn clear_sources(config: &Config) {
    for peer in config.peers() {
        peer.endpoint.clear_src();
        sched::cond_resched();
    }
}

/// The address of a family, if its length is right.
fn ip_addr(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
