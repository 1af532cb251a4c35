// SPDX-License-Identifier: GPL-2.0

//! Handshakes and keypairs of peers. They join [`protocol::noise`](crate::protocol::noise) to the
//! tables of a device.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
};

use crate::{
    debug::{
        dev_dbg_ratelimited, //
    },
    device::Device,
    linux::{
        crypto::Secret,
        ktime, random,
        rcu::{
            AtomicDrop,
            Guard,
            RcuArc,
            RcuPtr, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh,
            SpinLockBhGuard, //
        },
        wipe::Wiped,
    },
    machine::{
        self,
        Era, //
    },
    peer::Peer,
    protocol::{
        identity::{
            PublicKey,
            StaticIdentity, //
        },
        keypairs::{
            Ordered,
            Slots, //
        },
        messages::{
            HandshakeInitiation,
            HandshakeResponse, //
        },
        noise,
        replay::ReplayWindow,
        tai64n::Tai64n,
        timers::{
            key_has_expired,
            nonces_may_be_used, //
        },
    },
    socket::Endpoint, //
};

/// The number of the keypair that was made last.
static KEYPAIR_COUNTER: Atomic<i64> = Atomic::new(0);

/// The value of an index that a peer sends to.
pub(crate) struct IndexEntry {
    /// The peer that sends to the index.
    pub(crate) peer: Arc<Peer>,
    /// The keypair. `None` for as long as the handshake that asked for the index lasts, and again
    /// once the keypair has been retired.
    pub(crate) keypair: RcuPtr<Keypair>,
}

impl AtomicDrop for IndexEntry {}

/// The keys of one session of a peer.
#[pin_data]
pub(crate) struct Keypair {
    /// The number of the keypair in the log.
    pub(crate) id: u64,
    /// The index that the peer sends to.
    pub(crate) index: u32,
    /// The peer that shares the keys.
    pub(crate) peer: Arc<Peer>,
    /// The keys themselves.
    session: noise::Session,
    /// The era in which this side drew the secrets that the keys were made of.
    era: Era,
    sending_valid: Atomic<bool>,
    receiving_valid: Atomic<bool>,
    /// The counter of the next message to send.
    sending_counter: Atomic<i64>,
    /// Covers the counters of authentic messages.
    #[pin]
    replay: SpinLockBh<ReplayWindow>,
    _obituary: Obituary,
}

impl AtomicDrop for Keypair {}

impl Ordered for RcuArc<Keypair> {
    fn order(&self) -> u64 {
        self.session.order
    }
}

/// Logs the end of a keypair.
struct Obituary {
    id: u64,
    peer: Arc<Peer>,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        dev_dbg_ratelimited!(
            self.peer.device,
            "Keypair {} destroyed for peer {}\n",
            self.id,
            self.peer.id
        );
    }
}

impl Keypair {
    /// Derives the keypair of a handshake. `EINVAL` if the handshake is not finished, `ENOMEM` if
    /// there is no memory.
    fn new(
        peer: &Arc<Peer>,
        index: u32,
        era: Era,
        handshake: &mut noise::Finished,
        now_ns: u64,
    ) -> Result<RcuArc<Self>> {
        let id = KEYPAIR_COUNTER.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        let init = try_pin_init!(Self {
            id,
            index,
            peer: peer.clone(),
            session: noise::Session::zeroed(),
            era,
            sending_valid: Atomic::new(true),
            receiving_valid: Atomic::new(true),
            sending_counter: Atomic::new(0),
            replay <- new_spinlock_bh!(ReplayWindow::new(), "wireguard::Keypair::replay"),
            _obituary: Obituary {
                id: *id,
                peer: peer.clone(),
            },
        });
        // The keys are derived where they are to stay, so that no copy of them is left behind.
        let init = init.pin_chain(|keypair| {
            if handshake.begin_session(keypair.project().session, now_ns) {
                Ok(())
            } else {
                Err(EINVAL)
            }
        });
        RcuArc::pin_init::<Error>(init, GFP_KERNEL)
    }

    /// The key for messages that are sent.
    pub(crate) fn sending_key(&self) -> &[u8; 32] {
        self.session.sending.as_bytes()
    }

    /// The key for messages that are received.
    pub(crate) fn receiving_key(&self) -> &[u8; 32] {
        self.session.receiving.as_bytes()
    }

    /// The index to send to.
    pub(crate) fn remote_index(&self) -> u32 {
        self.session.remote_index
    }

    /// Whether this side began the handshake, and so is to begin the next one.
    pub(crate) fn i_am_the_initiator(&self) -> bool {
        self.session.i_am_the_initiator
    }

    /// When the keys were made: `ktime_get_coarse_boottime_ns()`.
    pub(crate) fn birthdate(&self) -> u64 {
        self.session.birthdate
    }

    /// The counter of the next message to send.
    pub(crate) fn sending_counter(&self) -> u64 {
        self.sending_counter.load(Relaxed) as u64
    }

    /// Whether messages may be sent with it, as far as is known: its age is not looked at.
    pub(crate) fn is_sending_valid(&self) -> bool {
        self.sending_valid.load(Relaxed) && self.era.lasts()
    }

    /// Ends sending with it.
    pub(crate) fn expire_sending(&self) {
        self.sending_valid.store(false, Relaxed);
    }

    /// Whether messages may be sent with it.
    pub(crate) fn may_send(&self, now_ns: u64) -> bool {
        self.is_sending_valid() && !key_has_expired(self.birthdate(), now_ns)
    }

    /// Reserves the counters of `n` messages and returns the first; `None` if the keypair must not
    /// be used for them.
    pub(crate) fn reserve(&self, n: u32, now_ns: u64) -> Option<u64> {
        if !self.is_sending_valid() {
            return None;
        }
        if !key_has_expired(self.birthdate(), now_ns) {
            // The limit is far enough from the wrap-around for all callers that reserve
            // concurrently.
            let first = self.sending_counter.fetch_add(i64::from(n), Relaxed) as u64;
            if nonces_may_be_used(first, n) {
                return Some(first);
            }
        }
        self.expire_sending();
        None
    }

    /// Whether messages may be received with it.
    pub(crate) fn may_receive(&self, now_ns: u64) -> bool {
        if !self.receiving_valid.load(Relaxed) {
            return false;
        }
        if key_has_expired(self.birthdate(), now_ns) {
            self.expire_receiving();
            return false;
        }
        true
    }

    /// Ends receiving with it.
    pub(crate) fn expire_receiving(&self) {
        self.receiving_valid.store(false, Relaxed);
    }

    /// The counters of authentic messages so far, with their lock held.
    pub(crate) fn replay(&self) -> SpinLockBhGuard<'_, ReplayWindow> {
        self.replay.lock()
    }
}

/// The keypairs of a peer.
#[pin_data]
pub(crate) struct Keypairs {
    /// Covers the slots, and changes of `current` and `next`.
    #[pin]
    slots: SpinLockBh<Slots<RcuArc<Keypair>>>,
    /// `slots.current`, for readers under RCU.
    current: RcuPtr<Keypair>,
    /// `slots.next`, likewise.
    next: RcuPtr<Keypair>,
}

impl Keypairs {
    /// No keypairs.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            slots <- new_spinlock_bh!(Slots::new(), "wireguard::Keypairs::slots"),
            current: RcuPtr::none(),
            next: RcuPtr::none(),
        })
    }

    /// The keypair to send with.
    pub(crate) fn current(&self) -> &RcuPtr<Keypair> {
        &self.current
    }

    /// Lets readers under RCU see the slots as they are now.
    fn publish(&self, slots: &Slots<RcuArc<Keypair>>) {
        self.current.replace(slots.current().cloned());
        self.next.replace(slots.next().cloned());
    }

    /// Forgets all keypairs.
    pub(crate) fn clear(&self, device: &Device) {
        let displaced = {
            let mut slots = self.slots.lock();
            let displaced = slots.clear();
            self.publish(&slots);
            displaced
        };
        retire(device, displaced);
    }

    /// Ends sending with the present keypairs.
    fn expire(&self) {
        let slots = self.slots.lock();
        for keypair in [slots.current(), slots.next()].into_iter().flatten() {
            keypair.expire_sending();
        }
    }

    /// Whether a response to an initiation of this order comes too late to begin a session.
    fn have_overtaken(&self, order: u64) -> bool {
        self.slots.lock().have_overtaken(order)
    }

    /// Takes in a keypair that a handshake has just made. `wins` says whether this side wins an
    /// election.
    fn insert(&self, device: &Device, keypair: RcuArc<Keypair>, wins: bool) {
        let displaced = {
            let mut slots = self.slots.lock();
            let displaced = if keypair.i_am_the_initiator() {
                slots.insert_as_initiator(keypair, wins)
            } else {
                let [next] = slots.insert_as_responder(keypair);
                [next, None]
            };
            self.publish(&slots);
            displaced
        };
        retire(device, displaced);
    }

    /// To be called for each authentic message. The first one with the next keypair makes that the
    /// current one, or the previous one if it has lost an election.
    ///
    /// Returns whether it is the current one now: the handshake is confirmed.
    pub(crate) fn received_with(&self, device: &Device, keypair: &RcuArc<Keypair>) -> bool {
        if !self.next.holds(keypair) {
            return false;
        }
        let confirmed = {
            let mut slots = self.slots.lock();
            let Some(confirmed) = slots.confirm(|next| RcuArc::ptr_eq(next, keypair)) else {
                return false;
            };
            self.publish(&slots);
            confirmed
        };
        retire(device, confirmed.displaced);
        confirmed.is_current
    }
}

/// Takes keypairs that have no slot any more out of the table, so that nothing is received with
/// them.
///
/// The entry gives up its keypair now, not when RCU drops the entry. If no packet is under way with
/// the keypair, it is then dropped after one grace period, not after two. A reader that still finds
/// the entry takes it for that of a handshake, which the peer does not know any more.
fn retire<const N: usize>(device: &Device, displaced: [Option<RcuArc<Keypair>>; N]) {
    for keypair in displaced.into_iter().flatten() {
        device.index_table.remove_if(keypair.index, |entry| {
            let found = entry.keypair.holds(&keypair);
            if found {
                drop(entry.keypair.replace(None));
            }
            found
        });
    }
}

/// The handshakes of a peer. The [protocol's part](noise::Handshake) says what lasts: only the
/// initiation that waits for its response, which has an index of the device's table.
pub(crate) struct HandshakeState {
    /// The handshakes.
    pub(crate) noise: noise::Handshake,
    /// The era in which this side drew the secrets of the pending initiation.
    era: Era,
}

impl HandshakeState {
    /// No handshake, with the peer that has this public key.
    pub(crate) fn new(public_key: &PublicKey) -> impl PinInit<Mutex<Wiped<Self>>> + '_ {
        let empty = Self {
            noise: noise::Handshake::zeroed(),
            era: Era::now(),
        };
        let state = Init::<Self>::chain(empty, |state| {
            state.noise.set_remote_static(public_key);
            Ok(())
        });
        new_mutex!(Wiped::pin_init(state), "wireguard::HandshakeState")
    }

    /// Forgets the pending initiation.
    fn clear(&mut self, device: &Device) {
        if let Some(index) = self.noise.pending_index() {
            free_index(device, index);
        }
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
        message.ok_or(EINVAL)
    }

    /// Reads the first message of a handshake, and returns the peer that sent it and the answer to
    /// it. The session that the answer begins waits for the peer's first message. Process context.
    ///
    /// Until the message is known to be the peer's, only copies of secrets are worked on, and the
    /// lock of the handshake is held for no longer than copying takes.
    pub(crate) fn consume_initiation(
        device: &Device,
        message: &HandshakeInitiation,
    ) -> Option<(Arc<Peer>, HandshakeResponse)> {
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
        peer.handshake.lock().noise.lend_static_static(&mut opened);
        if !opened.authenticate() {
            return None;
        }
        random::wait_for_random_bytes().ok()?;

        let mut handshake = peer.handshake.lock();
        // After a change of the identity the keypairs stop sending: this one would come too late
        // for that.
        if !device.identity.holds(&identity) {
            return None;
        }
        let now_ns = ktime::coarse_boottime_ns();
        handshake.noise.check_initiation(&opened, now_ns).ok()?;
        // Before the secrets are drawn.
        let era = Era::now();
        let index = handshake.new_index(&peer).ok()?;
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
            peer.keypairs.insert(device, keypair, false);
        });
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
        let identity = device.identity.get()?;
        let mut opened = noise::OpenedResponse::new(message);
        if !peer.handshake.lock().noise.lend_pending(&mut opened) || !opened.authenticate(&identity)
        {
            return None;
        }

        let mut handshake = peer.handshake.lock();
        // No other machine may have the secrets that this side has drawn, and none ever.
        if !handshake.era.lasts() || !machine::is_awake() {
            handshake.clear(device);
            return None;
        }
        let mut finished = noise::Finished::zeroed();
        // The peer may have another pending initiation by now, or none.
        if !handshake.noise.take_response(&opened, &mut finished) {
            return None;
        }
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
            peer.endpoint.set(endpoint);
            peer.keypairs.insert(device, keypair, wins);
        });
        drop(handshake);
        Some((peer, installed))
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
        dev_dbg_ratelimited!(
            self.device,
            "Keypair {} created for peer {}
",
            keypair.id,
            self.id
        );
        insert(keypair);
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
