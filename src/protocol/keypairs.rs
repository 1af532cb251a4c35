// SPDX-License-Identifier: GPL-2.0

//! The three places for a peer's keypairs, and how keypairs move through them.
//!
//! ```text
//! as initiator:  new ──► current ──► previous ──► gone
//! as responder:  new ──► next ──(first message received)──► current ──► previous ──► gone
//! ```
//!
//! The response tells the initiator that both sides have the keys. The responder learns that from
//! the first message made with them, and sends with the current keypair until then: sections 5.4.5
//! and 6.3 of the paper. Until then it also keeps the previous keypair, with which messages may
//! still be under way.
//!
//! # Election
//!
//! When both sides begin at the same time, their initiations cross, and there are two sessions:
//! each side has answered the other's initiation (`next`), and then gets the response to its own
//! (`new`). Both sides have to send with the same one in the end. A keypair has the
//! [order](Ordered) of the message that this side made for it, so this side knows what it answered
//! after its own initiation had left:
//!
//! - If `current` is newer than the initiation, the peer has confirmed a newer session: the new
//!   keypair goes.
//! - If `next` is newer, the initiations have crossed, and both keypairs stay. The new one becomes
//!   the current one for now. The side with the greater public key wins: when it receives the first
//!   message with `next`, that becomes the previous one. On the other side it becomes the current
//!   one.
//! - If `next` is older, its response got lost: `next` goes, and the new keypair becomes the
//!   current one.
//! - Without `next`, the new keypair becomes the current one.
//!
//! So the winner's session is the one that stays. The loser sends with its own session for the time
//! that the winner's first message needs, and the winner can read that. A peer without an election
//! (the C module) has forgotten its own initiation when it answers ours. It never confirms `next`,
//! and the new keypair stays the current one.

/// Keypairs that no longer have a place. The caller takes them out of the table of indices and
/// drops them.
pub(crate) type Displaced<K, const N: usize> = [Option<K>; N];

/// A keypair that knows when its handshake was.
pub(crate) trait Ordered {
    /// The order of the message that this side made for the keypair: see
    /// [`Session::order`](super::noise::Session::order).
    fn order(&self) -> u64;
}

/// What the first message received with the next keypair has changed.
pub(crate) struct Confirmed<K> {
    /// Whether the keypair is the current one now. If not, it has lost an election and is the
    /// previous one.
    pub(crate) is_current: bool,
    /// The keypair that is gone.
    pub(crate) displaced: Displaced<K, 1>,
}

/// A peer's keypairs by role. `K` is a reference to a keypair.
pub(crate) struct Slots<K> {
    previous: Option<K>,
    current: Option<K>,
    next: Option<K>,
    /// Whether the next keypair has lost an election: nothing is ever sent with it.
    next_has_lost: bool,
}

impl<K: Ordered> Slots<K> {
    /// No keypairs.
    pub(crate) const fn new() -> Self {
        Self {
            previous: None,
            current: None,
            next: None,
            next_has_lost: false,
        }
    }

    /// The keypair before the current one, for receiving messages that are still under way.
    pub(crate) const fn previous(&self) -> Option<&K> {
        self.previous.as_ref()
    }

    /// The keypair that messages are sent with.
    pub(crate) const fn current(&self) -> Option<&K> {
        self.current.as_ref()
    }

    /// The keypair that waits for a message that shows that the initiator has it, too.
    pub(crate) const fn next(&self) -> Option<&K> {
        self.next.as_ref()
    }

    /// Whether a response to an initiation of this order comes too late: the current keypair is
    /// newer.
    pub(crate) fn have_overtaken(&self, order: u64) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.order() > order)
    }

    /// Takes in the keypair of a handshake that the peer has begun, and returns the one that it
    /// displaces.
    pub(crate) fn insert_as_responder(&mut self, new: K) -> Displaced<K, 1> {
        self.next_has_lost = false;
        [self.next.replace(new)]
    }

    /// Takes in the keypair of a handshake that this side has begun, and returns those that it
    /// displaces, which may be itself.
    ///
    /// `wins` says whether this side wins an election.
    pub(crate) fn insert_as_initiator(&mut self, new: K, wins: bool) -> Displaced<K, 2> {
        if self.have_overtaken(new.order()) {
            return [Some(new), None];
        }
        let older = self.next.take_if(|next| next.order() < new.order());
        self.next_has_lost = wins;
        let oldest = self.previous.take();
        self.previous = self.current.replace(new);
        [older, oldest]
    }

    /// Takes notice of the first message received with the next keypair, if `is_received` returns
    /// true for it: the keypair becomes the current one, or the previous one if it has lost an
    /// election. Returns `None` and changes nothing otherwise.
    pub(crate) fn confirm(&mut self, is_received: impl FnOnce(&K) -> bool) -> Option<Confirmed<K>> {
        let next = self.next.take_if(|next| is_received(next))?;
        let is_current = !self.next_has_lost;
        let older = if is_current {
            self.current.replace(next)
        } else {
            Some(next)
        };
        let oldest = core::mem::replace(&mut self.previous, older);
        Some(Confirmed {
            is_current,
            displaced: [oldest],
        })
    }

    /// Takes out all keypairs.
    pub(crate) fn clear(&mut self) -> Displaced<K, 3> {
        [self.next.take(), self.previous.take(), self.current.take()]
    }
}

#[kernel::macros::kunit_tests(wireguard_keypairs)]
mod tests {
    use super::*;

    /// A keypair whose number is its order.
    impl Ordered for u32 {
        fn order(&self) -> u64 {
            u64::from(*self)
        }
    }

    /// The contents of the slots: previous, current, next.
    fn content(slots: &Slots<u32>) -> [Option<u32>; 3] {
        [
            slots.previous().copied(),
            slots.current().copied(),
            slots.next().copied(),
        ]
    }

    /// Slots with this content, of which the next one has not lost.
    fn slots(previous: Option<u32>, current: Option<u32>, next: Option<u32>) -> Slots<u32> {
        Slots {
            previous,
            current,
            next,
            next_has_lost: false,
        }
    }

    /// A message is received with `keypair`. Returns whether that became the current one, and the
    /// keypair that is gone.
    fn confirm(slots: &mut Slots<u32>, keypair: u32) -> Option<(bool, Option<u32>)> {
        let confirmed = slots.confirm(|next| *next == keypair)?;
        let [gone] = confirmed.displaced;
        Some((confirmed.is_current, gone))
    }

    #[test]
    fn initiator_uses_new_keys_immediately() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert_as_initiator(1, false), [None, None]);
        assert_eq!(content(&slots), [None, Some(1), None]);
        assert_eq!(slots.insert_as_initiator(2, true), [None, None]);
        assert_eq!(content(&slots), [Some(1), Some(2), None]);
        assert_eq!(slots.insert_as_initiator(3, false), [None, Some(1)]);
        assert_eq!(content(&slots), [Some(2), Some(3), None]);
    }

    #[test]
    fn responder_waits_for_the_first_message() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert_as_responder(1), [None]);
        assert_eq!(content(&slots), [None, None, Some(1)]);
        assert_eq!(confirm(&mut slots, 7), None);
        assert_eq!(content(&slots), [None, None, Some(1)]);
        assert_eq!(confirm(&mut slots, 1), Some((true, None)));
        assert_eq!(content(&slots), [None, Some(1), None]);
        assert_eq!(confirm(&mut slots, 1), None);

        assert_eq!(slots.insert_as_responder(2), [None]);
        assert_eq!(content(&slots), [None, Some(1), Some(2)]);
        assert_eq!(confirm(&mut slots, 2), Some((true, None)));
        assert_eq!(content(&slots), [Some(1), Some(2), None]);

        // The oldest goes when the new keypair is confirmed, not before.
        assert_eq!(slots.insert_as_responder(3), [None]);
        assert_eq!(content(&slots), [Some(1), Some(2), Some(3)]);
        assert_eq!(confirm(&mut slots, 3), Some((true, Some(1))));
        assert_eq!(content(&slots), [Some(2), Some(3), None]);
    }

    #[test]
    fn responder_replaces_keys_that_were_never_confirmed() {
        let mut slots = slots(None, Some(1), None);
        assert_eq!(slots.insert_as_responder(2), [None]);
        assert_eq!(slots.insert_as_responder(3), [Some(2)]);
        assert_eq!(content(&slots), [None, Some(1), Some(3)]);
        assert_eq!(confirm(&mut slots, 2), None);
    }

    #[test]
    fn initiator_drops_keys_whose_response_got_lost() {
        for wins in [false, true] {
            let mut slots = slots(Some(1), Some(2), Some(3));
            assert_eq!(slots.insert_as_initiator(4, wins), [Some(3), Some(1)]);
            assert_eq!(content(&slots), [Some(2), Some(4), None]);
        }
    }

    #[test]
    fn winner_of_an_election_keeps_its_keys() {
        let mut slots = slots(Some(1), Some(2), Some(4));
        assert_eq!(slots.insert_as_initiator(3, true), [None, Some(1)]);
        assert_eq!(content(&slots), [Some(2), Some(3), Some(4)]);
        // What the loser has sent with the old keys is there by then.
        assert_eq!(confirm(&mut slots, 4), Some((false, Some(2))));
        assert_eq!(content(&slots), [Some(4), Some(3), None]);
        assert_eq!(slots.insert_as_responder(5), [None]);
        assert_eq!(confirm(&mut slots, 5), Some((true, Some(4))));
        assert_eq!(content(&slots), [Some(3), Some(5), None]);
    }

    #[test]
    fn loser_of_an_election_waits_for_the_winner() {
        let mut slots = slots(Some(1), Some(2), Some(4));
        assert_eq!(slots.insert_as_initiator(3, false), [None, Some(1)]);
        assert_eq!(content(&slots), [Some(2), Some(3), Some(4)]);
        assert_eq!(confirm(&mut slots, 4), Some((true, Some(2))));
        assert_eq!(content(&slots), [Some(3), Some(4), None]);
    }

    #[test]
    fn an_election_is_over_with_the_next_handshake() {
        // A peer that never confirms the session that has lost.
        let mut slots = slots(None, Some(1), Some(3));
        assert_eq!(slots.insert_as_initiator(2, true), [None, None]);
        assert_eq!(slots.insert_as_responder(4), [Some(3)]);
        assert_eq!(confirm(&mut slots, 4), Some((true, Some(1))));
        assert_eq!(content(&slots), [Some(2), Some(4), None]);
    }

    #[test]
    fn late_response_is_of_no_use() {
        for wins in [false, true] {
            let mut slots = slots(Some(1), Some(4), None);
            assert!(slots.have_overtaken(3) && !slots.have_overtaken(5));
            assert_eq!(slots.insert_as_initiator(3, wins), [Some(3), None]);
            assert_eq!(content(&slots), [Some(1), Some(4), None]);
            assert_eq!(slots.insert_as_responder(5), [None]);
            assert_eq!(slots.insert_as_initiator(3, wins), [Some(3), None]);
            assert_eq!(confirm(&mut slots, 5), Some((true, Some(1))));
        }
    }

    #[test]
    fn clear_takes_all_out() {
        let mut slots = slots(Some(1), Some(2), Some(3));
        assert_eq!(slots.clear(), [Some(3), Some(1), Some(2)]);
        assert_eq!(content(&slots), [None, None, None]);
        assert_eq!(slots.clear(), [None, None, None]);
    }

    #[test]
    fn no_keypair_is_lost_or_doubled() {
        let mut numbers = crate::testing::Numbers::new(0x6b65_7970_6169_7273);
        let mut slots = Slots::new();
        let mut made = 0u32;
        let mut displaced = 0usize;
        let mut pending = None;
        for step in 1..=20_000u32 {
            displaced += match numbers.below(5) {
                0 => {
                    // The initiation leaves now, its response may come later.
                    pending = Some(step);
                    0
                }
                1 => pending.take().map_or(0, |order| {
                    made += 1;
                    let displaced = slots.insert_as_initiator(order, numbers.below(2) == 1);
                    displaced.iter().flatten().count()
                }),
                2 => {
                    made += 1;
                    slots.insert_as_responder(step).iter().flatten().count()
                }
                3 => slots
                    .confirm(|_| true)
                    .map_or(0, |confirmed| confirmed.displaced.iter().flatten().count()),
                _ if numbers.below(10) == 0 => slots.clear().iter().flatten().count(),
                _ => 0,
            };
            let [a, b, c] = content(&slots);
            let held = [a, b, c].iter().flatten().count();
            assert_eq!(displaced + held, made as usize);
            assert!((a.is_none() || (a != b && a != c)) && (b.is_none() || b != c));
        }
        assert!(made > 5_000);
    }
}
