// SPDX-License-Identifier: GPL-2.0

//! The three places for a peer's keypairs, and how keypairs move through them.
//!
//! ```text
//! as initiator:  new ──► current ──► previous ──► gone
//! as responder:  new ──► next ──(first message received)──► current ──► previous ──► gone
//! ```
//!
//! When an initiator's new keypair comes while a next one is still waiting, that one becomes the
//! previous, and the current one goes. The response tells the initiator that both sides have the
//! keys. The responder learns that from the first message made with them, and sends with the
//! current keypair until then: sections 5.4.5 and 6.3 of the paper.

/// Keypairs that no longer have a place. The caller takes them out of the table of indices and
/// drops them.
pub(crate) type Displaced<K, const N: usize> = [Option<K>; N];

/// A peer's keypairs by role. `K` is a reference to a keypair.
pub(crate) struct Slots<K> {
    previous: Option<K>,
    current: Option<K>,
    next: Option<K>,
}

impl<K> Slots<K> {
    /// No keypairs.
    pub(crate) const fn new() -> Self {
        Self {
            previous: None,
            current: None,
            next: None,
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

    /// Takes in a keypair that a handshake has just made, and returns those it displaces.
    pub(crate) fn insert(&mut self, new: K, i_am_the_initiator: bool) -> Displaced<K, 2> {
        let oldest = self.previous.take();
        if i_am_the_initiator {
            let current = self.current.replace(new);
            match self.next.take() {
                // The other side is at least as likely to have the unconfirmed keypair as the
                // current one, so the unconfirmed one stays for receiving.
                Some(next) => {
                    self.previous = Some(next);
                    [current, oldest]
                }
                None => {
                    self.previous = current;
                    [None, oldest]
                }
            }
        } else {
            [self.next.replace(new), oldest]
        }
    }

    /// Makes the next keypair the current one if `is_received` returns true for it: a message was
    /// just received with it. Returns the keypair that this displaces. Returns `None` and changes
    /// nothing otherwise.
    pub(crate) fn confirm(
        &mut self,
        is_received: impl FnOnce(&K) -> bool,
    ) -> Option<Displaced<K, 1>> {
        let next = self.next.take_if(|next| is_received(next))?;
        let oldest = self.previous.take();
        self.previous = self.current.replace(next);
        Some([oldest])
    }

    /// Takes out all keypairs.
    pub(crate) fn clear(&mut self) -> Displaced<K, 3> {
        [self.next.take(), self.previous.take(), self.current.take()]
    }
}

#[kernel::macros::kunit_tests(wireguard_keypairs)]
mod tests {
    use super::*;

    /// The contents of the slots: previous, current, next.
    fn content(slots: &Slots<u32>) -> [Option<u32>; 3] {
        [
            slots.previous().copied(),
            slots.current().copied(),
            slots.next().copied(),
        ]
    }

    #[test]
    fn initiator_uses_new_keys_immediately() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert(1, true), [None, None]);
        assert_eq!(content(&slots), [None, Some(1), None]);
        assert_eq!(slots.insert(2, true), [None, None]);
        assert_eq!(content(&slots), [Some(1), Some(2), None]);
        assert_eq!(slots.insert(3, true), [None, Some(1)]);
        assert_eq!(content(&slots), [Some(2), Some(3), None]);
    }

    #[test]
    fn responder_waits_for_the_first_message() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert(1, false), [None, None]);
        assert_eq!(content(&slots), [None, None, Some(1)]);
        assert!(slots.confirm(|next| *next == 7).is_none());
        assert_eq!(content(&slots), [None, None, Some(1)]);
        assert!(slots.confirm(|next| *next == 1) == Some([None]));
        assert_eq!(content(&slots), [None, Some(1), None]);
        assert!(slots.confirm(|next| *next == 1).is_none());

        assert_eq!(slots.insert(2, false), [None, None]);
        assert_eq!(content(&slots), [None, Some(1), Some(2)]);
        assert!(slots.confirm(|next| *next == 2) == Some([None]));
        assert_eq!(content(&slots), [Some(1), Some(2), None]);

        // The oldest goes as soon as the new keypair is there.
        assert_eq!(slots.insert(3, false), [None, Some(1)]);
        assert_eq!(content(&slots), [None, Some(2), Some(3)]);
        assert!(slots.confirm(|next| *next == 3) == Some([None]));
        assert_eq!(content(&slots), [Some(2), Some(3), None]);
    }

    #[test]
    fn responder_replaces_keys_that_were_never_confirmed() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert(1, true), [None, None]);
        assert_eq!(slots.insert(2, false), [None, None]);
        assert_eq!(slots.insert(3, false), [Some(2), None]);
        assert_eq!(content(&slots), [None, Some(1), Some(3)]);
        assert!(slots.confirm(|next| *next == 2).is_none());
    }

    #[test]
    fn initiator_keeps_unconfirmed_keys_to_receive() {
        let mut slots = Slots::new();
        assert_eq!(slots.insert(1, true), [None, None]);
        assert_eq!(slots.insert(2, true), [None, None]);
        assert_eq!(slots.insert(3, false), [None, Some(1)]);
        assert_eq!(slots.insert(4, true), [Some(2), None]);
        assert_eq!(content(&slots), [Some(3), Some(4), None]);

        let mut slots = Slots::new();
        assert_eq!(slots.insert(1, false), [None, None]);
        assert_eq!(slots.insert(2, true), [None, None]);
        assert_eq!(content(&slots), [Some(1), Some(2), None]);
    }

    #[test]
    fn confirming_displaces_the_oldest() {
        // No sequence of the calls above fills all three slots together. It is handled all the
        // same.
        let mut slots = Slots {
            previous: Some(1),
            current: Some(2),
            next: Some(3),
        };
        assert!(slots.confirm(|next| *next == 3) == Some([Some(1)]));
        assert_eq!(content(&slots), [Some(2), Some(3), None]);
    }

    #[test]
    fn clear_takes_all_out() {
        let mut slots = Slots {
            previous: Some(1),
            current: Some(2),
            next: Some(3),
        };
        assert_eq!(slots.clear(), [Some(3), Some(1), Some(2)]);
        assert_eq!(content(&slots), [None, None, None]);
        assert_eq!(slots.clear(), [None, None, None]);
    }

    #[test]
    fn no_keypair_is_lost_or_doubled() {
        let mut numbers = crate::testing::Numbers::new(0x6b65_7970_6169_7273);
        let mut slots = Slots::new();
        let mut displaced = 0u32;
        for new in 1..=10_000u32 {
            displaced += match numbers.below(4) {
                0 => slots.insert(new, true).iter().flatten().count() as u32,
                1 => slots.insert(new, false).iter().flatten().count() as u32,
                2 => {
                    let confirmed = slots.confirm(|_| true);
                    1 + confirmed.iter().flatten().flatten().count() as u32
                }
                _ => 1 + slots.clear().iter().flatten().count() as u32,
            };
            let held = content(&slots).iter().flatten().count() as u32;
            assert_eq!(displaced + held, new);
            let [a, b, c] = content(&slots);
            assert!((a.is_none() || (a != b && a != c)) && (b.is_none() || b != c));
        }
    }
}
