// SPDX-License-Identifier: GPL-2.0

//! The window over the counters of received messages that lets each of them pass once: RFC 6479, section 5.4.6 of
//! the paper.

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
/// The bits form a ring of words that is never shifted. When the highest counter moves on into other words, those are
/// cleared; the window is one word shorter than the ring so that none of it is lost with the word in use.
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

    /// Whether a message with this counter is to be accepted, which it is once.
    ///
    /// To be asked after the message has been authenticated. A counter from [`REJECT_AFTER_MESSAGES`] on, or further
    /// behind than the window reaches, is refused.
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

    /// Whether the highest counter that may be used has been seen, so that the key is of no more use.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next >= REJECT_AFTER_MESSAGES
    }

    /// The word of the ring that stands for this multiple of its bits; there is always one.
    #[inline]
    fn word(&mut self, word: u64) -> Option<&mut u64> {
        self.ring.get_mut(word as usize % WORDS)
    }
}
