// SPDX-License-Identifier: GPL-2.0

//! Encryption in place, against the library's own.

use super::Script;
use crate::linux::{
    crypto,
    engine,
    open_from, //
};
use kernel::prelude::*;

/// Seals and opens a text of any length in buffers of any length, whole and forged.
pub fn aead(bytes: &[u8]) {
    let mut script = Script(bytes);
    let key: [u8; 32] = script.take();
    let nonce = u64::from_le_bytes(script.take());
    let room = usize::from(script.byte());
    let flip = usize::from(script.word());
    let plain = script.0;
    let len = plain.len();

    let mut wanted = vec![0; len + 16];
    crypto::chacha20poly1305_encrypt(&mut wanted, plain, &[], nonce, &key).unwrap();

    // A block of 64 bytes in front of the text, and room behind it as the script says, perhaps too
    // little.
    let mut buf = vec![0x5a; (64 + len + room).saturating_sub(8)];
    if let Some(text) = buf.get_mut(64..64 + len) {
        text.copy_from_slice(plain);
    }
    let before = buf.clone();
    let sealed = engine::aead::chacha20poly1305_seal(&mut buf, len, nonce, &key);
    if room < 24 {
        assert_eq!(sealed, Err(EINVAL));
        assert_eq!(buf, before);
        return;
    }
    assert_eq!(sealed, Ok(()));
    assert_eq!(buf[..64], before[..64]);
    assert_eq!(buf[64..][..len + 16], wanted);

    let mut out = vec![0xa5; 64 + len + 16];
    let from = &mut buf[..64 + len + 16];
    let at = 64 + flip / 8 % (len + 16);
    from[at] ^= 1 << (flip % 8);
    let opened = open_from(&mut out, from, nonce, &key);
    assert_eq!(opened, Err(EBADMSG));
    from[at] ^= 1 << (flip % 8);
    let opened = open_from(&mut out, from, nonce, &key);
    assert_eq!(opened, Ok(()));
    assert!(out[..64] == [0xa5; 64] && out[64..][..len] == *plain);

    buf[at] ^= 1 << (flip % 8);
    let forged = buf.clone();
    let opened = engine::aead::chacha20poly1305_open(&mut buf[64..], len, nonce, &key);
    assert_eq!(opened, Err(EBADMSG));
    assert_eq!(buf[..64 + len], forged[..64 + len]);
    buf[64..][..len + 16].copy_from_slice(&wanted);
    let opened = engine::aead::chacha20poly1305_open(&mut buf[64..], len, nonce, &key);
    assert_eq!(opened, Ok(()));
    assert_eq!(buf[64..][..len], *plain);
}
