// SPDX-License-Identifier: GPL-2.0

//! Tests of the crypto library's faces against published vectors, and of the arguments that they
//! refuse.

use super::*;
use crate::{
    linux::compat::code::EBADMSG,
    testing::hex, //
};
use core::mem::MaybeUninit;

/// The bytes that the self-test of RFC 7693, appendix E, hashes.
fn selftest_seq(out: &mut [u8], seed: u32) {
    let (mut a, mut b) = (0xDEAD_4BADu32.wrapping_mul(seed), 1u32);
    for byte in out {
        let t = a.wrapping_add(b);
        a = b;
        b = t;
        *byte = (t >> 24) as u8;
    }
}

/// Appends the self-test's digests of `LEN` bytes to `all`.
fn selftest_digests<const LEN: usize>(all: &mut KVec<u8>) -> Result {
    let mut key = [0; LEN];
    selftest_seq(&mut key, LEN as u32);
    for len in [0usize, 3, 64, 65, 255, 1024] {
        let mut input = KVec::from_elem(0, len, GFP_KERNEL)?;
        selftest_seq(&mut input, len as u32);
        let mut digest = [0; LEN];
        blake2s(&[&input], &mut digest);
        all.extend_from_slice(&digest, GFP_KERNEL)?;
        blake2s_keyed(&key, &[&input], &mut digest);
        all.extend_from_slice(&digest, GFP_KERNEL)?;
    }
    Ok(())
}

// RFC 8439, appendix A.5. Its nonce begins with four zero bytes, as the nonces of this interface
// do.
const RFC8439_KEY: [u8; 32] =
    hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
const RFC8439_NONCE: u64 = 0x0807_0605_0403_0201;
const RFC8439_AD: [u8; 12] = hex("f33388860000000000004e91");
const RFC8439_PLAIN: &[u8; 265] = b"Internet-Drafts are draft documents valid for a maximum \
    of six months and may be updated, replaced, or obsoleted by other documents at any time. It is \
    inappropriate to use Internet-Drafts as reference material or to cite them other than as \
    /\xe2\x80\x9cwork in progress./\xe2\x80\x9d";
const RFC8439_CIPHER: [u8; 281] = hex(
    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0\
     bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855\
     9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9\
     9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a\
     0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130\
     305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38",
);

#[kernel::macros::kunit_tests(rust_crypto)]
mod cases {
    use super::*;

    #[test]
    fn blake2s_rfc7693() {
        let expected = hex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        let mut digest = [0; 32];
        blake2s(&[b"abc"], &mut digest);
        assert!(digest == expected);
        blake2s(&[b"", b"a", b"bc", b""], &mut digest);
        assert!(digest == expected);
    }

    #[test]
    fn blake2s_rfc7693_selftest() -> Result {
        let mut all = KVec::new();
        selftest_digests::<16>(&mut all)?;
        selftest_digests::<20>(&mut all)?;
        selftest_digests::<28>(&mut all)?;
        selftest_digests::<32>(&mut all)?;
        let mut digest = [0; 32];
        blake2s(&[&all], &mut digest);
        assert!(digest == hex("6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe"));
        Ok(())
    }

    #[test]
    fn chacha20poly1305_rfc8439() -> Result {
        let mut cipher = [0; 281];
        chacha20poly1305_encrypt(
            &mut cipher,
            RFC8439_PLAIN,
            &RFC8439_AD,
            RFC8439_NONCE,
            &RFC8439_KEY,
        )?;
        assert!(cipher == RFC8439_CIPHER);

        let mut plain = [0; 265];
        chacha20poly1305_decrypt(
            &mut plain,
            &cipher,
            &RFC8439_AD,
            RFC8439_NONCE,
            &RFC8439_KEY,
        )?;
        assert!(&plain == RFC8439_PLAIN);
        Ok(())
    }

    #[test]
    fn chacha20poly1305_notices_every_flipped_byte() {
        for i in 0..RFC8439_CIPHER.len() {
            let mut buf = RFC8439_CIPHER;
            if let Some(byte) = buf.get_mut(i) {
                *byte ^= 0x10;
            }
            let mut plain = [0x55; 265];
            assert!(
                chacha20poly1305_decrypt(
                    &mut plain,
                    &buf,
                    &RFC8439_AD,
                    RFC8439_NONCE,
                    &RFC8439_KEY
                ) == Err(EBADMSG)
            );
            assert!(plain == [0x55; 265]);
        }
        let mut plain = [0; 265];
        for (ad, nonce) in [(&RFC8439_AD[..], 1), (&RFC8439_AD[1..], RFC8439_NONCE)] {
            assert!(
                chacha20poly1305_decrypt(&mut plain, &RFC8439_CIPHER, ad, nonce, &RFC8439_KEY)
                    == Err(EBADMSG)
            );
        }
    }

    #[test]
    fn chacha20poly1305_lengths_are_checked() {
        let key = [0; 32];
        let mut buf = [0; 40];
        assert!(chacha20poly1305_encrypt(&mut buf, &[0; 23], &[], 0, &key) == Err(EINVAL));
        assert!(chacha20poly1305_encrypt(&mut buf, &[0; 25], &[], 0, &key) == Err(EINVAL));
        assert!(chacha20poly1305_encrypt(&mut buf[..15], &[], &[], 0, &key) == Err(EINVAL));
        assert!(chacha20poly1305_decrypt(&mut buf, &[0; 55], &[], 0, &key) == Err(EINVAL));
        assert!(chacha20poly1305_decrypt(&mut buf, &[0; 57], &[], 0, &key) == Err(EINVAL));
        assert!(chacha20poly1305_decrypt(&mut [], &[0; 15], &[], 0, &key) == Err(EINVAL));
        assert!(xchacha20poly1305_encrypt(&mut buf, &[0; 23], &[], &[0; 24], &key) == Err(EINVAL));
        assert!(xchacha20poly1305_decrypt(&mut buf, &[0; 55], &[], &[0; 24], &key) == Err(EINVAL));
        assert!(buf == [0; 40]);
    }

    #[test]
    fn xchacha20poly1305_draft() -> Result {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1.
        const PLAIN: &[u8; 114] = b"Ladies and Gentlemen of the class of '99: If I could \
            offer you only one tip for the future, sunscreen would be it.";
        const CIPHER: [u8; 130] = hex(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39\
             ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49",
        );
        let key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
        let nonce = hex("404142434445464748494a4b4c4d4e4f5051525354555657");
        let ad: [u8; 12] = hex("50515253c0c1c2c3c4c5c6c7");

        let mut cipher = [0; 130];
        xchacha20poly1305_encrypt(&mut cipher, PLAIN, &ad, &nonce, &key)?;
        assert!(cipher == CIPHER);

        let mut plain = [0; 114];
        xchacha20poly1305_decrypt(&mut plain, &cipher, &ad, &nonce, &key)?;
        assert!(&plain == PLAIN);

        cipher[0] ^= 1;
        let mut plain = [0; 114];
        assert!(xchacha20poly1305_decrypt(&mut plain, &cipher, &ad, &nonce, &key) == Err(EBADMSG));
        assert!(plain == [0; 114]);
        Ok(())
    }

    #[test]
    fn curve25519_rfc7748() {
        // Section 5.2: scalar, u-coordinate, product.
        const VECTORS: [[[u8; 32]; 3]; 2] = [
            [
                hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
                hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
            ],
            [
                hex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
                hex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"),
            ],
        ];
        for [scalar, point, product] in &VECTORS {
            let mut shared = Secret::zeroed();
            assert!(curve25519(&mut shared, &Secret::from_bytes(scalar), point));
            assert!(shared.as_bytes() == product);
        }
    }

    #[test]
    fn curve25519_rfc7748_thousand_times() {
        // Section 5.2: each product is the next scalar, and each scalar the next u-coordinate.
        let mut scalar = Secret::<32>::zeroed();
        scalar.as_mut_bytes()[0] = 9;
        let mut point = *scalar.as_bytes();
        for _ in 0..1000 {
            let mut shared = Secret::zeroed();
            assert!(curve25519(&mut shared, &scalar, &point));
            point = *scalar.as_bytes();
            scalar.copy_from(&shared);
        }
        assert!(
            scalar.as_bytes()
                == &hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
        );
    }

    #[test]
    fn curve25519_rfc7748_diffie_hellman() {
        // Section 6.1.
        let a = Secret::from_bytes(&hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let b = Secret::from_bytes(&hex(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let a_public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let b_public = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let product = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        let mut public = [0; 32];
        assert!(curve25519_generate_public(&mut public, &a) && public == a_public);
        assert!(curve25519_generate_public(&mut public, &b) && public == b_public);
        let mut shared = Secret::zeroed();
        assert!(curve25519(&mut shared, &a, &b_public));
        assert!(shared.as_bytes() == &product);
        assert!(curve25519(&mut shared, &b, &a_public));
        assert!(shared.as_bytes() == &product);
    }

    #[test]
    fn curve25519_refuses_points_of_low_order() {
        const LOW_ORDER: [[u8; 32]; 7] = [
            hex("0000000000000000000000000000000000000000000000000000000000000000"),
            hex("0100000000000000000000000000000000000000000000000000000000000000"),
            hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
            hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
            hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
            hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ];
        let mut secret = Secret::zeroed();
        curve25519_generate_secret(&mut secret);
        for point in &LOW_ORDER {
            let mut shared = Secret::zeroed();
            assert!(!curve25519(&mut shared, &secret, point));
        }
    }

    #[test]
    fn curve25519_secrets() {
        assert!(!curve25519_generate_public(&mut [0; 32], &Secret::zeroed()));

        let mut secret = Secret::from_bytes(&[0xff; 32]);
        curve25519_clamp_secret(&mut secret);
        let bytes = secret.as_bytes();
        assert_eq!((bytes[0], bytes[1], bytes[31]), (0xf8, 0xff, 0x7f));

        let mut other = Secret::zeroed();
        curve25519_generate_secret(&mut other);
        assert!(!other.is_zero());
        assert_eq!(other.as_bytes()[0] & 7, 0);
        assert_eq!(other.as_bytes()[31] & 0xc0, 0x40);
        let first = Secret::from_bytes(other.as_bytes());
        curve25519_generate_secret(&mut other);
        assert!(!other.ct_eq(&first));
    }

    #[test]
    fn constant_time_comparison() {
        let a = [7; 32];
        assert!(ct_eq(&a, &[7; 32]));
        for i in 0..32 {
            let mut b = a;
            if let Some(byte) = b.get_mut(i) {
                *byte ^= 0x80;
            }
            assert!(!ct_eq(&a, &b));
            assert!(!Secret::from_bytes(&a).ct_eq(&Secret::from_bytes(&b)));
        }
        assert!(Secret::<32>::zeroed().is_zero());
        assert!(!Secret::from_bytes(&a).is_zero());
    }

    #[test]
    fn secret_is_zeroed_when_dropped() {
        let mut place = MaybeUninit::new(Secret::from_bytes(&[0xa5; 32]));
        let bytes: *const [u8; 32] = place.as_ptr().cast();
        // SAFETY: `place` holds a `Secret`, which consists of its bytes alone.
        assert!(unsafe { bytes.read_volatile() } == [0xa5; 32]);
        // SAFETY: `place` holds a `Secret`, which is not used as such any more.
        unsafe { place.assume_init_drop() };
        // SAFETY: `place` is still in scope, and the drop has written its bytes.
        assert!(unsafe { bytes.read_volatile() } == [0; 32]);
    }
}
