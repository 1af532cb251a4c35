// SPDX-License-Identifier: GPL-2.0

//! Tests of the rules for peers that move: one by one, and with random scripts of a peer that moves
//! and an attacker who forges addresses.

use super::*;
use crate::testing::Numbers;

const SECOND: u64 = NSEC_PER_SEC;

/// An address: a network, a host in it and a port. `ours` is our own address that goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct At {
    host: usize,
    port: u8,
    ours: u8,
}

impl Address for At {
    fn is_place(&self, other: &Self) -> bool {
        (self.host, self.port) == (other.host, other.port)
    }

    fn is_neighbour(&self, other: &Self) -> bool {
        self.host == other.host
    }
}

/// The first port of a host.
const fn at(host: usize) -> At {
    At {
        host,
        port: 1,
        ours: 1,
    }
}

const HOME: At = at(0);
const AWAY: At = at(1);
const VICTIM: At = at(2);

/// A peer at [`HOME`], and a clock that is ten seconds past the last handshake message.
struct Engine {
    peer: Whereabouts<At>,
    policy: Policy,
    now: u64,
    last_sent: u64,
    wanted: bool,
}

impl Engine {
    fn new(policy: Policy) -> Self {
        let mut peer = Whereabouts::new();
        assert!(peer.configure(HOME));
        Self {
            peer,
            policy,
            now: 1000 * SECOND,
            last_sent: 990 * SECOND,
            wanted: false,
        }
    }

    fn heard(&mut self, from: At, bytes: u64) -> bool {
        self.peer.heard(&from, bytes, self.policy)
    }

    fn choose(&mut self, bytes: u64) -> Way {
        self.peer.choose(bytes, self.policy, self.now)
    }

    fn begin(&mut self) -> Attempt<At> {
        let attempt = self.peer.begin(self.wanted, self.last_sent, self.now);
        if attempt != Attempt::NotNow {
            self.last_sent = self.now;
        }
        attempt
    }

    fn waits(&self) -> Option<u64> {
        self.peer
            .probe_waits(self.wanted, self.last_sent, self.now)
            .map(NonZero::get)
    }

    fn primary(&mut self) -> Option<At> {
        self.peer.primary().copied()
    }

    /// Sends `bytes` in datagrams of 1,480, and returns how many of them went to the candidate.
    fn send(&mut self, bytes: u64) -> u64 {
        (0..bytes / 1480)
            .filter(|_| self.choose(1480) == Way::Candidate)
            .count() as u64
            * 1480
    }
}

#[kernel::macros::kunit_tests(wireguard_moving)]
mod cases {
    use super::*;

    #[test]
    fn a_peer_that_moves_is_followed_after_a_proof() {
        let mut engine = Engine::new(Policy::Proving);
        assert_eq!(engine.choose(60_000), Way::Primary);
        assert!(!engine.heard(AWAY, 100));
        // The probe leaves immediately, and what is sent meanwhile is limited.
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        assert_eq!(engine.choose(1480), Way::Candidate);
        assert_eq!(engine.choose(60_000), Way::Primary);
        assert!(engine.primary() == Some(HOME) && engine.peer.latest() == Some(&AWAY));
        assert!(engine.peer.proven(&AWAY, &AWAY));
        assert!(!engine.heard(AWAY, 100));
        assert_eq!(engine.primary(), Some(AWAY));
        assert_eq!(engine.choose(60_000), Way::Primary);
        assert!(engine.peer.candidate().is_none());
        assert_eq!(engine.begin(), Attempt::NotNow);
    }

    #[test]
    fn the_budget_is_what_it_is_said_to_be() {
        for heard in [32, 1480, 100_000] {
            let mut engine = Engine::new(Policy::Proving);
            engine.heard(VICTIM, heard);
            let limit = 3 * heard + Bucket::SIZE;
            let sent = engine.send(1_000_000);
            assert!(sent <= limit && sent > limit - PROBE_LEN - 1480);
            // The bucket gains 4,096 bytes a second, up to its size.
            engine.now += SECOND;
            let more = engine.send(1_000_000);
            assert!((4096 - 1480..=4096 + 1480).contains(&more));
            assert!(sent + more <= limit + 4096);
            engine.now += 100 * SECOND;
            let full = engine.send(1_000_000);
            assert!(full <= Bucket::SIZE && full > Bucket::SIZE - PROBE_LEN - 1480);
            // It belongs to the peer, not to one candidate.
            engine.heard(AWAY, 10);
            assert_eq!(engine.send(1_000_000), 0);
        }
        // A probe is within the budget, even if data take all that they can.
        let mut engine = Engine::new(Policy::Proving);
        engine.heard(VICTIM, 60);
        let sent = (0..1000).filter(|_| engine.choose(60) == Way::Candidate);
        let sent = sent.count() as u64 * 60;
        assert_eq!(engine.begin(), Attempt::Probe(VICTIM));
        assert!(sent > 16_000 && sent + PROBE_LEN <= 3 * 60 + 16_384);
    }

    #[test]
    fn three_probes_and_no_more() {
        let mut engine = Engine::new(Policy::Proving);
        engine.last_sent = engine.now;
        engine.heard(VICTIM, 1000);
        assert_eq!(engine.begin(), Attempt::NotNow);
        engine.now += SECOND;
        assert_eq!(engine.begin(), Attempt::Probe(VICTIM));
        for _ in 0..2 {
            engine.now += 4 * SECOND;
            engine.heard(VICTIM, 1000);
            assert_eq!(engine.begin(), Attempt::NotNow);
            engine.now += SECOND;
            assert_eq!(engine.begin(), Attempt::Probe(VICTIM));
        }
        assert_eq!(engine.choose(1000), Way::Candidate);
        assert!(!engine.peer.refuses(engine.now));
        engine.now += 5 * SECOND;
        // That is said once.
        assert!(engine.peer.refuses(engine.now) && !engine.peer.refuses(engine.now));
        engine.heard(VICTIM, 1_000_000);
        assert!(!engine.peer.refuses(engine.now));
        // The peer is silent there, so it gets nothing any more.
        assert_eq!(engine.begin(), Attempt::NotNow);
        assert_eq!(engine.choose(1), Way::Primary);
        // A handshake that is wanted for another reason goes to the primary.
        engine.wanted = true;
        assert_eq!(engine.begin(), Attempt::Ordinary(Some(HOME)));
        // A handshake of the peer proves the address.
        assert!(!engine.heard(VICTIM, 176));
        engine.peer.answer(&VICTIM, 7, 120, engine.now);
        assert!(engine.peer.confirmed(7, &VICTIM));
        assert_eq!(engine.primary(), Some(VICTIM));
        assert!(!engine.peer.confirmed(7, &AWAY));
    }

    #[test]
    fn the_newest_message_from_the_primary_ends_it() {
        let mut engine = Engine::new(Policy::Proving);
        engine.heard(VICTIM, 1000);
        assert_eq!(engine.begin(), Attempt::Probe(VICTIM));
        assert!(!engine.heard(HOME, 100));
        assert_eq!(engine.choose(100), Way::Primary);
        assert_eq!(engine.peer.latest(), Some(&HOME));
        // An answer of the peer to the probe, but from the primary: somebody has passed on the
        // probe.
        engine.heard(VICTIM, 1000);
        assert!(!engine.peer.proven(&VICTIM, &HOME));
        assert!(!engine.heard(HOME, 120));
        assert_eq!(engine.primary(), Some(HOME));
    }

    #[test]
    fn a_cookie_hastens_the_next_probe_and_proves_nothing() {
        let mut engine = Engine::new(Policy::Proving);
        engine.heard(AWAY, 1000);
        engine.peer.cookie_received(&AWAY);
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        engine.now += SECOND;
        assert_eq!(engine.begin(), Attempt::NotNow);
        engine.peer.cookie_received(&VICTIM);
        assert_eq!(engine.begin(), Attempt::NotNow);
        engine.peer.cookie_received(&AWAY);
        assert_eq!(engine.primary(), Some(HOME));
        assert!(engine
            .peer
            .probe_is_due(false, engine.last_sent, engine.now));
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        engine.now += SECOND;
        assert!(!engine
            .peer
            .probe_is_due(false, engine.last_sent, engine.now));
        // The last one comes late if the timer does not ask for it.
        engine.now += 4 * SECOND;
        assert!(!engine
            .peer
            .probe_is_due(false, engine.last_sent, engine.now));
        engine.now += SECOND;
        assert!(engine
            .peer
            .probe_is_due(false, engine.last_sent, engine.now));
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
    }

    #[test]
    fn a_probe_that_is_too_early_is_sent_by_itself() {
        let mut engine = Engine::new(Policy::Strict);
        assert_eq!(engine.waits(), None);
        engine.last_sent = engine.now - SECOND / 4;
        engine.heard(AWAY, 1000);
        // Not less than a second after the last message.
        assert_eq!(engine.waits(), Some(SECOND));
        assert_eq!(engine.begin(), Attempt::NotNow);
        // A handshake that is wanted for another reason has the timer.
        engine.wanted = true;
        assert_eq!(engine.waits(), None);
        engine.wanted = false;
        engine.now += SECOND * 3 / 4 - 1;
        assert_eq!(engine.waits(), Some(SECOND));
        assert_eq!(engine.begin(), Attempt::NotNow);
        engine.now += 1;
        assert_eq!(engine.waits(), None);
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        // The next one is left to the timer that begins with the first one, unless a cookie comes.
        assert_eq!(engine.waits(), None);
        engine.peer.cookie_received(&AWAY);
        assert_eq!(engine.waits(), Some(SECOND));
        engine.now += SECOND;
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        // Three probes were sent for two candidates: a fourth one waits until it is paid for.
        engine.heard(VICTIM, 1000);
        assert_eq!(engine.waits(), Some(SECOND));
        engine.now += SECOND;
        assert_eq!(engine.begin(), Attempt::Probe(VICTIM));
        engine.heard(AWAY, 1000);
        assert_eq!(engine.waits(), Some(3 * SECOND));
        engine.now += 3 * SECOND - 1;
        assert_eq!(engine.begin(), Attempt::NotNow);
        engine.now += 1;
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        // Nothing waits without a candidate, nor without a primary.
        engine.heard(HOME, 100);
        assert_eq!(engine.waits(), None);
        engine.peer = Whereabouts::new();
        engine.last_sent = engine.now;
        engine.heard(AWAY, 100);
        assert_eq!(engine.waits(), None);
    }

    #[test]
    fn a_late_message_counts_and_moves_nothing() {
        let mut engine = Engine::new(Policy::Proving);
        engine.peer.heard_late(&VICTIM, 1000);
        assert!(engine.peer.candidate().is_none());
        engine.heard(VICTIM, 1000);
        engine.peer.heard_late(&VICTIM, 1_000_000);
        engine.peer.heard_late(&AWAY, 1_000_000);
        assert!(
            engine.choose(3_000_000) == Way::Candidate && engine.choose(30_000) == Way::Primary
        );
    }

    #[test]
    fn a_new_port_needs_no_proof() {
        let mut engine = Engine::new(Policy::Strict);
        let port = At { port: 2, ..HOME };
        assert!(engine.heard(port, 100));
        assert_eq!(engine.primary(), Some(port));
        assert_eq!(engine.choose(1_000_000), Way::Primary);
        assert_eq!(engine.begin(), Attempt::NotNow);
        // An address of our own is believed, too.
        let ours = At { ours: 2, ..port };
        assert!(engine.heard(ours, 100) && !engine.heard(ours, 100));
        // The candidate keeps its budget with another port.
        engine.policy = Policy::Proving;
        engine.heard(AWAY, 1000);
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        let away = At { port: 2, ..AWAY };
        engine.heard(away, 1000);
        assert_eq!(engine.begin(), Attempt::NotNow);
        assert_eq!(engine.choose(6000), Way::Candidate);
        // The proof of one port is one of the other.
        assert!(engine.peer.proven(&AWAY, &VICTIM));
        assert_eq!(engine.primary(), Some(away));
    }

    #[test]
    fn policies() {
        let mut engine = Engine::new(Policy::Trusting);
        assert!(engine.heard(VICTIM, 32));
        assert_eq!(engine.choose(1_000_000), Way::Primary);
        assert_eq!(engine.primary(), Some(VICTIM));

        let mut engine = Engine::new(Policy::Strict);
        assert!(!engine.heard(AWAY, 1_000_000));
        assert_eq!(engine.choose(1), Way::Primary);
        assert_eq!(engine.begin(), Attempt::Probe(AWAY));
        assert!(engine.peer.proven(&AWAY, &AWAY));
        assert_eq!(engine.primary(), Some(AWAY));

        // The policy changes while there is a candidate.
        engine.heard(VICTIM, 1);
        engine.policy = Policy::Trusting;
        assert_eq!(engine.choose(1_000_000), Way::Candidate);
        assert!(engine.heard(VICTIM, 1));
        let number = Policy::from_number;
        assert!(number(0) == Policy::Trusting && number(1) == Policy::Proving);
        assert!(number(2) == Policy::Strict);
    }

    #[test]
    fn a_peer_without_an_address() {
        let mut engine = Engine::new(Policy::Proving);
        engine.peer = Whereabouts::new();
        engine.wanted = true;
        assert_eq!(engine.begin(), Attempt::Ordinary(None));
        assert_eq!(engine.choose(1), Way::Nowhere);
        engine.now += 10 * SECOND;
        // Its initiation comes.
        assert!(!engine.heard(AWAY, 176));
        assert_eq!(engine.peer.latest(), Some(&AWAY));
        assert_eq!(engine.choose(1_000_000), Way::Nowhere);
        for _ in 0..10 {
            assert_eq!(engine.begin(), Attempt::Ordinary(Some(AWAY)));
            assert_eq!(engine.begin(), Attempt::NotNow);
            engine.now += 5 * SECOND;
        }
        engine.peer.answer(&AWAY, 1, 120, engine.now);
        assert!(!engine.peer.confirmed(2, &AWAY));
        assert!(engine.peer.confirmed(1, &VICTIM));
        assert!(!engine.heard(VICTIM, 60));
        assert_eq!(engine.primary(), Some(AWAY));
        assert_eq!(engine.peer.latest(), Some(&VICTIM));
    }

    #[test]
    fn candidates_that_come_and_go_do_not_keep_the_primary_from_new_keys() {
        let mut engine = Engine::new(Policy::Proving);
        engine.wanted = true;
        let mut last = engine.now;
        for step in 0..600 {
            engine.now += SECOND / 10;
            engine.heard(at(1 + step), 100);
            if engine.begin() == Attempt::Ordinary(Some(HOME)) {
                last = engine.now;
            }
            assert!(engine.now - last <= 11 * SECOND);
        }
    }

    #[test]
    fn a_peer_at_two_addresses_is_not_probed_all_the_time() {
        let mut engine = Engine::new(Policy::Proving);
        let mut probes = 0;
        for step in 0..600 {
            engine.now += SECOND / 10;
            let from = [HOME, AWAY][step % 2];
            engine.heard(from, 1000);
            if let Attempt::Probe(to) = engine.begin() {
                assert!(engine.peer.proven(&to, &to));
                engine.heard(to, 120);
                probes += 1;
            }
            assert!(engine.choose(1000) != Way::Nowhere);
        }
        // Three, and one every five seconds.
        assert!((10..=3 + 60 / 5).contains(&probes));
    }

    /// What happens at one address in a random script.
    #[derive(Clone, Copy, Default)]
    struct Account {
        came: u64,
        sent: u64,
    }

    /// The invariants at the head of this file, in 200 scripts of an attacker who forges any
    /// address in any message, and of a peer that is somewhere and answers there what is sent to
    /// it.
    #[test]
    fn invariants() {
        const HOSTS: usize = 6;
        let mut numbers = Numbers::new(0x6d6f_7669_6e67);
        let (mut proofs, mut candidates) = (0, 0);
        for _ in 0..200 {
            let mut engine = Engine::new(Policy::Proving);
            let begun = engine.now;
            let mut accounts = [Account::default(); HOSTS];
            let mut is_proven = [true, false, false, false, false, false];
            let mut last_probe = 0;
            let (mut order, mut answered) = (0, None);
            for _ in 0..2000 {
                engine.now += numbers.below(SECOND / 5);
                engine.wanted = numbers.below(20) == 0;
                let before = engine.primary();
                let from = At {
                    port: numbers.below(3) as u8,
                    ..at(numbers.below(HOSTS as u64) as usize)
                };
                let bytes = 60 + numbers.below(1420);
                let mut may_move_to = None;
                match numbers.below(6) {
                    0 => {
                        engine.heard(from, bytes);
                        accounts[from.host].came += bytes;
                        may_move_to = before.filter(|before| before.host == from.host);
                    }
                    1 => {
                        engine.peer.heard_late(&from, bytes);
                        accounts[from.host].came += bytes;
                    }
                    2 => {
                        // An initiation, which is answered.
                        engine.heard(from, 176);
                        accounts[from.host].came += 176;
                        order += 1;
                        engine.peer.answer(&from, order, 120, engine.now);
                        accounts[from.host].sent += 120;
                        answered = Some((order, from));
                        may_move_to = before.filter(|before| before.host == from.host);
                    }
                    3 if numbers.below(40) == 0 => {
                        // The peer got the response, and its message arrives from somewhere.
                        if let Some((order, to)) = answered.take() {
                            if engine.peer.confirmed(order, &from) {
                                is_proven[to.host] = true;
                                proofs += 1;
                                may_move_to = Some(to);
                            }
                        }
                    }
                    4 => match engine.begin() {
                        Attempt::Probe(to) => {
                            // Invariant 3.
                            assert!(engine.now - last_probe >= SECOND);
                            last_probe = engine.now;
                            accounts[to.host].sent += 176;
                            candidates += 1;
                            if numbers.below(100) == 0 && engine.peer.proven(&to, &from) {
                                is_proven[to.host] = true;
                                proofs += 1;
                                may_move_to = Some(to);
                            }
                        }
                        Attempt::Ordinary(to) => assert_eq!(to, before),
                        Attempt::NotNow => {}
                    },
                    _ => {
                        let bytes = bytes * (1 + numbers.below(40));
                        let way = engine.choose(bytes);
                        if way == Way::Candidate {
                            if let Some(to) = engine.peer.candidate() {
                                accounts[to.host].sent += bytes;
                            }
                        }
                        // Invariant 2.
                        assert!(way != Way::Nowhere);
                        assert_eq!(engine.choose(u64::MAX), Way::Primary);
                    }
                }
                // Invariant 4.
                let after = engine.primary();
                assert!(after == before || after.map(|a| a.host) == may_move_to.map(|a| a.host));
                // Invariant 1.
                let more = 16_384 + (engine.now - begun) * 4_096 / SECOND;
                let excess: u64 = accounts
                    .iter()
                    .zip(&is_proven)
                    .filter(|(_, is_proven)| !**is_proven)
                    .map(|(account, _)| account.sent.saturating_sub(3 * account.came))
                    .sum();
                assert!(excess <= more);
            }
        }
        assert!(proofs > 200 && candidates > 2000);
    }
}

/// Nothing that arrives moves a pinned primary but our own address that goes with it.
#[test]
fn pinned_stays() {
    for policy in [Policy::Trusting, Policy::Proving, Policy::Strict] {
        let mut engine = Engine::new(policy);
        assert!(!engine.heard(AWAY, 100) || policy == Policy::Trusting);
        let at = engine.primary();
        engine.peer.pin(true);
        assert!(engine.peer.is_pinned());
        // The candidate is gone, and none comes.
        assert!(engine.peer.candidate().is_none());
        for from in [HOME, AWAY, VICTIM] {
            if at != Some(from) {
                assert!(!engine.heard(from, 1000));
                assert!(!engine.peer.proven(&from, &from));
                engine.peer.answer(&from, 7, 92, engine.now);
                assert!(!engine.peer.confirmed(7, &from));
            }
            assert!(engine.peer.candidate().is_none());
            assert_eq!((engine.primary(), engine.choose(100)), (at, Way::Primary));
        }
        // Not even to another port of the same host.
        let mut from = at.unwrap_or(HOME);
        from.port += 1;
        assert!(!engine.heard(from, 1000));
        assert_eq!(engine.primary(), at);
        // The peer talks to another address of ours.
        from.port -= 1;
        from.ours += 1;
        assert!(engine.heard(from, 1000));
        assert_eq!(engine.primary(), Some(from));
        // The administrator moves it, and lets it move.
        assert!(engine.peer.configure(VICTIM));
        assert_eq!(engine.primary(), Some(VICTIM));
        engine.peer.pin(false);
        engine.heard(HOME, 1000);
        assert!(engine.peer.candidate().is_some() || engine.primary() == Some(HOME));
    }
}

/// The next address of a list takes the place of the primary. A candidate stays, unless it is that
/// address.
#[test]
fn next_of_a_list() {
    let mut engine = Engine::new(Policy::Proving);
    engine.peer.try_instead(VICTIM);
    assert_eq!(engine.primary(), Some(VICTIM));
    assert!(!engine.heard(AWAY, 100));
    engine.peer.try_instead(HOME);
    assert_eq!(engine.primary(), Some(HOME));
    assert_eq!(engine.peer.candidate().copied(), Some(AWAY));
    assert!(engine.peer.proven(&AWAY, &AWAY));
    assert_eq!(engine.primary(), Some(AWAY));
    assert!(!engine.heard(HOME, 100));
    engine.peer.try_instead(HOME);
    assert_eq!(
        (engine.primary(), engine.peer.candidate().copied()),
        (Some(HOME), None)
    );
}
