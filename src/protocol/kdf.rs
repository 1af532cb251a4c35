// SPDX-License-Identifier: GPL-2.0

//! HMAC and HKDF over BLAKE2s: RFC 2104, RFC 5869, section 5.4 of the paper.

use super::messages::NOISE_HASH_LEN;
use crate::linux::crypto::{
    blake2s,
    Secret,
    BLAKE2S_BLOCK_SIZE, //
};

/// A chaining key, or what is derived from one.
pub(super) type Key = Secret<NOISE_HASH_LEN>;

/// HMAC-BLAKE2s of `parts`, one after the other, written to `out`.
///
/// Not the keyed mode of BLAKE2s, which the MACs of the messages use.
fn hmac(key: &Key, parts: [&[u8]; 2], out: &mut Key) {
    let mut pad = Secret::<BLAKE2S_BLOCK_SIZE>::zeroed();
    let mut inner = Key::zeroed();
    let [first, second] = parts;

    for (to, from) in pad.as_mut_bytes().iter_mut().zip(key.as_bytes()) {
        *to = *from;
    }
    for byte in pad.as_mut_bytes() {
        *byte ^= 0x36;
    }
    blake2s(&[pad.as_bytes(), first, second], inner.as_mut_bytes());
    for byte in pad.as_mut_bytes() {
        *byte ^= 0x36 ^ 0x5c;
    }
    blake2s(&[pad.as_bytes(), inner.as_bytes()], out.as_mut_bytes());
}

/// HKDF: mixes `data` into `chaining_key` and derives as many keys as `outputs` has places, at most 255.
pub(super) fn kdf<const N: usize>(chaining_key: &Key, data: &[u8], outputs: [&mut Key; N]) {
    const { assert!(N <= u8::MAX as usize) };

    let mut extracted = Key::zeroed();
    hmac(chaining_key, [data, &[]], &mut extracted);

    let mut last: Option<&mut Key> = None;
    for (number, output) in (1u8..=u8::MAX).zip(outputs) {
        let before: &[u8] = match &last {
            Some(key) => key.as_bytes(),
            None => &[],
        };
        hmac(&extracted, [before, &[number]], output);
        last = Some(output);
    }
}
