// SPDX-License-Identifier: GPL-2.0

//! Handshakes of peers. They join [`protocol::noise`](crate::protocol::noise) to the tables of a
//! device.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    events::Event,
    linux::{
        compat::code::ENOKEY,
        ktime, random,
        rcu::{
            Guard,
            RcuArc,
            RcuPtr, //
        },
    },
    machine::{
        self,
        Era, //
    },
    protocol::{
        identity::StaticIdentity,
        keypairs::Ordered,
        messages::{
            HandshakeInitiation,
            HandshakeResponse, //
        },
        moving::Attempt,
        noise,
        tai64n::Tai64n, //
    },
    socket::{
        Endpoint,
        Proof, //
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

/// An initiation that is to be sent.
pub(crate) struct Initiation {
    /// The message, without its MACs.
    pub(crate) message: HandshakeInitiation,
    /// Where to send it, and only there; `None` if no endpoint is known.
    pub(crate) to: Option<Endpoint>,
    /// Whether it probes an endpoint at which the peer may not be.
    pub(crate) is_probe: bool,
}

impl HandshakeState {
    /// Forgets the pending initiation.
    fn clear(&mut self, device: &Device) {
        if let Some(index) = self.noise.pending_index() {
            free_index(device, index);
        }
        self.sent_to = None;
        self.noise.clear();
    }

    /// Takes a new index for the peer.
    ///
    /// `ENOENT`: the peer is being removed, or the device is down. `ENOMEM`: there is no room for
    /// an index right now. `EAGAIN`: the machine is about to sleep.
    fn new_index(&self, peer: &Arc<Peer>) -> Result<u32> {
        // After `is_awake()` has changed, all handshakes and keypairs are cleared, under the lock
        // that is held here: a handshake that still sees `true` is among them.
        if !machine::is_awake() {
            return Err(EAGAIN);
        }
        // Once the peer is dead or its device down, nothing gives back an index that is taken, nor
        // the index's reference to the peer. An index that is taken before goes with the handshake
        // or the keypair: clearing them comes after a wait for the lock that is held here.
        if !peer.may_begin(&Guard::new()) {
            return Err(ENOENT);
        }
        let entry = IndexEntry {
            peer: peer.clone(),
            keypair: RcuPtr::none(),
        };
        peer.device
            .index_table
            .insert_random(entry, GFP_KERNEL)
            .map_err(|_| ENOMEM)
    }
}

/// The event of an initiation that is not taken.
fn refusal(error: noise::InitiationError) -> Event {
    match error {
        noise::InitiationError::Invalid => Event::InitiationNotAuthentic,
        noise::InitiationError::Replay => Event::InitiationOldTimestamp,
        noise::InitiationError::Flood => Event::InitiationTooSoon,
    }
}

/// Counts that there was no memory for an answer, if that is what `error` says.
fn count_no_memory(peer: &Peer, error: &Error) {
    if *error == ENOMEM {
        peer.count(Event::NoMemory, 1);
    }
}

/// The peer that an initiation claims to be from.
fn claimed_sender(
    device: &Device,
    opened: &mut noise::OpenedInitiation<'_>,
    endpoint: &Endpoint,
) -> Option<Arc<Peer>> {
    let Some(public_key) = opened.open() else {
        device.refused(Event::InitiationUnreadable, 1, Some(endpoint));
        return None;
    };
    let guard = Guard::new();
    let peer = device.peers_by_key.lookup(public_key.as_bytes(), &guard);
    if peer.is_none() {
        device.refused(Event::UnknownKey, 1, Some(endpoint));
    }
    peer.cloned()
}

/// The peer whose initiation a response claims to answer.
fn awaiting_peer(
    device: &Device,
    message: &HandshakeResponse,
    endpoint: &Endpoint,
) -> Option<Arc<Peer>> {
    let guard = Guard::new();
    let index = message.receiver_index.get();
    let Some(entry) = device.index_table.lookup(index, &guard) else {
        device.refused(Event::ResponseUnknown, 1, Some(endpoint));
        return None;
    };
    if !entry.keypair.is_none() {
        entry
            .peer
            .refused(Event::ResponseNotAwaited, 1, Some(endpoint));
        return None;
    }
    Some(entry.peer.clone())
}

/// Gives back an index that has no keypair.
fn free_index(device: &Device, index: u32) {
    device
        .index_table
        .remove_if(index, |entry| entry.keypair.is_none());
}

impl Peer {
    /// Forgets the pending initiation. Process context.
    pub(crate) fn clear_handshake(&self) {
        self.handshake.lock().clear(&self.device);
    }

    /// Begins anew: forgets the pending initiation, ends sending with the present keypairs, and
    /// lets the next initiation be sent immediately.
    pub(crate) fn expire_current_keypairs(&self) {
        self.begin_anew(|_| {});
    }

    /// As [`Peer::expire_current_keypairs`], after `change`.
    fn begin_anew(&self, change: impl FnOnce(&mut noise::Handshake)) {
        {
            // Under one lock: a session that is made after the change is not among those that
            // expire.
            let mut handshake = self.handshake.lock();
            change(&mut handshake.noise);
            handshake.clear(&self.device);
            self.keypairs.expire();
        }
        self.reset_last_sent_handshake();
    }

    /// Makes the first message of a handshake. Process context.
    ///
    /// `EBUSY`: a handshake message was sent lately, or no handshake is wanted and no probe is due
    /// any more. `ENOMEM`: there was no memory. `EAGAIN`: the machine is about to sleep. All three
    /// may pass by themselves; other errors do not. `ENOKEY`: see [`Event::NoPresharedKey`].
    pub(crate) fn create_initiation(self: &Arc<Self>) -> Result<Initiation> {
        // Before the lock is taken: it may have to wait.
        random::wait_for_random_bytes()?;
        let mut handshake = self.handshake.lock();
        if !machine::is_awake() {
            // Before it counts as sent: it is made up for when the machine is awake.
            return Err(EAGAIN);
        }
        // Under the lock, under which answers are made, too: an initiation that leaves right after
        // an answer may arrive before it. Both sides would then elect different sessions.
        let wanted = self.timers.state.handshake_wanted();
        let last_sent_ns = self.last_sent_handshake_ns();
        let (to, is_probe) = match self.endpoint.begin(wanted, last_sent_ns) {
            Attempt::Ordinary(endpoint) => (endpoint, false),
            Attempt::Probe(endpoint) => (Some(endpoint), true),
            Attempt::NotNow => return Err(EBUSY),
        };
        self.handshake_is_sent();
        if self.bar(&handshake.noise) == Some(Event::NoPresharedKey) {
            return Err(ENOKEY);
        }
        let identity = self.device.identity.get().ok_or(EINVAL)?;
        identity.public_key().ok_or(EINVAL)?;
        // Before the secrets are drawn.
        let era = Era::now();
        let index = handshake.new_index(self)?;
        // Nothing but the new initiation may end the pending one, so that one goes only now.
        handshake.clear(&self.device);
        let (seconds, nanoseconds) = ktime::real();
        let message = handshake.noise.create_initiation(
            &identity,
            Tai64n::from_unix(seconds, nanoseconds),
            index,
        );
        if message.is_none() {
            free_index(&self.device, index);
        }
        handshake.era = era;
        handshake.sent_to = to;
        Ok(Initiation {
            message: message.ok_or(EINVAL)?,
            to,
            is_probe,
        })
    }

    /// Reads the first message of a handshake, which came from `endpoint`. Returns the peer that
    /// sent it and the answer to it, which is to be sent there. The session that the answer begins
    /// waits for the peer's first message. Process context.
    ///
    /// Until the message is known to be the peer's, only copies of secrets are worked on, and the
    /// lock of the handshake is held for no longer than copying takes.
    pub(crate) fn consume_initiation(
        device: &Device,
        message: &HandshakeInitiation,
        endpoint: &Endpoint,
    ) -> Option<(Arc<Peer>, HandshakeResponse)> {
        let identity = device.identity.get()?;
        let mut opened = noise::OpenedInitiation::new(message, &identity);
        let peer = claimed_sender(device, &mut opened, endpoint)?;
        peer.handshake.lock().noise.lend_static_static(&mut opened);
        if !opened.authenticate() {
            peer.refused(Event::InitiationNotAuthentic, 1, Some(endpoint));
            return None;
        }
        random::wait_for_random_bytes().ok()?;

        let mut handshake = peer.handshake.lock();
        // After a change of the identity the keypairs stop sending: this one would come too late
        // for that.
        if !device.identity.holds(&identity) || peer.refuses(&handshake.noise, endpoint) {
            return None;
        }
        let now_ns = ktime::coarse_boottime_ns();
        if let Err(error) = handshake.noise.check_initiation(&opened, now_ns) {
            peer.refused(refusal(error), 1, Some(endpoint));
            return None;
        }
        // Before the secrets are drawn.
        let era = Era::now();
        let index = handshake
            .new_index(&peer)
            .inspect_err(|error| count_no_memory(&peer, error))
            .ok()?;
        let mut finished = noise::Finished::zeroed();
        let answer = handshake
            .noise
            .answer(&mut opened, index, now_ns, &mut finished);
        // No other machine may have the secrets that were just drawn.
        let keypair = answer.ok().filter(|_| era.lasts()).and_then(|response| {
            let keypair = Keypair::new(&peer, index, era, &mut finished, now_ns).ok()?;
            Some((response, keypair))
        });
        let Some((response, keypair)) = keypair else {
            free_index(device, index);
            return None;
        };
        let installed = peer.install(keypair, |keypair| {
            peer.heard(endpoint, None, true, size_of_val(message));
            // Before the session can begin: its first message shows that the peer receives there.
            peer.endpoint
                .answers(endpoint, keypair.order(), size_of_val(&response));
            peer.keypairs.insert(&device.index_table, keypair, false);
        });
        if installed {
            // Under the lock: see `create_initiation()`.
            peer.handshake_is_sent();
        }
        drop(handshake);
        installed.then_some((peer, response))
    }

    /// Reads the answer to the pending initiation, which came from `endpoint`. Returns the peer
    /// that sent it, and whether a session has begun. Process context.
    ///
    /// As in [`Peer::consume_initiation`], only copies are worked on before the message is known to
    /// be the peer's.
    pub(crate) fn consume_response(
        device: &Device,
        message: &HandshakeResponse,
        endpoint: &Endpoint,
    ) -> Option<(Arc<Peer>, bool)> {
        let peer = awaiting_peer(device, message, endpoint)?;
        let identity = device.identity.get()?;
        let mut opened = noise::OpenedResponse::new(message);
        if !peer.handshake.lock().noise.lend_pending(&mut opened) {
            peer.refused(Event::ResponseNotAwaited, 1, Some(endpoint));
            return None;
        }
        if !opened.authenticate(&identity) {
            peer.refused(Event::ResponseNotAuthentic, 1, Some(endpoint));
            return None;
        }

        let mut handshake = peer.handshake.lock();
        // No other machine may have the secrets that this side has drawn, and none ever.
        if !handshake.era.lasts() || !machine::is_awake() {
            handshake.clear(device);
            return None;
        }
        if peer.refuses(&handshake.noise, endpoint) {
            return None;
        }
        let mut finished = noise::Finished::zeroed();
        let sent_to = handshake.sent_to;
        // The peer may have another pending initiation by now, or none.
        if !handshake.noise.take_response(&opened, &mut finished) {
            return None;
        }
        peer.record.responded(ktime::monotonic_ns());
        // From here on the index belongs to the keypair.
        let index = message.receiver_index.get();
        let now_ns = ktime::coarse_boottime_ns();
        let keypair = match Keypair::new(&peer, index, handshake.era, &mut finished, now_ns) {
            Ok(keypair) if !peer.keypairs.have_overtaken(keypair.order()) => keypair,
            _ => {
                free_index(device, index);
                drop(handshake);
                return Some((peer, false));
            }
        };
        let wins = handshake.noise.wins_crossing(&identity);
        let installed = peer.install(keypair, |keypair| {
            // Before the session is used: its first message goes there.
            let proof = sent_to.as_ref().map(Proof::Response);
            peer.heard(endpoint, proof, true, size_of_val(message));
            peer.keypairs.insert(&device.index_table, keypair, wins);
        });
        drop(handshake);
        Some((peer, installed))
    }

    /// Notes a valid cookie reply to the initiation with the index `receiver`. Process context.
    pub(crate) fn cookie_received(&self, receiver: u32) {
        let handshake = self.handshake.lock();
        if let (Some(index), Some(sent_to)) = (handshake.noise.pending_index(), handshake.sent_to) {
            if index == receiver {
                self.endpoint.cookie_received(&sent_to);
            }
        }
    }

    /// Has the index table name a new keypair, and calls `insert` to give the keypair a slot.
    /// Returns whether that was possible. Process context, with the handshake locked.
    fn install(&self, keypair: RcuArc<Keypair>, insert: impl FnOnce(RcuArc<Keypair>)) -> bool {
        let index = keypair.index;
        let guard = Guard::new();
        // A peer that is being removed, or whose device is down, gets no new keypairs. The thread
        // that removes the peer or takes the device down waits for this guard before it clears the
        // keypairs.
        if !self.may_begin(&guard) {
            free_index(&self.device, index);
            return false;
        }
        let Some(entry) = self.device.index_table.lookup(index, &guard) else {
            return false;
        };
        entry.keypair.replace(Some(keypair.clone()));
        insert(keypair);
        true
    }

    /// Begins anew with the new keys of the device. Process context.
    pub(crate) fn change_identity(&self, identity: &StaticIdentity) {
        self.begin_anew(|handshake| handshake.precompute_static_static(identity));
    }

    /// Computes the shared secret of both sides' static keys. Process context.
    pub(crate) fn precompute_static_static(&self, identity: &StaticIdentity) {
        self.handshake
            .lock()
            .noise
            .precompute_static_static(identity);
    }
}
