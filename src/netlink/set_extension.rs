// SPDX-License-Identifier: GPL-2.0

//! `dev-set` and `peer-set` of the family `wireguard_ext`: what the family `wireguard` cannot set
//! of a device or of a peer.
//!
//! A request is read as a whole before anything is changed: one that is refused changes nothing.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::attributes::lookup_interface;
use crate::{
    extension::{
        cmd,
        ext,
        peer as attr,
        Change,
        Validation, //
    },
    linux::{
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
    protocol::messages::NOISE_PUBLIC_KEY_LEN,
    state::{
        device::Device,
        peer::Peer,
        settings::{
            Label,
            Settings, //
        }, //
    },
};

/// The longest name of an interface, in bytes.
const IFNAME_LEN: u16 = 15;
/// Number of the attribute types of `dev-set`, 0 included.
const DEV_ATTRS: usize = ext::VALIDATION as usize + 1;
/// Number of the attribute types of `peer-set`, 0 included.
const SET_ATTRS: usize = ext::PEER as usize + 1;
/// Number of the attribute types of a peer in it, 0 included.
const PEER_ATTRS: usize = attr::PINNED as usize + 1;

static DEV_POLICY: Policy<DEV_ATTRS> = Policy::new(&[
    (ext::IFINDEX, Rule::u32()),
    (ext::IFNAME, Rule::nul_string(IFNAME_LEN)),
    (ext::SEALED, Rule::u8_up_to(1)),
    (ext::VALIDATION, Rule::u8_up_to(Validation::Parameter as u8)),
]);

static PEER_POLICY: Policy<PEER_ATTRS> = Policy::new(&[
    (
        attr::PUBLIC_KEY,
        Rule::exact_len(NOISE_PUBLIC_KEY_LEN as u16), //
    ),
    (attr::LABEL, Rule::max_len(Label::MAX_LEN as u16)),
    (attr::DISABLED, Rule::u8_up_to(1)),
    (attr::REQUIRE_PRESHARED_KEY, Rule::u8_up_to(1)),
    (attr::SEALED, Rule::u8_up_to(1)),
    (attr::PINNED, Rule::u8_up_to(1)),
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
        let seal = seals(&attrs, ext::SEALED, device.is_sealed(), request.extack())?;

        config.generation = config.generation.wrapping_add(1).max(1);
        if seal {
            device.seal();
        }
        if let Some(number) = attrs.get::<u8>(ext::VALIDATION)? {
            device.set_validation(Some(number).filter(|it| *it != Validation::Parameter as u8));
        }
        device.tell_changed();
        Ok(())
    }
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
        let running = {
            let guard = rcu::Guard::new();
            device
                .netdev
                .get(&guard)
                .is_some_and(|netdev| netdev.is_running())
        };
        let mut config = device.update.lock();
        let nest = attrs.attr(ext::PEER).ok_or_else(|| {
            extack.err_missing(EINVAL, None, ext::PEER, c"a peer has to be given")
        })?;
        let attrs = nest.nested::<PEER_ATTRS>(extack)?;
        let peer = find_peer(&device, &nest, &attrs, extack)?;
        let wanted = Wanted::read(&peer, &attrs, extack)?;

        config.generation = config.generation.wrapping_add(1).max(1);
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

/// What is to be set of a peer; `None` leaves it as it is.
struct Wanted {
    /// The settings that are to take the place of the present ones.
    settings: RcuArc<Settings>,
    disabled: Option<bool>,
    require_preshared_key: Option<bool>,
    seal: bool,
    pinned: Option<bool>,
}

impl Wanted {
    /// Reads a request, and makes what takes memory.
    fn read(peer: &Peer, attrs: &Attrs<'_, PEER_ATTRS>, extack: &ExtAck<'_>) -> Result<Self> {
        let mut settings = match peer.settings.get() {
            Some(settings) => (*settings).clone(),
            None => Settings::new(),
        };
        if let Some(label) = attrs.attr(attr::LABEL) {
            settings.label = Label::new(label.payload()).ok_or_else(|| {
                extack.err_attr(EINVAL, &label, c"a label has no byte that is zero")
            })?;
        }
        let pinned = flag(attrs, attr::PINNED)?;
        if let (Some(true), Some(attr), false) = (
            pinned,
            attrs.attr(attr::PINNED),
            peer.endpoint.has_primary(),
        ) {
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
        })
    }

    /// Sets it. `running`: the device is up.
    fn apply(self, peer: &Arc<Peer>, running: bool) {
        drop(peer.settings.replace(Some(self.settings)));
        if self.seal {
            peer.seal();
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
    }
}
