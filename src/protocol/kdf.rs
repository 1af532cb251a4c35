// SPDX-License-Identifier: GPL-2.0

//! HMAC and HKDF over BLAKE2s: RFC 2104, RFC 5869, section 5.4 of the paper.

use super::messages::NOISE_HASH_LEN;
use crate::linux::crypto::{
    blake2s,
    Secret,
    BLAKE2S_BLOCK_SIZE, //
};

/// A chaining key, or a key derived from one.
pub(super) type Key = Secret<NOISE_HASH_LEN>;

/// HMAC-BLAKE2s of `parts`, one after the other, written to `out`.
///
/// This is not the keyed mode of BLAKE2s, which the MACs of the messages use.
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

/// HKDF: mixes `data` into `chaining_key` and derives as many keys as `outputs` has places, at most
/// 255.
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

#[kernel::macros::kunit_tests(wireguard_kdf)]
mod tests {
    use super::*;
    use crate::testing::hex;

    // Made with the modules hmac and hashlib of Python 3.11: hmac.new(key, data, "blake2s").
    const KEY: &[u8; 32] = b"key 32 bytes long, is it, or not";

    #[test]
    fn hmac_agrees_with_python() {
        let key = Key::from_bytes(KEY);
        let mut mac = Key::zeroed();
        let expected = hex("b1c95f50da3a7dab407d7289eb6c0aee24ad315c51d46093c51ec17a0c1a2dbf");
        hmac(&key, [b"data", b""], &mut mac);
        assert!(mac.as_bytes() == &expected);
        hmac(&key, [b"da", b"ta"], &mut mac);
        assert!(mac.as_bytes() == &expected);
    }

    #[test]
    fn kdf_agrees_with_python() {
        const EXPECTED: [[u8; 32]; 3] = [
            hex("838f5d18773a9d4deada7ca3bf75ef08f0e205fe7961e34353a92336e322150d"),
            hex("3fcbd18bf7b0b11fda8fb90b58887d8d54ad337209520b25f6138f885fcda129"),
            hex("9006922e1f2389743ec619796c44e2b8a4ddf42e801276f11eb128c41b3fc1c5"),
        ];
        let key = Key::from_bytes(KEY);
        let [mut first, mut second, mut third] = [Key::zeroed(), Key::zeroed(), Key::zeroed()];
        kdf(&key, b"input", [&mut first, &mut second, &mut third]);
        assert!(first.as_bytes() == &EXPECTED[0]);
        assert!(second.as_bytes() == &EXPECTED[1]);
        assert!(third.as_bytes() == &EXPECTED[2]);

        // Fewer outputs have the same values.
        let [mut first, mut second] = [Key::zeroed(), Key::zeroed()];
        kdf(&key, b"input", [&mut first, &mut second]);
        assert!(first.as_bytes() == &EXPECTED[0]);
        assert!(second.as_bytes() == &EXPECTED[1]);
        let mut first = Key::zeroed();
        kdf(&key, b"input", [&mut first]);
        assert!(first.as_bytes() == &EXPECTED[0]);
    }
}
