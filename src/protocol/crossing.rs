// SPDX-License-Identifier: GPL-2.0

//! A model of initiations that cross: two peers that begin a handshake when they like, and a
//! network between them. Compiled for tests only.
//!
//! The peers are made of the real [`Handshake`](super::noise::Handshake) and [`Slots`]. One of them
//! may be like the C module instead: that forgets its own initiation when it answers another one,
//! and elects no session. The tests go through every interleaving of what the peers and the network
//! may do, with at most one message that the network holds back and delivers later, or never.
//!
//! Each peer begins at most once, and not after it has answered: it would have to wait for five
//! seconds then.

use core::cell::Cell;
use kernel::prelude::*;

mod peer;

use super::{
    keypairs::Slots,
    limits::NSEC_PER_SEC,
    noise::{
        Finished,
        OpenedInitiation,
        OpenedResponse,
        Session, //
    },
    tai64n::Tai64n, //
};
use crate::linux::crypto::Secret;
use peer::{
    Keypair,
    Keys,
    Message,
    Peer, //
};

/// The two peers' private keys. The second one's public key is the greater one.
const PRIVATE: [[u8; 32]; 2] = [[2; 32], [1; 32]];

/// What the peers and the network do next.
#[derive(Clone, Copy)]
enum Step {
    /// A peer sends an initiation.
    Begin(usize),
    /// The next message to a peer arrives.
    Deliver(usize),
    /// The next message to a peer is held back.
    Hold(usize),
    /// The message that is held back arrives.
    Release,
    /// The message that is held back is lost.
    Lose,
}

/// A message that the network holds back.
struct Held {
    to: usize,
    message: Message,
}

/// How a crossing begins.
#[derive(Clone, Copy)]
struct Start {
    /// The peer that is like the C module, if any.
    c: Option<usize>,
    /// Whether there is a session from before.
    old_session: bool,
    /// Whether the peers send data after every step, and not only what confirms a session.
    traffic: bool,
    /// Whether the network may hold one message back.
    may_hold: bool,
}

/// What the network has done to a message in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Everything arrived in order.
    None,
    /// A message arrived late.
    Reordered,
    /// A handshake message to this peer was lost: it was a response if the flag says so.
    Lost { to: usize, response: bool },
    /// A data message was lost.
    DataLost,
}

struct World {
    start: Start,
    peers: [Peer; 2],
    held: Option<Held>,
    may_hold: bool,
    fault: Fault,
    now: u64,
    next_index: u32,
}

impl World {
    fn new() -> Self {
        let [a, b] = &PRIVATE;
        Self {
            start: Start {
                c: None,
                old_session: false,
                traffic: false,
                may_hold: false,
            },
            peers: [Peer::new(a, b), Peer::new(b, a)],
            held: None,
            may_hold: false,
            fault: Fault::None,
            now: 1000 * NSEC_PER_SEC,
            next_index: 1,
        }
    }

    /// The same two peers meet again, some time later.
    fn restart(&mut self, start: Start) {
        self.start = start;
        self.held = None;
        self.may_hold = start.may_hold;
        self.fault = Fault::None;
        self.now += 10 * NSEC_PER_SEC;
        let old = [self.new_index(), self.new_index()];
        for (number, peer) in self.peers.iter_mut().enumerate() {
            peer.handshake.clear();
            peer.inbox = KVec::new();
            peer.unreadable = 0;
            peer.may_begin = true;
            peer.has_begun = false;
            let keypair = start.old_session.then(|| {
                let mut session = Session::zeroed();
                let keys = [Secret::from_bytes(&[3; 32]), Secret::from_bytes(&[4; 32])];
                session.sending.copy_from(&keys[number]);
                session.receiving.copy_from(&keys[1 - number]);
                session.remote_index = old[1 - number];
                session.i_am_the_initiator = number == 0;
                Keypair {
                    index: old[number],
                    session,
                    confirmed: Cell::new(true),
                }
            });
            if start.c == Some(number) {
                peer.keys = Keys::C([None, keypair, None]);
            } else {
                let mut slots = Slots::new();
                if let Some(keypair) = keypair {
                    drop(slots.insert_as_initiator(keypair, false));
                }
                peer.keys = Keys::Ours(slots);
            }
        }
    }

    fn new_index(&mut self) -> u32 {
        self.next_index += 1;
        self.next_index
    }

    fn send(&mut self, from: usize, message: Message) {
        let inbox = &mut self.peers[1 - from].inbox;
        assert!(inbox.push(message, GFP_KERNEL).is_ok());
    }

    /// Sends a data message, if there are keys for it.
    fn send_data(&mut self, from: usize) {
        let Some(keypair) = self.peers[from].keys.current() else {
            return;
        };
        // Invariant: a session sends only once the peer is known to have the keys.
        assert!(keypair.confirmed.get());
        let session = &keypair.session;
        let message = Message::Data(session.remote_index, *session.sending.as_bytes());
        self.send(from, message);
    }

    fn begin(&mut self, number: usize) {
        let index = self.new_index();
        let seconds = (self.now / NSEC_PER_SEC) as i64;
        let peer = &mut self.peers[number];
        peer.may_begin = false;
        peer.has_begun = true;
        let message =
            peer.handshake
                .create_initiation(&peer.identity, Tai64n::from_unix(seconds, 0), index);
        assert!(message.is_some());
        if let Some(message) = message {
            self.send(number, Message::Initiation(message));
        }
    }

    fn begin_session(&mut self, number: usize, index: u32, finished: &mut Finished) {
        let peer = &mut self.peers[number];
        let mut session = Session::zeroed();
        assert!(finished.begin_session(&mut session, self.now));
        let wins = peer.handshake.wins_crossing(&peer.identity);
        let confirmed = Cell::new(session.i_am_the_initiator);
        let keypair = Keypair {
            index,
            session,
            confirmed,
        };
        peer.keys.insert(keypair, wins);
    }

    /// A peer reads a message. Returns whether that changed more than a count.
    fn receive(&mut self, number: usize, message: Message) -> bool {
        let index = self.new_index();
        let peer = &mut self.peers[number];
        let pending = peer.handshake.pending_index();
        let mut finished = Finished::zeroed();
        match message {
            Message::Initiation(message) => {
                peer.may_begin = false;
                let mut opened = OpenedInitiation::new(&message, &peer.identity);
                assert!(opened.open().is_some());
                peer.handshake.lend_static_static(&mut opened);
                assert!(opened.authenticate());
                let response = peer
                    .handshake
                    .answer(&mut opened, index, self.now, &mut finished);
                // Invariant: answering leaves the pending initiation as it is.
                assert_eq!(peer.handshake.pending_index(), pending);
                if !peer.is_ours() {
                    peer.handshake.clear();
                }
                assert!(response.is_ok());
                if let Ok(response) = response {
                    self.begin_session(number, index, &mut finished);
                    self.send(number, Message::Response(response));
                }
            }
            Message::Response(message) => {
                let mut opened = OpenedResponse::new(&message);
                let taken = peer.handshake.lend_pending(&mut opened)
                    && opened.authenticate(&peer.identity)
                    && peer.handshake.take_response(&opened, &mut finished);
                // Invariant: a response is taken if its initiation is pending, and nothing else
                // ends that. The C module has forgotten an initiation that was crossed.
                assert_eq!(taken, pending == Some(message.receiver_index.get()));
                assert!(taken || !peer.is_ours());
                if taken {
                    self.begin_session(number, message.receiver_index.get(), &mut finished);
                    if !self.start.traffic {
                        self.send_data(number);
                    }
                }
            }
            Message::Data(index, key) => {
                let Some(keypair) = peer.keys.find(index) else {
                    peer.unreadable += 1;
                    return false;
                };
                assert!(*keypair.session.receiving.as_bytes() == key);
                keypair.confirmed.set(true);
                return peer.keys.received_with(index);
            }
        }
        true
    }

    /// The steps that are possible now, in any order.
    fn steps(&self) -> [Option<Step>; 7] {
        let mut steps = [None; 7];
        for (number, peer) in self.peers.iter().enumerate() {
            let arrives = !peer.inbox.is_empty();
            steps[3 * number] = peer.may_begin.then_some(Step::Begin(number));
            steps[3 * number + 1] = arrives.then_some(Step::Deliver(number));
            steps[3 * number + 2] = (arrives && self.may_hold).then_some(Step::Hold(number));
        }
        steps[6] = self.held.as_ref().map(|_| Step::Release);
        if steps.iter().flatten().count() == 1 {
            // Losing a message any earlier makes no difference.
            steps[0] = steps[6].map(|_| Step::Lose);
        }
        steps
    }

    fn next_message(&mut self, to: usize) -> Option<Message> {
        self.peers[to].inbox.remove(0).ok()
    }

    fn take(&mut self, step: Step) {
        let acting = match step {
            Step::Begin(number) => {
                self.begin(number);
                Some(number)
            }
            Step::Deliver(number) => self.deliver(number),
            Step::Hold(number) => {
                self.may_hold = false;
                self.held = self.next_message(number).map(|message| Held {
                    to: number,
                    message,
                });
                None
            }
            Step::Release => self.held.take().and_then(|Held { to, message }| {
                self.fault = Fault::Reordered;
                self.receive(to, message).then_some(to)
            }),
            Step::Lose => {
                if let Some(Held { to, message }) = self.held.take() {
                    self.fault = match message {
                        Message::Data(..) => Fault::DataLost,
                        Message::Response(_) => Fault::Lost { to, response: true },
                        Message::Initiation(_) => Fault::Lost {
                            to,
                            response: false,
                        },
                    };
                }
                None
            }
        };
        if let Some(number) = acting.filter(|_| self.start.traffic) {
            self.send_data(number);
        }
    }

    /// Delivers the next message to a peer. Returns the peer if that changed its state.
    fn deliver(&mut self, number: usize) -> Option<usize> {
        let message = self.next_message(number)?;
        let changed = self.receive(number, message);
        // Data that change nothing behind it might as well arrive now.
        while let Some(Message::Data(index, _)) = self.peers[number].inbox.first() {
            let [_, _, next] = self.peers[number].keys.all();
            if next.is_some_and(|next| next.index == *index) {
                break;
            }
            if let Some(message) = self.next_message(number) {
                self.receive(number, message);
            }
        }
        changed.then_some(number)
    }

    /// Both peers send a data message, and all that is under way arrives in order.
    fn round_trip(&mut self) {
        for number in [0, 1] {
            self.send_data(number);
        }
        while self.peers.iter().any(|peer| !peer.inbox.is_empty()) {
            for number in [0, 1] {
                let _ = self.deliver(number);
            }
        }
    }

    /// Whether the peers' current keypairs are the two ends of a session.
    fn is_one_session(&self) -> bool {
        let [a, b] = self.peers.each_ref().map(|peer| peer.keys.current());
        a.zip(b).is_some_and(|(a, b)| a.is_other_end_of(b))
    }

    /// Whether each peer sends with keys that the other one has.
    fn both_ways_work(&self) -> bool {
        [0, 1].into_iter().all(|number| {
            let current = self.peers[number].keys.current();
            let others = self.peers[1 - number].keys.all();
            current.is_some_and(|current| {
                let mut others = others.into_iter().flatten();
                others.any(|other| current.is_other_end_of(other))
            })
        })
    }

    /// Goes through everything that may happen after `start`. `visit` sees each end of it, when no
    /// message is under way. Returns how many ends there are.
    fn explore(&mut self, start: Start, mut visit: impl FnMut(&mut Self)) -> Result<u32> {
        // The step that was chosen at each point, and how many there were to choose from.
        let mut path: KVec<(usize, usize)> = KVec::new();
        let mut ends = 0;
        loop {
            self.restart(start);
            for depth in 0.. {
                let steps = self.steps();
                let count = steps.iter().flatten().count();
                if count == 0 {
                    break;
                }
                if depth == path.len() {
                    path.push((0, count), GFP_KERNEL)?;
                }
                let chosen = path.get(depth).map_or(0, |(chosen, _)| *chosen);
                if let Some(step) = steps.into_iter().flatten().nth(chosen) {
                    self.take(step);
                }
            }
            visit(self);
            ends += 1;
            loop {
                match path.pop() {
                    Some((chosen, count)) if chosen + 1 < count => {
                        path.push((chosen + 1, count), GFP_KERNEL)?;
                        break;
                    }
                    Some(_) => {}
                    None => return Ok(ends),
                }
            }
        }
    }

    /// Goes through everything with every [`Start`] that has `may_hold`.
    fn explore_all(&mut self, may_hold: bool, mut visit: impl FnMut(&mut Self)) -> Result<u32> {
        let mut ends = 0;
        for c in [None, Some(0), Some(1)] {
            for old_session in [false, true] {
                for traffic in [false, true] {
                    let start = Start {
                        c,
                        old_session,
                        traffic,
                        may_hold,
                    };
                    ends += self.explore(start, &mut visit)?;
                }
            }
        }
        Ok(ends)
    }

    /// Whether both peers have sent an initiation before they knew of the other one's.
    fn has_crossed(&self) -> bool {
        self.peers.iter().all(|peer| peer.has_begun)
    }
}

#[kernel::macros::kunit_tests(wireguard_crossing)]
mod tests {
    use super::*;

    #[test]
    fn in_order_there_is_one_session_and_no_loss() -> Result {
        let mut world = KBox::new(World::new(), GFP_KERNEL)?;
        let mut crossings = 0;
        let ends = world.explore_all(false, |world| {
            assert!(world.fault == Fault::None);
            // Without any data to send, too: the messages that confirm the sessions are enough.
            assert!(world.is_one_session() && world.both_ways_work());
            world.round_trip();
            assert!(world.is_one_session() && world.both_ways_work());
            assert!(world.peers.iter().all(|peer| peer.unreadable == 0));
            crossings += u32::from(world.has_crossed());
        })?;
        assert_eq!((ends, crossings), (160, 136));
        Ok(())
    }
}

/// In user space only: there are thousands of ends.
#[cfg(not(CONFIG_RUST))]
#[kernel::macros::kunit_tests(wireguard_crossing_faults)]
mod faults {
    use super::*;

    #[test]
    fn with_a_message_late_or_lost_there_is_one_session() -> Result {
        let mut world = KBox::new(World::new(), GFP_KERNEL)?;
        let (mut late, mut lost, mut excused) = (0, 0, 0);
        let ends = world.explore_all(true, |world| {
            for _ in 0..2 {
                world.round_trip();
            }
            // The losses that no peer can make good before its next attempt: that of a response, if
            // there is no other handshake. A peer like the C module has forgotten its own.
            let is_excused = match world.fault {
                Fault::Lost { to, response } => {
                    response && (!world.has_crossed() || world.start.c == Some(1 - to))
                }
                _ => false,
            };
            match world.fault {
                Fault::None => {}
                Fault::Reordered => late += 1,
                Fault::Lost { .. } | Fault::DataLost => lost += 1,
            }
            if is_excused && !world.start.old_session {
                excused += 1;
            } else {
                assert!(world.is_one_session() && world.both_ways_work());
            }
        })?;
        assert_eq!((ends, late, lost, excused), (3892, 3032, 700, 44));
        Ok(())
    }
}
