// SPDX-License-Identifier: GPL-2.0

//! Tests against the library's own encryption.

use super::*;
use crate::{
    linux::crypto::chacha20poly1305_encrypt,
    testing::Numbers, //
};

/// As [`chacha20poly1305_open_from`], but `src` begins with the block in front of the text, and is
/// as long as `dst`.
fn open_from(dst: &mut [u8], src: &[u8], nonce: u64, key: &[u8; 32]) -> Result {
    assert!(dst.len() == src.len());
    // SAFETY: `src` has a block of 64 bytes, the text and the tag, and is as long as `dst`. It is
    // borrowed, so nothing writes to it, and it does not overlap with `dst`.
    unsafe { chacha20poly1305_open_from(dst, src.as_ptr().wrapping_add(64), nonce, key) }
}

#[kernel::macros::kunit_tests(rust_aead)]
mod cases {
    use super::*;

    #[test]
    fn chacha20poly1305_seal_is_the_librarys_encryption_at_any_length() -> Result {
        let mut numbers = Numbers::new(1);
        let lengths = Iterator::chain(0..600, [1023, 1420, 1424, 1456, 4095, 8920, 65_503]);
        for len in lengths {
            let mut key = [0; 32];
            numbers.fill(&mut key);
            let nonce = numbers.next();
            let mut plain = KVec::from_elem(0, len, GFP_KERNEL)?;
            numbers.fill(&mut plain);
            let mut wanted = KVec::from_elem(0, len + 16, GFP_KERNEL)?;
            chacha20poly1305_encrypt(&mut wanted, &plain, &[], nonce, &key)?;
            // The room behind the tag does not matter, nor do the bytes in it and in front of the
            // text.
            for room in [0, 15, 40] {
                let mut buf = KVec::from_elem(0, 64 + len + 16 + room, GFP_KERNEL)?;
                numbers.fill(&mut buf);
                let mut front = [0; 64];
                front.copy_from_slice(&buf[..64]);
                buf[64..64 + len].copy_from_slice(&plain);
                chacha20poly1305_seal(&mut buf, len, nonce, &key)?;
                assert!(buf[..64] == front);
                assert!(buf[64..64 + len + 16] == wanted[..]);

                let sealed = &mut buf[64..];
                let bit = numbers.below((len as u64 + 16) * 8) as usize;
                sealed[bit / 8] ^= 1 << (bit % 8);
                assert!(chacha20poly1305_open(sealed, len, nonce, &key) == Err(EBADMSG));
                // The function may have overwritten the tag.
                sealed[len..len + 16].copy_from_slice(&wanted[len..]);
                if bit / 8 < len {
                    sealed[bit / 8] ^= 1 << (bit % 8);
                }
                assert!(sealed[..len + 16] == wanted[..]);
                assert!(chacha20poly1305_open(sealed, len, nonce ^ 1, &key) == Err(EBADMSG));
                sealed[len..len + 16].copy_from_slice(&wanted[len..]);
                chacha20poly1305_open(sealed, len, nonce, &key)?;
                assert!(sealed[..len] == plain[..]);

                // And from one buffer into another.
                numbers.fill(&mut buf);
                buf[64..64 + len + 16].copy_from_slice(&wanted);
                let mut out = KVec::from_elem(0, 64 + len + 16, GFP_KERNEL)?;
                numbers.fill(&mut out);
                front.copy_from_slice(&out[..64]);
                let from = &mut buf[..64 + len + 16];
                from[64 + bit / 8] ^= 1 << (bit % 8);
                assert!(open_from(&mut out, from, nonce, &key) == Err(EBADMSG));
                from[64 + bit / 8] ^= 1 << (bit % 8);
                assert!(open_from(&mut out, from, !nonce, &key) == Err(EBADMSG));
                open_from(&mut out, from, nonce, &key)?;
                assert!(out[..64] == front && out[64..64 + len] == plain[..]);
            }
        }
        Ok(())
    }

    #[test]
    fn chacha20poly1305_seal_checks_lengths() {
        let mut buf = [0; 100];
        assert!(chacha20poly1305_seal(&mut buf, 21, 0, &[0; 32]) == Err(EINVAL));
        assert!(chacha20poly1305_seal(&mut buf[..63], 0, 0, &[0; 32]) == Err(EINVAL));
        assert!(chacha20poly1305_open(&mut buf, 85, 0, &[0; 32]) == Err(EINVAL));
        assert!(chacha20poly1305_open(&mut buf, usize::MAX, 0, &[0; 32]) == Err(EINVAL));
        assert!(open_from(&mut buf[..79], &[0; 79], 0, &[0; 32]) == Err(EINVAL));
        assert!(buf == [0; 100]);
    }
}
