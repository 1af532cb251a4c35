// SPDX-License-Identifier: GPL-2.0

//! The functions that are fuzzed: each takes any bytes, and panics if a check fails.
//!
//! `cargo test` calls them with pseudorandom bytes and with the corpus, `make fuzz` with bytes that
//! libFuzzer chooses.

mod aead;
mod allowedips;
mod keypairs;
mod limiter;
mod messages;
mod peers;
mod replay;

pub use self::{
    aead::aead,
    allowedips::allowedips,
    keypairs::keypairs,
    limiter::limiter,
    messages::messages,
    peers::peers,
    replay::replay, //
};

/// The bytes of a run, taken from the front; zeros when none are left.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// Whether no bytes are left.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    /// The next two bytes, as a little-endian number.
    fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// The next `N` bytes.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (first, rest) = self.0.split_at(N.min(self.0.len()));
        bytes[..first.len()].copy_from_slice(first);
        self.0 = rest;
        bytes
    }

    /// The next bytes, `len` at most.
    fn slice(&mut self, len: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        first
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Numbers;
    use std::{
        fs,
        path::Path, //
    };

    /// Calls `target` with its corpus, and `runs` times with fewer than `len` pseudorandom bytes.
    fn exercise(name: &str, target: fn(&[u8]), runs: u64, len: u64) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let mut count = 0;
        for file in fs::read_dir(corpus).unwrap() {
            target(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0);
        let mut numbers = Numbers::new(0x6675_7a7a);
        for _ in 0..runs {
            let mut bytes = vec![0; numbers.below(len) as usize];
            numbers.fill(&mut bytes);
            target(&bytes);
        }
    }

    #[test]
    fn aead() {
        exercise("aead", super::aead, 2_000, 300);
    }

    #[test]
    fn allowedips() {
        exercise("allowedips", super::allowedips, 200, 4_000);
    }

    #[test]
    fn keypairs() {
        exercise("keypairs", super::keypairs, 2_000, 200);
    }

    #[test]
    fn limiter() {
        exercise("limiter", super::limiter, 100, 4_000);
    }

    #[test]
    fn messages() {
        exercise("messages", super::messages, 500, 400);
    }

    #[test]
    fn peers() {
        exercise("peers", super::peers, 100, 400);
    }

    #[test]
    fn replay() {
        exercise("replay", super::replay, 500, 2_000);
    }
}
