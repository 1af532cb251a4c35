// SPDX-License-Identifier: GPL-2.0

//! Handshakes of peers. They join [`protocol::noise`](crate::protocol::noise) to the tables of a
//! device.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    debug::{
        dev_dbg_ratelimited, //
    },
    linux::{
        crypto::Secret,
        ktime, random,
        rcu::{
            Guard,
            RcuPtr, //
        },
    },
    machine::{
        self,
        Era, //
    },
    protocol::{
        identity::StaticIdentity,
        messages::{
            HandshakeInitiation,
            HandshakeResponse, //
        },
        noise,
        tai64n::Tai64n, //
    },
    state::{
        device::Device,
        handshake::HandshakeState,
        peer::{
            IndexEntry,
            Keypair,
            Peer, //
        }, //
    },
};

impl HandshakeState {
    fn drop_index(&mut self, device: &Device) {
        if let Some(index) = self.index.take() {
            device
                .index_table
                .remove_if(index, |entry| entry.keypair.is_none());
        }
    }

    /// Whether the secrets that this side has drawn for the handshake may be used: no other machine
    /// has them, and none will.
    fn may_become_session(&self) -> bool {
        self.era.lasts() && machine::is_awake()
    }

    /// Forgets the handshake.
    fn clear(&mut self, device: &Device) {
        self.drop_index(device);
        self.noise.clear();
    }

    /// Takes a new index for the peer, for keys whose secrets are drawn from here on.
    ///
    /// `ENOENT`: the peer is being removed, or the device is down. `ENOMEM`: there is no room for
    /// an index right now. `EAGAIN`: the machine is about to sleep.
    fn new_index(&mut self, peer: &Arc<Peer>) -> Result<u32> {
        self.drop_index(&peer.device);
        // After `is_awake()` has changed, all handshakes and keypairs are cleared, under the lock
        // that is held here: a handshake that still sees `true` is among them.
        if !machine::is_awake() {
            return Err(EAGAIN);
        }
        self.era = Era::now();
        // Once the peer is dead or its device down, nothing gives back an index that is taken, nor
        // the index's reference to the peer. An index that is taken before goes with the handshake:
        // clearing that needs the lock that is held here.
        if !peer.may_begin(&Guard::new()) {
            return Err(ENOENT);
        }
        let entry = IndexEntry {
            peer: peer.clone(),
            keypair: RcuPtr::none(),
        };
        let index = peer
            .device
            .index_table
            .insert_random(entry, GFP_KERNEL)
            .map_err(|_| ENOMEM)?;
        self.index = Some(index);
        Ok(index)
    }
}

impl Peer {
    /// Forgets the handshake under way. Process context.
    pub(crate) fn clear_handshake(&self) {
        self.handshake.lock().clear(&self.device);
    }

    /// Begins anew: clears the handshake, ends sending with the present keypairs, and lets the next
    /// initiation be sent immediately.
    pub(crate) fn expire_current_keypairs(&self) {
        self.clear_handshake();
        self.reset_last_sent_handshake();
        self.keypairs.expire();
    }

    /// Makes the first message of a handshake. Process context.
    ///
    /// `ENOMEM`: there was no memory. `EAGAIN`: the machine is about to sleep. Both may pass by
    /// themselves; other errors do not.
    pub(crate) fn create_initiation(self: &Arc<Self>) -> Result<HandshakeInitiation> {
        // Before the lock is taken: it may have to wait.
        random::wait_for_random_bytes()?;
        let mut handshake = self.handshake.lock();
        let identity = self.device.identity.get().ok_or(EINVAL)?;
        identity.public_key().ok_or(EINVAL)?;
        let index = handshake.new_index(self)?;
        let (seconds, nanoseconds) = ktime::real();
        let message = handshake.noise.create_initiation(
            &identity,
            Tai64n::from_unix(seconds, nanoseconds),
            index,
        );
        if message.is_none() {
            handshake.drop_index(&self.device);
        }
        message.ok_or(EINVAL)
    }

    /// Reads the first message of a handshake and returns the peer that sent it. Process context.
    pub(crate) fn consume_initiation(
        device: &Device,
        message: &HandshakeInitiation,
    ) -> Option<Arc<Peer>> {
        let identity = device.identity.get()?;
        let mut opened = noise::OpenedInitiation::new(message);
        let peer = {
            let public_key = opened.open(&identity)?;
            let guard = Guard::new();
            device
                .peers_by_key
                .lookup(public_key.as_bytes(), &guard)?
                .clone()
        };
        let now_ns = ktime::coarse_boottime_ns();
        let mut handshake = peer.handshake.lock();
        // The handshakes are cleared after the identity has changed, the device has gone down or
        // the machine is about to sleep: this handshake would come too late for that.
        if !device.identity.holds(&identity)
            || !machine::is_awake()
            || !peer.may_begin(&Guard::new())
        {
            return None;
        }
        handshake
            .noise
            .consume_initiation(&mut opened, now_ns)
            .ok()?;
        drop(handshake);
        Some(peer)
    }

    /// Makes the answer to the first message. Process context.
    pub(crate) fn create_response(self: &Arc<Self>) -> Option<HandshakeResponse> {
        random::wait_for_random_bytes().ok()?;
        let mut handshake = self.handshake.lock();
        let index = handshake.new_index(self).ok()?;
        let message = handshake.noise.create_response(index);
        if message.is_none() {
            handshake.drop_index(&self.device);
        }
        message
    }

    /// Reads the answer to the first message and returns the peer that sent it. Process context.
    pub(crate) fn consume_response(
        device: &Device,
        message: &HandshakeResponse,
    ) -> Option<Arc<Peer>> {
        let peer = {
            let guard = Guard::new();
            let entry = device
                .index_table
                .lookup(message.receiver_index.get(), &guard)?;
            if !entry.keypair.is_none() {
                return None;
            }
            entry.peer.clone()
        };
        let mut handshake = peer.handshake.lock();
        // The peer may have taken another index since.
        if handshake.index != Some(message.receiver_index.get()) {
            return None;
        }
        if !handshake.may_become_session() {
            handshake.clear(device);
            return None;
        }
        let identity = device.identity.get()?;
        let valid = handshake.noise.consume_response(&identity, message);
        drop(handshake);
        valid.then_some(peer)
    }

    /// Derives the keypair of a finished handshake and installs it. Returns whether that was
    /// possible. Process context.
    pub(crate) fn begin_session(self: &Arc<Self>) -> bool {
        let mut handshake = self.handshake.lock();
        let Some(index) = handshake.index else {
            return false;
        };
        if !handshake.may_become_session() {
            handshake.clear(&self.device);
            return false;
        }
        let now_ns = ktime::coarse_boottime_ns();
        let era = handshake.era;
        let Ok(keypair) = Keypair::new(self, index, era, &mut handshake.noise, now_ns) else {
            return false;
        };
        // From here on the index belongs to the keypair.
        handshake.index = None;

        let guard = Guard::new();
        // A peer that is being removed, or whose device is down, gets no new keypairs. The thread
        // that removes the peer or takes the device down waits for this guard before it clears the
        // keypairs.
        if !self.may_begin(&guard) {
            self.device
                .index_table
                .remove_if(index, |entry| entry.keypair.is_none());
            return false;
        }
        let Some(entry) = self.device.index_table.lookup(index, &guard) else {
            return false;
        };
        entry.keypair.replace(Some(keypair.clone()));
        dev_dbg_ratelimited!(
            self.device,
            "Keypair {} created for peer {}\n",
            keypair.id,
            self.id
        );
        self.keypairs.insert(&self.device.index_table, keypair);
        true
    }

    /// Begins anew with the new keys of the device. Process context.
    pub(crate) fn change_identity(&self, identity: &StaticIdentity) {
        {
            // Under one lock, so that no handshake is begun with keys that do not belong together.
            let mut handshake = self.handshake.lock();
            handshake.noise.precompute_static_static(identity);
            handshake.clear(&self.device);
        }
        self.reset_last_sent_handshake();
        self.keypairs.expire();
    }

    /// Computes the shared secret of both sides' static keys anew. Process context.
    pub(crate) fn precompute_static_static(&self, identity: &StaticIdentity) {
        self.handshake
            .lock()
            .noise
            .precompute_static_static(identity);
    }

    /// Sets the preshared key for the handshakes from now on. Process context.
    pub(crate) fn set_preshared_key(&self, key: &Secret<32>) {
        self.handshake.lock().noise.set_preshared_key(key);
    }
}
