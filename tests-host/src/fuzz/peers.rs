// SPDX-License-Identifier: GPL-2.0

//! Two peers and a network that loses, repeats, reorders and forges messages.

use super::Script;
use crate::{
    linux::crypto::{
        self,
        Secret, //
    },
    protocol::{
        cookie::{
            Cookie,
            CookieSecret,
            Source, //
        },
        identity::{
            PublicKey,
            StaticIdentity, //
        },
        keypairs::{
            Ordered,
            Slots, //
        },
        limits::{
            NSEC_PER_SEC,
            REJECT_AFTER_TIME, //
        },
        macs::MessageWithMacs,
        messages::{
            CookieReply,
            DataHeader,
            HandshakeInitiation,
            HandshakeResponse,
            MessageType, //
        },
        noise::{
            Finished,
            Handshake,
            OpenedInitiation,
            OpenedResponse,
            Session, //
        },
        replay::ReplayWindow,
        tai64n::Tai64n,
        timers::key_has_expired, //
    }, //
};
use kernel::prelude::*;
use std::{
    cell::{
        Cell,
        RefCell, //
    },
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    rc::Rc, //
};

struct Keypair {
    local_index: u32,
    session: Session,
    counter: Cell<u64>,
    window: RefCell<ReplayWindow>,
}

impl Ordered for Rc<Keypair> {
    fn order(&self) -> u64 {
        self.session.order
    }
}

/// The object that has an index.
enum Named {
    Handshake,
    Keypair(Rc<Keypair>),
}

struct Side {
    number: usize,
    identity: StaticIdentity,
    cookie_secret: CookieSecret,
    handshake: Handshake,
    cookie: Cookie,
    slots: Slots<Rc<Keypair>>,
    names: BTreeMap<u32, Named>,
    under_load: bool,
}

impl Side {
    fn new(number: usize, identity: StaticIdentity, remote: &PublicKey) -> Self {
        let mut side = Self {
            number,
            cookie_secret: CookieSecret::zeroed(),
            handshake: Handshake::zeroed(),
            cookie: Cookie::zeroed(),
            slots: Slots::new(),
            names: BTreeMap::new(),
            under_load: false,
            identity,
        };
        side.handshake.set_remote_static(remote);
        side.cookie.set_remote_static(remote);
        side.handshake.precompute_static_static(&side.identity);
        side
    }

    /// The source address of this side's messages.
    fn source(&self) -> Source {
        Source::V4 {
            addr: [192, 0, 2, self.number as u8],
            port: [1, 2],
        }
    }

    fn clear_handshake(&mut self) {
        if let Some(index) = self.handshake.pending_index() {
            self.names.remove(&index);
        }
        self.handshake.clear();
    }

    fn forget(&mut self, displaced: impl IntoIterator<Item = Option<Rc<Keypair>>>) {
        for keypair in displaced.into_iter().flatten() {
            self.names.remove(&keypair.local_index);
        }
    }
}

/// A message on its way to a side.
#[derive(Clone)]
struct Datagram {
    to: usize,
    bytes: Vec<u8>,
    /// Whether a byte that is covered by a MAC or a tag was changed.
    forged: bool,
}

struct World {
    sides: [Side; 2],
    network: Vec<Datagram>,
    now: u64,
    next_index: u32,
    /// The keys of each session by side and index: the sending and the receiving one.
    sessions: BTreeMap<(usize, u32), [[u8; 32]; 2]>,
    /// Initiations that were taken, without their MACs.
    taken: BTreeSet<Vec<u8>>,
    /// Data messages that were sent and not yet received, by receiver, index and counter.
    sent: BTreeMap<(usize, u32, u64), Vec<u8>>,
    received: usize,
}

impl World {
    fn new() -> Self {
        let [a, b] = [[1; 32], [2; 32]].map(|private| {
            let mut identity = StaticIdentity::none();
            assert!(identity.set_private_key(&Secret::from_bytes(&private)));
            identity
        });
        let [to_a, to_b] =
            [&a, &b].map(|identity| PublicKey::new(*identity.public_key().unwrap().as_bytes()));
        Self {
            sides: [Side::new(0, a, &to_b), Side::new(1, b, &to_a)],
            network: Vec::new(),
            now: 1_000 * NSEC_PER_SEC,
            next_index: 1,
            sessions: BTreeMap::new(),
            taken: BTreeSet::new(),
            sent: BTreeMap::new(),
            received: 0,
        }
    }

    fn new_index(&mut self) -> u32 {
        self.next_index += 1;
        self.next_index
    }

    /// Sends a message from a side to the other, with MACs.
    fn send(&mut self, from: usize, mut message: impl MessageWithMacs) {
        self.sides[from].cookie.add_macs(&mut message, self.now);
        self.send_bytes(from, message.as_bytes());
    }

    fn send_bytes(&mut self, from: usize, bytes: &[u8]) {
        self.network.push(Datagram {
            to: 1 - from,
            bytes: bytes.to_vec(),
            forged: false,
        });
    }

    fn initiate(&mut self, from: usize) {
        let index = self.new_index();
        let timestamp = Tai64n::from_unix(
            (self.now / NSEC_PER_SEC) as i64,
            (self.now % NSEC_PER_SEC) as u32,
        );
        let side = &mut self.sides[from];
        side.clear_handshake();
        side.names.insert(index, Named::Handshake);
        let Side {
            handshake,
            identity,
            ..
        } = side;
        let message = handshake
            .create_initiation(identity, timestamp, index)
            .unwrap();
        self.send(from, message);
    }

    /// Begins the session of a finished handshake.
    fn begin_session(&mut self, number: usize, local_index: u32, mut finished: Finished) {
        let now = self.now;
        let side = &mut self.sides[number];
        let mut session = Session::zeroed();
        assert!(finished.begin_session(&mut session, now));
        assert!(!finished.begin_session(&mut Session::zeroed(), now));
        let keys = [*session.sending.as_bytes(), *session.receiving.as_bytes()];
        assert_ne!(keys[0], keys[1]);
        if session.i_am_the_initiator {
            let [sending, receiving] = self.sessions[&(1 - number, session.remote_index)];
            assert_eq!(keys, [receiving, sending]);
        }
        for other in self.sessions.values() {
            assert!(!other.contains(&keys[0]) || session.i_am_the_initiator);
        }
        assert!(self.sessions.insert((number, local_index), keys).is_none());
        let initiator = session.i_am_the_initiator;
        let keypair = Rc::new(Keypair {
            local_index,
            session,
            counter: Cell::new(0),
            window: RefCell::new(ReplayWindow::new()),
        });
        side.names
            .insert(local_index, Named::Keypair(keypair.clone()));
        let displaced = if initiator {
            let wins = side.handshake.wins_crossing(&side.identity);
            side.slots.insert_as_initiator(keypair, wins)
        } else {
            let [next] = side.slots.insert_as_responder(keypair);
            [next, None]
        };
        side.forget(displaced);
    }

    fn send_data(&mut self, from: usize, text: &[u8]) {
        let Some(keypair) = self.sides[from].slots.current().cloned() else {
            return;
        };
        if key_has_expired(keypair.session.birthdate, self.now) {
            return;
        }
        let counter = keypair.counter.replace(keypair.counter.get() + 1);
        let Session {
            sending,
            remote_index,
            ..
        } = &keypair.session;
        let mut message = DataHeader::new(*remote_index, counter).as_bytes().to_vec();
        let mut sealed = vec![0; text.len() + 16];
        crypto::chacha20poly1305_encrypt(&mut sealed, text, &[], counter, sending.as_bytes())
            .unwrap();
        message.extend(sealed);
        let before = self
            .sent
            .insert((1 - from, *remote_index, counter), text.to_vec());
        assert!(before.is_none(), "a counter was used twice");
        self.send_bytes(from, &message);
    }

    /// Whether a message with MACs is to be read. Under load, answers one without a valid second
    /// MAC with a cookie.
    fn passes<T: MessageWithMacs>(
        &mut self,
        datagram: &Datagram,
        message: &T,
        sender: u32,
    ) -> bool {
        let (now, to) = (self.now, datagram.to);
        let source = self.sides[1 - to].source();
        let side = &mut self.sides[to];
        let keys = side.identity.mac_keys().unwrap();
        if !keys.has_valid_mac1(message) {
            assert!(datagram.forged);
            return false;
        }
        assert!(!datagram.forged);
        if !side.under_load {
            return true;
        }
        let secret = &mut side.cookie_secret;
        if secret.has_expired(now) {
            secret.randomize(now);
        }
        if secret.has_valid_mac2(message, &source) {
            return true;
        }
        let reply = secret
            .create_reply(keys, sender, message.macs(), &source)
            .unwrap();
        self.send_bytes(to, reply.as_bytes());
        false
    }

    fn receive(&mut self, datagram: Datagram) {
        let header = *datagram.bytes.first_chunk().unwrap();
        match MessageType::classify(header, datagram.bytes.len()) {
            Some(MessageType::HandshakeInitiation) => self.receive_initiation(&datagram),
            Some(MessageType::HandshakeResponse) => self.receive_response(&datagram),
            Some(MessageType::HandshakeCookie) => self.receive_cookie(&datagram),
            Some(MessageType::Data) => self.receive_data(&datagram),
            None => assert!(datagram.forged),
        }
    }

    fn receive_initiation(&mut self, datagram: &Datagram) {
        let message = HandshakeInitiation::read_from_bytes(&datagram.bytes).unwrap();
        if !self.passes(datagram, &message, message.sender_index.get()) {
            return;
        }
        let index = self.new_index();
        let side = &mut self.sides[datagram.to];
        let pending = side.handshake.pending_index();
        let mut opened = OpenedInitiation::new(&message, &side.identity);
        assert!(opened.open() == Some(side.handshake.remote_static()));
        side.handshake.lend_static_static(&mut opened);
        assert!(opened.authenticate());
        let mut finished = Finished::zeroed();
        let Ok(response) = side
            .handshake
            .answer(&mut opened, index, self.now, &mut finished)
        else {
            return;
        };
        assert!(
            self.taken.insert(datagram.bytes[..116].to_vec()),
            "a replay was taken"
        );
        assert_eq!(side.handshake.pending_index(), pending);
        self.begin_session(datagram.to, index, finished);
        self.send(datagram.to, response);
    }

    fn receive_response(&mut self, datagram: &Datagram) {
        let message = HandshakeResponse::read_from_bytes(&datagram.bytes).unwrap();
        if !self.passes(datagram, &message, message.sender_index.get()) {
            return;
        }
        let index = message.receiver_index.get();
        let side = &mut self.sides[datagram.to];
        let mut opened = OpenedResponse::new(&message);
        let mut finished = Finished::zeroed();
        if !side.handshake.lend_pending(&mut opened)
            || !opened.authenticate(&side.identity)
            || !side.handshake.take_response(&opened, &mut finished)
        {
            return;
        }
        assert!(matches!(side.names.get(&index), Some(Named::Handshake)));
        assert!(side.handshake.pending_index().is_none());
        self.begin_session(datagram.to, index, finished);
    }

    fn receive_cookie(&mut self, datagram: &Datagram) {
        let reply = CookieReply::ref_from_bytes(&datagram.bytes).unwrap();
        let side = &mut self.sides[datagram.to];
        let expected = side.cookie.is_expected();
        let taken = side.cookie.consume_reply(reply, self.now);
        // The receiver's index is not authenticated: it only chooses the handshake to ask.
        assert!(!taken || expected && !datagram.forged);
        assert!(!taken || !side.cookie.is_expected());
    }

    fn receive_data(&mut self, datagram: &Datagram) {
        let (header, sealed) = DataHeader::ref_from_prefix(&datagram.bytes).unwrap();
        let (index, counter) = (header.key_idx.get(), header.counter.get());
        let side = &mut self.sides[datagram.to];
        let Some(Named::Keypair(keypair)) = side.names.get(&index) else {
            return;
        };
        let keypair = keypair.clone();
        if key_has_expired(keypair.session.birthdate, self.now) {
            return;
        }
        let mut text = vec![0; sealed.len() - 16];
        let key = keypair.session.receiving.as_bytes();
        let authentic =
            crypto::chacha20poly1305_decrypt(&mut text, sealed, &[], counter, key).is_ok();
        assert_ne!(authentic, datagram.forged);
        if !authentic || !keypair.window.borrow_mut().validate(counter) {
            return;
        }
        assert_eq!(
            self.sent.remove(&(datagram.to, index, counter)),
            Some(text),
            "not what was sent"
        );
        self.received += 1;
        if let Some(confirmed) = side.slots.confirm(|next| Rc::ptr_eq(next, &keypair)) {
            side.forget(confirmed.displaced);
        }
    }

    /// Checks that the slots and the indices name the same keypairs; true between any two steps.
    fn check(&self) {
        for side in &self.sides {
            let slots = [
                side.slots.previous(),
                side.slots.current(),
                side.slots.next(),
            ];
            let pending = side.handshake.pending_index();
            let named = slots.into_iter().flatten().count() + pending.iter().count();
            assert_eq!(side.names.len(), named);
            if let Some(index) = pending {
                assert!(matches!(side.names.get(&index), Some(Named::Handshake)));
            }
            for keypair in slots.into_iter().flatten() {
                let name = side.names.get(&keypair.local_index);
                assert!(matches!(name, Some(Named::Keypair(named)) if Rc::ptr_eq(named, keypair)));
            }
        }
    }

    /// Checks that two peers that can reach one another get new keys and can talk, whatever has
    /// happened before.
    fn recover(&mut self, initiator: usize) {
        self.network.clear();
        self.now += NSEC_PER_SEC;
        self.sides[initiator].under_load = false;
        self.initiate(initiator);
        let responder_is_busy = self.sides[1 - initiator].under_load;
        let mut rounds = 0;
        while let Some(datagram) = self.network.pop() {
            self.receive(datagram);
            rounds += 1;
            // The next initiation has the cookie that has come, so the responder reads it.
            if responder_is_busy && self.network.is_empty() && rounds == 2 {
                self.now += NSEC_PER_SEC;
                self.initiate(initiator);
            }
        }
        let before = self.received;
        for from in [initiator, 1 - initiator] {
            self.send_data(from, b"hello");
            let datagram = self.network.pop().unwrap();
            self.receive(datagram.clone());
            self.receive(datagram);
        }
        assert_eq!(self.received, before + 2);
        self.check();
    }
}

/// Changes a bit of a message, and marks it as forged if the receiver has to notice.
fn forge(datagram: &mut Datagram, at: u16) {
    let len = datagram.bytes.len();
    let byte = usize::from(at) / 8 % len;
    // `mac2` is read only under load, and the index of a cookie reply is not authenticated.
    let unseen = match (datagram.bytes[0], byte) {
        (1 | 2, byte) => byte >= len - 16,
        (3, byte) => (4..8).contains(&byte),
        // A data message with another index finds no keypair, or one with which it is not
        // authentic.
        _ => false,
    };
    datagram.bytes[byte] ^= 1 << (at % 8);
    datagram.forged |= !unseen;
}

/// Runs a script of steps of the peers and of the network between them.
pub fn peers(bytes: &[u8]) {
    crate::linux::bindings::seed(1);
    let mut script = Script(bytes);
    let mut world = World::new();
    while !script.is_empty() {
        let step = script.byte();
        let side = usize::from(step & 1);
        let at = usize::from(step >> 1 & 7);
        match step >> 4 {
            0 | 1 => world.initiate(side),
            // Deliver a datagram from the front, from the back, or once more (8).
            2..=5 if at < world.network.len() => {
                let datagram = world.network.remove(at);
                world.receive(datagram);
            }
            6 | 7 => {
                if let Some(datagram) = world.network.pop() {
                    world.receive(datagram);
                }
            }
            8 if at < world.network.len() => {
                let datagram = world.network[at].clone();
                world.receive(datagram);
            }
            9 if at < world.network.len() => {
                world.network.remove(at);
            }
            10 if at < world.network.len() => {
                let mut datagram = world.network[at].clone();
                forge(&mut datagram, script.word());
                world.receive(datagram);
            }
            11 | 12 => {
                let len = script.byte().into();
                world.send_data(side, script.slice(len));
            }
            13 => world.now += u64::from(script.word()) * (NSEC_PER_SEC / 1000),
            14 => match at {
                0..=2 => world.sides[side].under_load ^= true,
                3 => {
                    let psk = Secret::from_bytes(&script.take());
                    for side in &mut world.sides {
                        side.handshake.set_preshared_key(&psk);
                    }
                }
                4 => {
                    let side = &mut world.sides[side];
                    side.clear_handshake();
                    let displaced = side.slots.clear();
                    side.forget(displaced);
                }
                5 => world.now += REJECT_AFTER_TIME * NSEC_PER_SEC,
                _ => world.now += (2 + at as u64) * NSEC_PER_SEC,
            },
            _ => {}
        }
        world.check();
    }
    world.recover(0);
    world.recover(1);
}
