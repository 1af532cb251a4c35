// SPDX-License-Identifier: GPL-2.0

//! The vectors of Wycheproof, for the primitives as the protocol uses them. Wycheproof has none
//! for BLAKE2s.

use chacha20::{
    hchacha,
    R20, //
};
use kernel::prelude::*;
use wycheproof::{
    aead,
    xdh,
    TestResult, //
};

use crate::linux::{
    crypto::{
        self,
        Secret, //
    },
    engine,
    open_from, //
};

/// A vector for ChaCha20-Poly1305 with a nonce of 64 bits.
struct Vector<'a> {
    key: [u8; 32],
    nonce: u64,
    ad: &'a [u8],
    plain: &'a [u8],
    /// Ciphertext and tag.
    sealed: Vec<u8>,
    /// Whether the tag is right.
    valid: bool,
}

/// Runs a vector through all functions that encrypt or decrypt with ChaCha20-Poly1305.
fn check_chacha20poly1305(vector: &Vector<'_>) {
    let Vector {
        key,
        nonce,
        ad,
        plain,
        sealed,
        valid,
    } = vector;
    let expected = if *valid { Ok(()) } else { Err(EBADMSG) };

    let mut out = vec![0; sealed.len()];
    crypto::chacha20poly1305_encrypt(&mut out, plain, ad, *nonce, key).unwrap();
    assert_eq!(out == *sealed, *valid);
    let mut out = vec![0x55; plain.len()];
    assert_eq!(
        crypto::chacha20poly1305_decrypt(&mut out, sealed, ad, *nonce, key),
        expected
    );
    if *valid {
        assert_eq!(out, *plain);
    } else {
        assert!(out.iter().all(|byte| *byte == 0x55));
    }
    if !ad.is_empty() {
        return;
    }

    // With and without room behind the tag.
    for room in [0, 16] {
        let mut buf = vec![0x55; 64 + plain.len() + 16 + room];
        buf[64..][..plain.len()].copy_from_slice(plain);
        engine::aead::chacha20poly1305_seal(&mut buf, plain.len(), *nonce, key).unwrap();
        assert_eq!(buf[64..][..sealed.len()] == **sealed, *valid);

        let mut buf = vec![0x55; sealed.len() + room];
        buf[..sealed.len()].copy_from_slice(sealed);
        assert_eq!(
            engine::aead::chacha20poly1305_open(&mut buf, plain.len(), *nonce, key),
            expected
        );
        assert_eq!(buf[..plain.len()] == **plain, *valid || plain.is_empty());
    }
    let from = [&[0x55; 64], &**sealed].concat();
    let mut out = vec![0xaa; from.len()];
    assert_eq!(open_from(&mut out, &from, *nonce, key), expected);
    assert!(out[..64].iter().all(|byte| *byte == 0xaa));
    if *valid {
        assert_eq!(out[64..][..plain.len()], **plain);
    }
}

/// The tests of a set whose nonces have `N` bytes.
fn aead_tests<const N: usize>(name: aead::TestName) -> Vec<(aead::Test, [u8; 32], [u8; N])> {
    let set = aead::TestSet::load(name).unwrap();
    let groups = set
        .test_groups
        .into_iter()
        .filter(|group| group.nonce_size == 8 * N);
    groups
        .flat_map(|group| group.tests)
        .map(|test| {
            let key = test.key.as_slice().try_into().unwrap();
            let nonce = test.nonce.as_slice().try_into().unwrap();
            (test, key, nonce)
        })
        .collect()
}

#[test]
fn chacha20poly1305() {
    let mut count = 0;
    for (test, key, nonce) in aead_tests::<12>(aead::TestName::ChaCha20Poly1305) {
        // WireGuard's nonces have 64 bits.
        let Some(nonce) = nonce.strip_prefix(&[0; 4]) else {
            continue;
        };
        count += 1;
        check_chacha20poly1305(&Vector {
            key,
            nonce: u64::from_le_bytes(nonce.try_into().unwrap()),
            ad: &test.aad,
            plain: &test.pt,
            sealed: [&test.ct[..], &test.tag[..]].concat(),
            valid: test.result == TestResult::Valid,
        });
    }
    assert_eq!(count, 10);
}

#[test]
fn xchacha20poly1305() {
    let tests = aead_tests::<24>(aead::TestName::XChaCha20Poly1305);
    assert_eq!(tests.len(), 306);
    for (test, key, nonce) in tests {
        let valid = test.result == TestResult::Valid;
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let mut out = vec![0; sealed.len()];
        crypto::xchacha20poly1305_encrypt(&mut out, &test.pt, &test.aad, &nonce, &key).unwrap();
        assert_eq!(out == sealed, valid, "{}", test.tc_id);
        let mut out = vec![0x55; test.pt.len()];
        let done = crypto::xchacha20poly1305_decrypt(&mut out, &sealed, &test.aad, &nonce, &key);
        assert_eq!(
            done,
            if valid { Ok(()) } else { Err(EBADMSG) },
            "{}",
            test.tc_id
        );
        assert_eq!(
            out == *test.pt,
            valid || test.pt.is_empty(),
            "{}",
            test.tc_id
        );
    }
}

/// XChaCha20-Poly1305 is ChaCha20-Poly1305 with a key that HChaCha20 makes, and with a nonce of 64
/// bits.
#[test]
fn chacha20poly1305_inside_of_xchacha20poly1305() {
    for (test, key, nonce) in aead_tests::<24>(aead::TestName::XChaCha20Poly1305) {
        let (first, last) = nonce.split_at(16);
        check_chacha20poly1305(&Vector {
            key: hchacha::<R20>(&key.into(), first.try_into().unwrap()).into(),
            nonce: u64::from_le_bytes(last.try_into().unwrap()),
            ad: &test.aad,
            plain: &test.pt,
            sealed: [&test.ct[..], &test.tag[..]].concat(),
            valid: test.result == TestResult::Valid,
        });
    }
}

#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut count = 0;
    let mut zero = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(point) = <&[u8; 32]>::try_from(test.public_key.as_slice()) else {
            assert_ne!(test.result, TestResult::Valid);
            continue;
        };
        count += 1;
        let private = Secret::from_bytes(test.private_key.as_slice().try_into().unwrap());
        let mut shared = Secret::<32>::zeroed();
        let usable = crypto::curve25519(&mut shared, &private, point);
        assert_eq!(
            shared.as_bytes()[..],
            test.shared_secret[..],
            "{}",
            test.tc_id
        );
        // A shared secret of zeros is refused: the other side alone has chosen it.
        assert_eq!(
            usable,
            test.shared_secret.iter().any(|byte| *byte != 0),
            "{}",
            test.tc_id
        );
        zero += usize::from(!usable);
    }
    assert_eq!(count, 518);
    assert!(zero > 0);
}
