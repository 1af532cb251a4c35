// SPDX-License-Identifier: GPL-2.0

//! The replay window, against the set of all counters it has accepted.

use super::Script;
use crate::protocol::{
    limits::{
        COUNTER_WINDOW_SIZE,
        REJECT_AFTER_MESSAGES, //
    },
    replay::ReplayWindow, //
};
use std::collections::BTreeSet;

/// Tries counters near the last one, far from it, near the old end of the window, and near the
/// limit.
pub fn replay(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut window = ReplayWindow::new();
    let mut accepted = BTreeSet::new();
    let mut last = 0u64;
    while !script.is_empty() {
        let step = script.byte();
        last = match step >> 5 {
            0 => last.wrapping_add(u64::from(step & 31)),
            1 => last.wrapping_sub(u64::from(step & 31)),
            2 => last.wrapping_add(u64::from(script.word())),
            3 => last.wrapping_sub(u64::from(script.word())),
            4 => window
                .next()
                .wrapping_sub(COUNTER_WINDOW_SIZE + 16)
                .wrapping_add(step.into()),
            5 => window.next().wrapping_add(u64::from(step & 31) * 64),
            6 => u64::from_le_bytes(script.take()),
            _ => REJECT_AFTER_MESSAGES
                .wrapping_sub(16)
                .wrapping_add(u64::from(step & 31)),
        };
        let highest = accepted.last().copied().unwrap_or(0);
        let expected = last < REJECT_AFTER_MESSAGES
            && !accepted.contains(&last)
            && highest.saturating_sub(last) <= COUNTER_WINDOW_SIZE;
        assert_eq!(
            window.validate(last),
            expected,
            "counter {last}, highest {highest}"
        );
        if expected {
            accepted.insert(last);
        }
        assert_eq!(
            window.next(),
            accepted.last().map_or(0, |highest| highest + 1)
        );
        assert_eq!(
            window.is_exhausted(),
            window.next() >= REJECT_AFTER_MESSAGES
        );
    }
}
