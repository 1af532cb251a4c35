// SPDX-License-Identifier: GPL-2.0

//! `dev-set` and `peer-set` of the family `wireguard_ext`: what the family `wireguard` cannot set
//! of a device or of a peer.
//!
//! A request is read as a whole before anything is changed: one that is refused changes nothing.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    attributes::{
        lookup_interface,
        may_use_sockets, //
    },
    set::clear_sources, //
};
use crate::{
    class::Copied,
    extension::{
        cmd,
        ext,
        peer as attr,
        Aggregation,
        Change,
        Validation, //
    },
    linux::{
        compat::code::EDESTADDRREQ,
        genetlink::{
            Access,
            DoOp,
            Request, //
        },
        netlink::{
            Attr,
            Attrs,
            ExtAck,
            Policy,
            PolicyRef,
            Rule, //
        },
        rcu::{
            self,
            RcuArc, //
        },
        rtnetlink,
    },
    parameters::Override,
    protocol::messages::NOISE_PUBLIC_KEY_LEN,
    socket::Endpoint,
    state::{
        device::{
            Config,
            Device, //
        },
        peer::Peer,
        settings::{
            Endpoints,
            Label,
            Settings, //
        }, //
    },
};

/// The longest name of an interface, in bytes.
const IFNAME_LEN: u16 = 15;
/// Bytes of a `struct sockaddr_in6`, the longer form of an endpoint.
const SOCKADDR_IN6_LEN: u16 = 28;
/// Number of the attribute types of `dev-set`, 0 included.
const DEV_ATTRS: usize = ext::COPY_FLOW_LABEL as usize + 1;
/// Number of the attribute types of `peer-set`, 0 included.
const SET_ATTRS: usize = ext::PEER as usize + 1;
/// Number of the attribute types of a peer in it, 0 included.
const PEER_ATTRS: usize = attr::ENDPOINTS as usize + 1;

static DEV_POLICY: Policy<DEV_ATTRS> = Policy::new(&[
    (ext::IFINDEX, Rule::u32()),
    (ext::IFNAME, Rule::nul_string(IFNAME_LEN)),
    (ext::SEALED, Rule::u8_up_to(1)),
    (ext::VALIDATION, Rule::u8_up_to(Validation::Parameter as u8)),
    (ext::LOCAL_IPV4, Rule::exact_len(4)),
    (ext::LOCAL_IPV6, Rule::exact_len(16)),
    (ext::BIND_IFINDEX, Rule::u32()),
    (
        ext::AGGREGATE_TX,
        Rule::u8_up_to(Aggregation::Parameter as u8),
    ),
    (
        ext::AGGREGATE_RX,
        Rule::u8_up_to(Aggregation::Parameter as u8),
    ),
    (ext::COPY_DSCP, Rule::u8_up_to(1)),
    (ext::COPY_FLOW_LABEL, Rule::u8_up_to(1)),
]);

static PEER_POLICY: Policy<PEER_ATTRS> = Policy::new(&[
    (
        attr::PUBLIC_KEY,
        Rule::exact_len(NOISE_PUBLIC_KEY_LEN as u16), //
    ),
    (attr::ENDPOINT, Rule::max_len(SOCKADDR_IN6_LEN)),
    (attr::LABEL, Rule::max_len(Label::MAX_LEN as u16)),
    (attr::DISABLED, Rule::u8_up_to(1)),
    (attr::REQUIRE_PRESHARED_KEY, Rule::u8_up_to(1)),
    (attr::SEALED, Rule::u8_up_to(1)),
    (attr::PINNED, Rule::u8_up_to(1)),
    (attr::ENDPOINTS, Rule::max_len(SOCKADDR_IN6_LEN)),
]);

static SET_POLICY: Policy<SET_ATTRS> = Policy::new(&[
    (ext::IFINDEX, Rule::u32()),
    (ext::IFNAME, Rule::nul_string(IFNAME_LEN)),
    (ext::PEER, Rule::nested(PEER_POLICY.by_ref())),
]);

/// Reads an attribute of the numbers 0 and 1.
fn flag<const N: usize>(attrs: &Attrs<'_, N>, ty: u16) -> Result<Option<bool>> {
    Ok(attrs.get::<u8>(ty)?.map(|number| number != 0))
}

/// Reads whether keys are to be sealed. `EPERM` if sealed ones are not to be any more.
fn seals<const N: usize>(
    attrs: &Attrs<'_, N>,
    ty: u16,
    is_sealed: bool,
    extack: &ExtAck<'_>,
) -> Result<bool> {
    match (flag(attrs, ty)?, attrs.attr(ty)) {
        (Some(false), Some(attr)) if is_sealed => {
            Err(extack.err_attr(EPERM, &attr, c"keys that are sealed stay sealed"))
        }
        (wanted, _) => Ok(wanted.unwrap_or(false)),
    }
}

/// `dev-set`.
pub(super) struct SetDevice;

impl DoOp for SetDevice {
    const CMD: u8 = cmd::DEV_SET;
    const ACCESS: Access = Access::NamespaceAdmin;
    const POLICY: PolicyRef = DEV_POLICY.by_ref();

    fn doit(request: &Request<'_>) -> Result {
        let attrs = request.attrs::<DEV_ATTRS>();
        let _rtnl = rtnetlink::lock();
        let device = lookup_interface(request, &attrs)?;
        let mut config = device.update.lock();
        let seal = seals(
            &attrs,
            ext::SEALED,
            device.settings.is_sealed(),
            request.extack(),
        )?;
        bind(&device, &config, &attrs, request.extack())?;

        config.changed();
        if seal {
            device.settings.seal();
        }
        let before = device.settings.copied();
        device.settings.set_copied(Copied {
            dscp: flag(&attrs, ext::COPY_DSCP)?.unwrap_or(before.is_some_and(|it| it.dscp)),
            flow_label: flag(&attrs, ext::COPY_FLOW_LABEL)?
                .unwrap_or(before.is_some_and(|it| it.flow_label)),
        });
        let settings = &device.settings;
        let by_parameter = Aggregation::Parameter as u8;
        replace(
            &attrs,
            ext::AGGREGATE_TX,
            by_parameter,
            &settings.aggregate_tx,
        )?;
        replace(
            &attrs,
            ext::AGGREGATE_RX,
            by_parameter,
            &settings.aggregate_rx,
        )?;
        let by_parameter = Validation::Parameter as u8;
        replace(&attrs, ext::VALIDATION, by_parameter, &settings.validation)?;
        device.tell_changed();
        Ok(())
    }
}

/// Sets what a device has in place of a parameter, if the request says so. With the number
/// `by_parameter` the parameter holds again.
fn replace(attrs: &Attrs<'_, DEV_ATTRS>, ty: u16, by_parameter: u8, setting: &Override) -> Result {
    if let Some(number) = attrs.get::<u8>(ty)? {
        setting.set(Some(number).filter(|number| *number != by_parameter));
    }
    Ok(())
}

/// Binds the sockets of a device if the request says so. When this returns nothing leaves any more
/// but as they are bound. `ENODEV`: there is no such interface in the namespace of the sockets.
fn bind(
    device: &Device,
    config: &Config,
    attrs: &Attrs<'_, DEV_ATTRS>,
    extack: &ExtAck<'_>,
) -> Result {
    let before = device.sockets.binding();
    let mut binding = before;
    if let Some(v4) = attrs.get::<&[u8; 4]>(ext::LOCAL_IPV4)? {
        binding.v4 = *v4;
    }
    if let Some(v6) = attrs.get::<&[u8; 16]>(ext::LOCAL_IPV6)? {
        binding.v6 = *v6;
    }
    if let Some(ifindex) = attrs.get::<u32>(ext::BIND_IFINDEX)? {
        binding.ifindex = ifindex;
    }
    if binding == before {
        return Ok(());
    }
    let net = may_use_sockets(
        device,
        extack,
        c"binding takes CAP_NET_ADMIN where the interface was created",
    )?;
    if let Some(attr) = attrs.attr(ext::BIND_IFINDEX) {
        if binding.ifindex != 0 && !net.has_ifindex(binding.ifindex) {
            return Err(extack.err_attr(
                ENODEV,
                &attr,
                c"there is no such interface where the sockets are",
            ));
        }
    }
    device
        .sockets
        .bind(&binding)
        .map_err(|errno| extack.err(errno, c"no memory for a binding"))?;
    clear_sources(config);
    // For those who have just taken a route that was cached.
    rcu::synchronize_net();
    Ok(())
}

/// `peer-set`.
pub(super) struct SetPeer;

impl DoOp for SetPeer {
    const CMD: u8 = cmd::PEER_SET;
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
        let nest = attrs.attr(ext::PEER).ok_or_else(|| {
            extack.err_missing(EINVAL, None, ext::PEER, c"a peer has to be given")
        })?;
        let attrs = nest.nested::<PEER_ATTRS>(extack)?;
        let peer = find_peer(&device, &nest, &attrs, extack)?;
        let wanted = Wanted::read(&peer, &nest, &attrs, extack)?;

        config.changed();
        wanted.apply(&peer, running);
        peer.tell_config(Change::PeerChanged);
        Ok(())
    }
}

/// The peer that a request is about. `EINVAL`: no key is given; `ENOENT`: there is no such peer.
fn find_peer(
    device: &Device,
    nest: &Attr<'_>,
    attrs: &Attrs<'_, PEER_ATTRS>,
    extack: &ExtAck<'_>,
) -> Result<Arc<Peer>> {
    let Some(key) = attrs.get::<&[u8; NOISE_PUBLIC_KEY_LEN]>(attr::PUBLIC_KEY)? else {
        return Err(extack.err_missing(
            EINVAL,
            Some(nest),
            attr::PUBLIC_KEY,
            c"a peer has to have a public key",
        ));
    };
    let guard = rcu::Guard::new();
    let found = device.peers_by_key.lookup(key, &guard).cloned();
    found.ok_or_else(|| extack.err_attr(ENOENT, nest, c"the interface has no such peer"))
}

/// Reads an endpoint. `EINVAL`: it is neither a `struct sockaddr_in` nor a `struct sockaddr_in6`.
fn endpoint(attr: &Attr<'_>, extack: &ExtAck<'_>) -> Result<Endpoint> {
    Endpoint::from_sockaddr(attr.payload()).ok_or_else(|| {
        extack.err_attr(
            EINVAL,
            attr,
            c"an endpoint is an address of IPv4 or of IPv6",
        )
    })
}

/// Reads the list of endpoints in a peer; `None` if there is none. An empty attribute stands for no
/// endpoint, so that a list can be emptied.
fn endpoints(nest: &Attr<'_>, extack: &ExtAck<'_>) -> Result<Option<Endpoints>> {
    let mut list = None;
    for attr in nest.elements().filter(|it| it.ty() == attr::ENDPOINTS) {
        let list = list.get_or_insert(Endpoints::none());
        if attr.payload().is_empty() {
            continue;
        }
        list.push(endpoint(&attr, extack)?).map_err(|errno| {
            let message = if errno == EEXIST {
                c"an endpoint is listed twice"
            } else {
                c"a peer has at most eight endpoints"
            };
            extack.err_attr(errno, &attr, message)
        })?;
    }
    Ok(list)
}

/// What is to be set of a peer; `None` leaves it as it is.
struct Wanted {
    /// The settings that are to take the place of the present ones.
    settings: RcuArc<Settings>,
    disabled: Option<bool>,
    require_preshared_key: Option<bool>,
    seal: bool,
    pinned: Option<bool>,
    endpoint: Option<Endpoint>,
}

impl Wanted {
    /// Reads a request, and makes what takes memory.
    fn read(
        peer: &Peer,
        nest: &Attr<'_>,
        attrs: &Attrs<'_, PEER_ATTRS>,
        extack: &ExtAck<'_>,
    ) -> Result<Self> {
        let mut settings = match peer.settings.get() {
            Some(settings) => (*settings).clone(),
            None => Settings::new(),
        };
        if let Some(label) = attrs.attr(attr::LABEL) {
            settings.label = Label::new(label.payload()).ok_or_else(|| {
                extack.err_attr(EINVAL, &label, c"a label has no byte that is zero")
            })?;
        }
        let mut to = match attrs.attr(attr::ENDPOINT) {
            Some(attr) => Some(endpoint(&attr, extack)?),
            None => None,
        };
        if let Some(list) = endpoints(nest, extack)? {
            settings.endpoints = list;
            let is_there = list.iter().any(|place| peer.endpoint.is_at(place));
            if to.is_none() && !is_there {
                to = list.iter().next().copied();
            }
        }
        let pinned = flag(attrs, attr::PINNED)?;
        let has_endpoint = to.is_some() || peer.endpoint.has_primary();
        if let (Some(true), Some(attr), false) = (pinned, attrs.attr(attr::PINNED), has_endpoint) {
            return Err(extack.err_attr(
                EDESTADDRREQ,
                &attr,
                c"the peer has no endpoint that could be pinned",
            ));
        }
        // Counters that only the settings have can move from here on.
        let settings = RcuArc::new(settings, GFP_KERNEL)
            .map_err(|errno| extack.err(errno, c"no memory for the settings of a peer"))?;
        Ok(Self {
            settings,
            disabled: flag(attrs, attr::DISABLED)?,
            require_preshared_key: flag(attrs, attr::REQUIRE_PRESHARED_KEY)?,
            seal: seals(attrs, attr::SEALED, peer.is_sealed(), extack)?,
            pinned,
            endpoint: to,
        })
    }

    /// Sets it. `running`: the device is up.
    fn apply(self, peer: &Arc<Peer>, running: bool) {
        drop(peer.settings.replace(Some(self.settings)));
        if self.seal {
            peer.seal();
        }
        let elsewhere = self.endpoint.is_some_and(|to| !peer.endpoint.is_at(&to));
        if let Some(to) = &self.endpoint {
            // Also where it is already: there may be a candidate.
            peer.endpoint.configure(to);
        }
        if let Some(pinned) = self.pinned {
            // An endpoint that is there does not go.
            let _ = peer.endpoint.pin(pinned);
        }
        if let Some(requires) = self.require_preshared_key {
            if requires != peer.requires_preshared_key() {
                peer.require_preshared_key(requires);
            }
        }
        match self.disabled {
            Some(true) if !peer.is_disabled() => peer.disable(),
            Some(false) if peer.is_disabled() => peer.enable(running),
            _ => {}
        }
        if elsewhere && running {
            peer.begin_now();
        }
    }
}
