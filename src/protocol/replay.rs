// SPDX-License-Identifier: GPL-2.0

//! The window over the counters of received messages that lets each of them pass once: RFC 6479,
//! section 5.4.6 of the paper.

use kernel::prelude::*;

use super::limits::{
    COUNTER_BITS_TOTAL,
    COUNTER_WINDOW_SIZE,
    REJECT_AFTER_MESSAGES, //
};

const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (COUNTER_BITS_TOTAL / WORD_BITS) as usize;

/// Which counters have been seen: the highest one, and [`COUNTER_WINDOW_SIZE`] below it.
///
/// The bits form a ring of words that is never shifted. When the highest counter moves on into
/// other words, those are cleared; the window is one word shorter than the ring so that none of it
/// is lost with the word in use.
#[derive(Zeroable)]
pub(crate) struct ReplayWindow {
    /// One more than the highest counter seen, so that zero is "none yet".
    next: u64,
    ring: [u64; WORDS],
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub(crate) const fn new() -> Self {
        Self {
            next: 0,
            ring: [0; WORDS],
        }
    }

    /// Whether a message with this counter is accepted. Each counter is accepted once.
    ///
    /// Call this only after the message has been authenticated. A counter from
    /// [`REJECT_AFTER_MESSAGES`] on, or farther back than the window reaches, is refused.
    pub(crate) fn validate(&mut self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        // No overflow from here on: the limit keeps clear of the end by more than a window.
        let position = counter.wrapping_add(1);
        if position.wrapping_add(COUNTER_WINDOW_SIZE) < self.next {
            return false;
        }

        let word = position / WORD_BITS;
        if position > self.next {
            let last = self.next / WORD_BITS;
            let cleared = word.wrapping_sub(last).min(WORDS as u64);
            for i in 1..=cleared {
                if let Some(w) = self.word(last.wrapping_add(i)) {
                    *w = 0;
                }
            }
            self.next = position;
        }

        let bit = 1u64 << (position % WORD_BITS);
        match self.word(word) {
            Some(w) if *w & bit == 0 => {
                *w |= bit;
                true
            }
            _ => false,
        }
    }

    /// Whether no higher counter has been seen than this one, which was.
    pub(crate) fn is_highest(&self, counter: u64) -> bool {
        counter.wrapping_add(1) == self.next
    }

    /// One more than the highest counter seen.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the highest counter that may be used has been seen, so that the key is used up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next >= REJECT_AFTER_MESSAGES
    }

    /// The word of the ring for word number `word` of all counters. There always is one.
    #[inline]
    fn word(&mut self, word: u64) -> Option<&mut u64> {
        self.ring.get_mut(word as usize % WORDS)
    }
}

#[kernel::macros::kunit_tests(wireguard_replay)]
mod tests {
    use super::*;
    use crate::testing::Numbers;

    /// The first counter that pushes 0 out of the window.
    const LIMIT: u64 = COUNTER_WINDOW_SIZE + 1;

    /// The first step, if any, in which the window's answer is not the expected one.
    fn first_difference(steps: &[(u64, bool)]) -> Option<usize> {
        let mut window = ReplayWindow::new();
        steps
            .iter()
            .position(|(counter, expected)| window.validate(*counter) != *expected)
    }

    #[test]
    fn situations() {
        assert_eq!(
            first_difference(&[
                (0, true),
                (1, true),
                (1, false),
                (9, true),
                (8, true),
                (7, true),
                (7, false),
                (LIMIT, true),
                (LIMIT - 1, true),
                (LIMIT - 1, false),
                (LIMIT - 2, true),
                (2, true),
                (2, false),
                (LIMIT + 16, true),
                (3, false),
                (LIMIT + 16, false),
                (LIMIT * 4, true),
                (LIMIT * 4 - (LIMIT - 1), true),
                (10, false),
                (LIMIT * 4 - LIMIT, false),
                (LIMIT * 4 - (LIMIT + 1), false),
                (LIMIT * 4 - (LIMIT - 2), true),
                (LIMIT * 4 + 1 - LIMIT, false),
                (0, false),
            ]),
            None
        );
    }

    #[test]
    fn reject_after_messages_is_enforced() {
        let mut window = ReplayWindow::new();
        assert!(!window.validate(REJECT_AFTER_MESSAGES));
        assert!(window.validate(0));
        assert!(!window.is_exhausted());
        assert!(window.validate(REJECT_AFTER_MESSAGES - 1));
        assert!(window.is_exhausted());
        assert!(!window.validate(REJECT_AFTER_MESSAGES - 1));
        assert!(window.validate(REJECT_AFTER_MESSAGES - 2));
        assert!(!window.validate(REJECT_AFTER_MESSAGES - 2));
        assert!(window.validate(REJECT_AFTER_MESSAGES - 3));
        for counter in [
            REJECT_AFTER_MESSAGES,
            REJECT_AFTER_MESSAGES + 1,
            REJECT_AFTER_MESSAGES + 2,
            u64::MAX - 1,
            u64::MAX,
            0,
        ] {
            assert!(!window.validate(counter));
        }
    }

    #[test]
    fn whole_window_upwards() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.next(), 0);
        for counter in 1..=COUNTER_WINDOW_SIZE {
            assert!(window.validate(counter));
        }
        assert!(window.validate(0));
        assert_eq!(window.next(), COUNTER_WINDOW_SIZE + 1);
        assert!(!window.validate(0));

        let mut window = ReplayWindow::new();
        for counter in 2..=COUNTER_WINDOW_SIZE + 1 {
            assert!(window.validate(counter));
        }
        assert!(window.validate(1));
        assert!(!window.validate(0));
    }

    #[test]
    fn whole_window_downwards() {
        let mut window = ReplayWindow::new();
        for counter in (0..=COUNTER_WINDOW_SIZE).rev() {
            assert!(window.validate(counter));
        }

        let mut window = ReplayWindow::new();
        for counter in (1..=COUNTER_WINDOW_SIZE + 1).rev() {
            assert!(window.validate(counter));
        }
        assert!(!window.validate(0));

        let mut window = ReplayWindow::new();
        for counter in (1..=COUNTER_WINDOW_SIZE).rev() {
            assert!(window.validate(counter));
        }
        assert!(window.validate(COUNTER_WINDOW_SIZE + 1));
        assert!(!window.validate(0));

        let mut window = ReplayWindow::new();
        for counter in (1..=COUNTER_WINDOW_SIZE).rev() {
            assert!(window.validate(counter));
        }
        assert!(window.validate(0));
        assert!(window.validate(COUNTER_WINDOW_SIZE + 1));
    }

    #[test]
    fn agrees_with_a_set_of_all_counters_seen() -> Result {
        const RANGE: u64 = 60_000;
        let mut numbers = Numbers::new(0x7769_7265_6775_6172);
        for (base, spread) in [
            (0, 20),
            (0, 9_000),
            (123_456_789, 300),
            (1 << 60, 20_000),
            (u64::MAX - RANGE, 12_000),
        ] {
            let mut window = ReplayWindow::new();
            let mut seen = KVVec::from_elem(false, RANGE as usize, GFP_KERNEL)?;
            let mut highest: Option<u64> = None;
            let mut middle = 0u64;
            for _ in 0..40_000 {
                // Most counters lie near a point that slowly moves on; now and then it leaps.
                middle += numbers.below(3);
                if numbers.below(2_000) == 0 {
                    middle += numbers.below(12_000);
                }
                let offset = middle.saturating_sub(spread / 2) + numbers.below(spread);
                let Some(seen) = seen.get_mut(offset as usize) else {
                    break;
                };
                let counter = base + offset;
                let expected = !*seen
                    && counter < REJECT_AFTER_MESSAGES
                    && highest.is_none_or(|highest| {
                        highest - counter.min(highest) <= COUNTER_WINDOW_SIZE
                    });
                assert_eq!(window.validate(counter), expected);
                if expected {
                    *seen = true;
                    highest = highest.max(Some(counter));
                    assert_eq!(window.is_highest(counter), highest == Some(counter));
                }
            }
            assert!(highest.is_some());
        }
        Ok(())
    }
}
