// SPDX-License-Identifier: GPL-2.0

//! Tests of the timers' decisions: one by one, and for two peers with a clock that the test moves
//! on.

use super::*;
use crate::protocol::limits::REKEY_TIMEOUT_JITTER_MAX_MSECS;

const SECOND: u64 = NSEC_PER_SEC;

/// All timers, in the order in which [`Peer`] keeps them.
const TIMERS: [Timer; 5] = [
    Timer::RetransmitHandshake,
    Timer::SendKeepalive,
    Timer::NewHandshake,
    Timer::ZeroKeyMaterial,
    Timer::PersistentKeepalive,
];

/// The kinds of message that one peer sends to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Initiation,
    Data,
    Keepalive,
}

/// A peer as the engine keeps it: its state, and the times at which its timers expire, in
/// milliseconds.
struct Peer {
    state: State,
    expires: [Option<u64>; 5],
    persistent_keepalive: u16,
    now: u64,
    initiations: u32,
    keepalives: u32,
    gave_up: bool,
    zeroed: bool,
}

impl Peer {
    fn new(persistent_keepalive: u16) -> Self {
        Self {
            state: State::new(),
            expires: [None; 5],
            persistent_keepalive,
            now: 0,
            initiations: 0,
            keepalives: 0,
            gave_up: false,
            zeroed: false,
        }
    }

    fn timer(&mut self, timer: Timer) -> Option<&mut Option<u64>> {
        let mut pairs = TIMERS.iter().zip(&mut self.expires);
        pairs
            .find(|(t, _)| **t == timer)
            .map(|(_, expires)| expires)
    }

    fn is_pending(&mut self, timer: Timer) -> bool {
        self.timer(timer).is_some_and(|expires| expires.is_some())
    }

    fn apply(&mut self, change: Change) {
        let now = self.now;
        match change {
            Change::Keep => {}
            Change::Arm(timer, msecs) => {
                if let Some(expires) = self.timer(timer) {
                    *expires = Some(now + u64::from(msecs));
                }
            }
            Change::Cancel(timer) => {
                if let Some(expires) = self.timer(timer) {
                    *expires = None;
                }
            }
        }
    }

    fn traverse(&mut self) {
        self.apply(any_authenticated_packet_traversal(
            self.persistent_keepalive,
        ));
    }

    /// A message goes out.
    fn send(&mut self, what: Sent) -> Option<Sent> {
        self.traverse();
        self.apply(any_authenticated_packet_sent());
        match what {
            Sent::Initiation => {
                self.initiations += 1;
                self.apply(handshake_initiated(0));
            }
            Sent::Data => {
                let pending = self.is_pending(Timer::NewHandshake);
                self.apply(data_sent(pending, || 0));
            }
            Sent::Keepalive => self.keepalives += 1,
        }
        Some(what)
    }

    /// A message comes in.
    fn receive(&mut self, what: Sent) {
        self.apply(any_authenticated_packet_received());
        self.traverse();
        if what == Sent::Data {
            let pending = self.is_pending(Timer::SendKeepalive);
            let change = self.state.data_received(pending);
            self.apply(change);
        }
    }

    /// Lets the clock reach `now`. If a timer expires then, returns the message that it sends, if
    /// any.
    fn tick(&mut self, now: u64) -> Option<Sent> {
        self.now = now;
        let timer = TIMERS
            .into_iter()
            .zip(&mut self.expires)
            .find_map(|(timer, expires)| match *expires {
                Some(at) if at <= now => {
                    *expires = None;
                    Some(timer)
                }
                _ => None,
            })?;
        match timer {
            Timer::RetransmitHandshake => {
                let zero_pending = self.is_pending(Timer::ZeroKeyMaterial);
                match self.state.retransmit_handshake_expired(zero_pending) {
                    Retransmit::Retry(_) => {
                        self.state.handshake_requested(true);
                        self.send(Sent::Initiation)
                    }
                    Retransmit::GiveUp(changes) => {
                        self.gave_up = true;
                        for change in changes {
                            self.apply(change);
                        }
                        None
                    }
                }
            }
            Timer::SendKeepalive => {
                let sent = self.send(Sent::Keepalive);
                let change = self.state.send_keepalive_expired();
                self.apply(change);
                sent
            }
            Timer::NewHandshake => {
                self.state.handshake_requested(false);
                self.send(Sent::Initiation)
            }
            Timer::ZeroKeyMaterial => {
                self.zeroed = true;
                None
            }
            Timer::PersistentKeepalive => persistent_keepalive_expired(self.persistent_keepalive)
                .then(|| self.send(Sent::Keepalive))
                .flatten(),
        }
    }
}

/// Lets both clocks run from `from` to `to` seconds, in steps of 100 ms. A message arrives in the
/// step in which it is sent.
fn run(a: &mut Peer, b: &mut Peer, from: u64, to: u64) {
    for now in (from * 10..to * 10).map(|step| step * 100) {
        if let Some(sent) = a.tick(now) {
            b.now = now;
            b.receive(sent);
        }
        if let Some(sent) = b.tick(now) {
            a.receive(sent);
        }
    }
}

#[kernel::macros::kunit_tests(wireguard_timers)]
mod cases {
    use super::*;

    #[test]
    fn keepalive_is_not_answered_with_keepalives_for_ever() {
        let (mut a, mut b) = (Peer::new(0), Peer::new(0));
        if let Some(sent) = a.send(Sent::Data) {
            b.receive(sent);
        }
        run(&mut a, &mut b, 0, 3600);
        assert_eq!((a.keepalives, b.keepalives), (0, 1));
        // The answer has shown that the other side is there.
        assert_eq!((a.initiations, b.initiations), (0, 0));

        // Two messages: one keepalive for the first, one for the message that came while that
        // keepalive waited.
        let (mut a, mut b) = (Peer::new(0), Peer::new(0));
        for second in 0..2 {
            if let Some(sent) = a.send(Sent::Data) {
                b.receive(sent);
            }
            run(&mut a, &mut b, second, second + 1);
        }
        run(&mut a, &mut b, 2, 3600);
        assert_eq!((a.keepalives, b.keepalives), (0, 2));
    }

    #[test]
    fn passive_keepalive_comes_after_ten_seconds() {
        let (mut a, mut b) = (Peer::new(0), Peer::new(0));
        if let Some(sent) = a.send(Sent::Data) {
            b.receive(sent);
        }
        run(&mut a, &mut b, 0, 10);
        assert_eq!(b.keepalives, 0);
        run(&mut a, &mut b, 10, 11);
        assert_eq!(b.keepalives, 1);
    }

    #[test]
    fn one_way_traffic_is_answered_every_ten_seconds() {
        let (mut a, mut b) = (Peer::new(0), Peer::new(0));
        for second in 0..100 {
            if let Some(sent) = a.send(Sent::Data) {
                b.receive(sent);
            }
            run(&mut a, &mut b, second, second + 1);
        }
        assert_eq!((a.keepalives, b.keepalives), (0, 9));
        assert_eq!(a.initiations, 0);
    }

    #[test]
    fn answered_data_needs_no_keepalive() {
        let (mut a, mut b) = (Peer::new(0), Peer::new(0));
        for second in 0..100 {
            if let Some(sent) = a.send(Sent::Data) {
                b.receive(sent);
            }
            if let Some(sent) = b.send(Sent::Data) {
                a.receive(sent);
            }
            run(&mut a, &mut b, second, second + 1);
        }
        assert_eq!((a.keepalives, b.keepalives), (0, 0));
        assert_eq!((a.initiations, b.initiations), (0, 0));
    }

    #[test]
    fn silence_after_data_asks_for_a_handshake() {
        let mut a = Peer::new(0);
        assert!(a.send(Sent::Data).is_some());
        assert!(a.tick(14_999).is_none());
        // More data does not put that off.
        assert!(a.send(Sent::Data).is_some());
        assert!(a.tick(15_000) == Some(Sent::Initiation));
    }

    #[test]
    fn handshake_is_given_up_after_ninety_seconds() {
        let mut a = Peer::new(0);
        a.state.handshake_requested(false);
        assert!(a.send(Sent::Initiation).is_some());
        for now in (0..700_000).step_by(100) {
            let before = a.initiations;
            if a.tick(now).is_some() {
                assert_eq!(a.initiations, before + 1);
            }
            assert_eq!(a.gave_up, now >= 100_000);
            assert_eq!(a.zeroed, now >= 640_000);
        }
        assert_eq!(a.initiations, MAX_TIMER_HANDSHAKES + 2);
    }

    #[test]
    fn handshake_asked_for_anew_gets_all_attempts_again() {
        let a = Peer::new(0);
        for _ in 0..=MAX_TIMER_HANDSHAKES {
            assert!(matches!(
                a.state.retransmit_handshake_expired(true),
                Retransmit::Retry(_)
            ));
        }
        a.state.handshake_requested(true);
        assert!(
            a.state.retransmit_handshake_expired(true)
                == Retransmit::GiveUp([Change::Cancel(Timer::SendKeepalive), Change::Keep])
        );
        a.state.handshake_requested(false);
        assert!(a.state.retransmit_handshake_expired(true) == Retransmit::Retry(1));
        assert!(a.state.handshake_complete() == Change::Cancel(Timer::RetransmitHandshake));
        assert!(a.state.retransmit_handshake_expired(true) == Retransmit::Retry(1));
    }

    #[test]
    fn persistent_keepalive_is_for_an_idle_tunnel() {
        let (mut a, mut b) = (Peer::new(25), Peer::new(0));
        a.traverse();
        run(&mut a, &mut b, 0, 101);
        assert_eq!((a.keepalives, b.keepalives), (4, 0));

        // Active, in either direction: no persistent keepalive. Those counted below are passive
        // ones.
        for to_b in [true, false] {
            let (mut a, mut b) = (Peer::new(25), Peer::new(0));
            for second in 0..100 {
                let sent = if to_b {
                    a.send(Sent::Data)
                } else {
                    b.send(Sent::Data)
                };
                if let Some(sent) = sent {
                    if to_b {
                        b.receive(sent);
                    } else {
                        a.receive(sent);
                    }
                }
                run(&mut a, &mut b, second, second + 1);
            }
            assert_eq!(a.keepalives, if to_b { 0 } else { 9 });
        }
    }

    #[test]
    fn persistent_keepalive_can_be_turned_off() {
        assert!(any_authenticated_packet_traversal(0) == Change::Keep);
        assert!(
            any_authenticated_packet_traversal(u16::MAX)
                == Change::Arm(Timer::PersistentKeepalive, 65_535_000)
        );
        assert!(!persistent_keepalive_expired(0));
        assert!(persistent_keepalive_expired(1));
    }

    #[test]
    fn delays() {
        let jitter = REKEY_TIMEOUT_JITTER_MAX_MSECS - 1;
        assert!(
            handshake_initiated(jitter) == Change::Arm(Timer::RetransmitHandshake, 5_000 + jitter)
        );
        assert!(data_sent(false, || jitter) == Change::Arm(Timer::NewHandshake, 15_000 + jitter));
        assert!(data_sent(true, || jitter) == Change::Keep);
        assert!(session_derived() == Change::Arm(Timer::ZeroKeyMaterial, 540_000));
    }

    #[test]
    fn reject_after_messages_is_enforced_when_sending() {
        let last = REJECT_AFTER_MESSAGES - 1;
        assert!(nonces_may_be_used(0, 1));
        assert!(nonces_may_be_used(last, 1));
        assert!(!nonces_may_be_used(last, 2));
        assert!(nonces_may_be_used(last - 63, 64));
        assert!(!nonces_may_be_used(last - 62, 64));
        assert!(!nonces_may_be_used(REJECT_AFTER_MESSAGES, 1));
        assert!(!nonces_may_be_used(u64::MAX, 1));
        assert!(!nonces_may_be_used(u64::MAX - 1, u32::MAX));
    }

    #[test]
    fn reject_after_time_is_enforced() {
        assert!(!key_has_expired(SECOND, 180 * SECOND));
        assert!(!key_has_expired(SECOND, 181 * SECOND - 1));
        assert!(key_has_expired(SECOND, 181 * SECOND));
    }

    #[test]
    fn rekey_after_time_is_the_initiators() {
        let born = SECOND;
        assert!(!rekey_after_sending(true, born, 0, 121 * SECOND - 1));
        assert!(rekey_after_sending(true, born, 0, 121 * SECOND));
        assert!(!rekey_after_sending(false, born, 0, 500 * SECOND));
    }

    #[test]
    fn rekey_after_messages_is_for_both() {
        for initiator in [true, false] {
            assert!(!rekey_after_sending(initiator, 0, REKEY_AFTER_MESSAGES, 0));
            assert!(rekey_after_sending(
                initiator,
                0,
                REKEY_AFTER_MESSAGES + 1,
                0
            ));
        }
    }

    #[test]
    fn last_minute_handshake_is_asked_for_once_a_session() {
        let state = State::new();
        assert!(!state.rekey_after_receiving(true, 0, 165 * SECOND - 1));
        assert!(!state.rekey_after_receiving(false, 0, 170 * SECOND));
        assert!(state.rekey_after_receiving(true, 0, 165 * SECOND));
        assert!(!state.rekey_after_receiving(true, 0, 166 * SECOND));
        let _ = state.handshake_complete();
        assert!(!state.rekey_after_receiving(true, 170 * SECOND, 171 * SECOND));
        assert!(state.rekey_after_receiving(true, 170 * SECOND, 335 * SECOND));
    }

    #[test]
    fn initiations_keep_their_distance() {
        assert!(!handshake_may_be_sent(SECOND, 6 * SECOND - 1));
        assert!(handshake_may_be_sent(SECOND, 6 * SECOND));
        // This holds right after boot, too.
        assert!(handshake_may_be_sent(last_sent_long_ago(0), 0));
        assert!(handshake_may_be_sent(last_sent_long_ago(SECOND), SECOND));
        assert!(handshake_may_be_sent(
            last_sent_long_ago(1000 * SECOND),
            1000 * SECOND
        ));
    }

    #[test]
    fn initiation_that_is_put_off_is_sent_when_it_may_be() {
        let armed = |last, now, jitter| match handshake_put_off(last, now, jitter) {
            Change::Arm(Timer::RetransmitHandshake, msecs) => msecs,
            _ => u32::MAX,
        };
        let last = 7 * SECOND;
        assert_eq!(armed(last, last, 0), 5_000);
        assert_eq!(armed(last, last + 3 * SECOND, 0), 2_000);
        assert_eq!(armed(last, last + 3 * SECOND, 300), 2_300);
        // Rounded up: the timer must not expire before the initiation may be sent.
        assert_eq!(armed(last, last + 5 * SECOND - 1, 0), 1);
        assert_eq!(armed(last, last + 5 * SECOND, 9), 9);
        assert_eq!(armed(last, last + 60 * SECOND, 0), 0);
        for now in (last..last + 6 * SECOND).step_by(77_777_777) {
            let due = now + u64::from(armed(last, now, 0)) * (SECOND / 1000);
            assert!(handshake_may_be_sent(last, due));
        }
        // Another clock of the same machine may be behind.
        assert_eq!(armed(last, last - 1, 0), 5_000);
        // Right after boot, "long ago" lies before it.
        assert_eq!(armed(last_sent_long_ago(0), 0, 0), 0);
    }

    #[test]
    fn probe_that_is_put_off_comes_no_earlier_and_no_later_than_it_may() {
        let armed = |left_ns| match probe_put_off(left_ns) {
            Change::Arm(Timer::RetransmitHandshake, msecs) => msecs,
            _ => u32::MAX,
        };
        assert_eq!(armed(1), 1);
        assert_eq!(armed(SECOND), 1_000);
        assert_eq!(armed(SECOND - 1), 1_000);
        assert_eq!(armed(SECOND + 1), 1_001);
        assert_eq!(armed(u64::MAX), 5_000);
    }

    #[test]
    fn load_is_remembered_for_a_second() {
        assert!(is_still_under_load(SECOND, SECOND));
        assert!(is_still_under_load(SECOND, 2 * SECOND - 1));
        assert!(!is_still_under_load(SECOND, 2 * SECOND));
    }
}
