// SPDX-License-Identifier: GPL-2.0

//! Steering: what an administrator can ask of a peer beyond the family `wireguard`.
//!
//! A peer that may be sent nothing is *barred*: its endpoint looks as if none were known, so that
//! the check of each packet for an endpoint finds out. [`Peer::bar`] says why.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    events::Event,
    linux::{
        compat::code::{
            EDESTADDRREQ,
            ENOKEY, //
        },
        crypto::Secret,
        rcu, //
    },
    protocol::noise,
    socket::Endpoint,
    state::peer::Peer, //
};

impl Peer {
    /// Why there may be no handshake with the peer now; `None` if there may be one. To be called
    /// with the handshake locked.
    pub(crate) fn bar(&self, handshake: &noise::Handshake) -> Option<Event> {
        if self.is_disabled() {
            Some(Event::PeerDisabled)
        } else if self.requires_preshared_key() && handshake.preshared_key().is_zero() {
            Some(Event::NoPresharedKey)
        } else {
            None
        }
    }

    /// Whether [`Peer::bar`] has a reason to refuse a handshake message that is the peer's and came
    /// from `from`. It is counted and told then.
    pub(crate) fn refuses(&self, handshake: &noise::Handshake, from: &Endpoint) -> bool {
        let bar = self.bar(handshake);
        if let Some(event) = bar {
            self.refused(event, 1, Some(from));
        }
        bar.is_some()
    }

    /// Why a packet to the peer is refused, for which no endpoint seems to be known, and the error
    /// for its sender.
    #[cold]
    pub(crate) fn refusal(&self) -> (Event, Error) {
        if self.is_disabled() {
            (Event::PeerDisabled, EACCES)
        } else if self.requires_preshared_key() && self.endpoint.get().is_some() {
            (Event::NoPresharedKey, ENOKEY)
        } else {
            (Event::NoEndpoint, EDESTADDRREQ)
        }
    }

    /// Changes something on which [`Peer::bar`] depends. If the peer is barred then, its sessions
    /// and the packets that wait go. Process context.
    fn change_bar(&self, change: impl FnOnce(&mut noise::Handshake)) {
        let barred = {
            let mut handshake = self.handshake.lock();
            change(&mut handshake.noise);
            let barred = self.bar(&handshake.noise).is_some();
            self.endpoint.set_barred(barred);
            barred
        };
        if barred {
            // No session comes after these: the bar is looked at under the lock of the handshake.
            self.clear_handshake();
            self.keypairs.clear(&self.device.index_table);
            self.purge_staged_packets();
        }
    }

    /// Sets the preshared key for the handshakes from now on. Process context.
    pub(crate) fn set_preshared_key(&self, key: &Secret<32>) {
        self.change_bar(|handshake| handshake.set_preshared_key(key));
    }

    /// Has the peer require a preshared key, or not. The sessions go if it does: they may have been
    /// made without one. Process context.
    pub(crate) fn require_preshared_key(&self, requires: bool) {
        self.change_bar(|_| self.set_requires_preshared_key(requires));
        if requires {
            self.clear_handshake();
            self.keypairs.clear(&self.device.index_table);
            self.reset_last_sent_handshake();
        }
    }

    /// Disables the peer: when this returns nothing more is sent to it, nothing of it is taken, and
    /// its sessions are gone. Process context; it sleeps for a grace period.
    pub(crate) fn disable(self: &Arc<Self>) {
        self.change_bar(|_| self.set_disabled(true));
        // As for a peer that is removed: from here on nothing begins.
        rcu::synchronize_net();
        self.stop();
    }

    /// Ends that. `running`: the device is up. Process context.
    pub(crate) fn enable(self: &Arc<Self>, running: bool) {
        self.change_bar(|_| self.set_disabled(false));
        if running && self.persistent_keepalive_interval() != 0 {
            self.send_keepalive();
        }
    }

    /// Begins a handshake, whenever the last handshake message was sent. Any context.
    pub(crate) fn begin_now(self: &Arc<Self>) {
        self.reset_last_sent_handshake();
        self.send_queued_handshake_initiation(false);
    }

    /// A handshake was not answered: has the next one go to the next endpoint of the peer's list,
    /// if there is one and the peer is not heard from where it is. Any context.
    pub(crate) fn try_next_endpoint(&self) {
        let guard = rcu::Guard::new();
        let Some(settings) = self.settings.load(&guard) else {
            return;
        };
        if self.endpoint.is_silent() && self.endpoint.try_instead(|at| settings.endpoints.after(at))
        {
            self.count(Event::EndpointUnanswered, 1);
        }
    }
}
