// SPDX-License-Identifier: GPL-2.0

//! Tests of MACs and cookies.
//!
//! The vectors were made with Python: BLAKE2s by hashlib, XChaCha20-Poly1305 by PyNaCl. The
//! responder's private key is the clamped BLAKE2s hash of "responder static", the secret that of
//! "cookie secret". The message is the 116 bytes of the initiation in the vectors of the handshake,
//! or zeros. The source is 192.0.2.33 or 2001:db8::42, port 51820.

use super::*;
use crate::{
    protocol::{
        limits::NSEC_PER_SEC,
        messages::{
            HandshakeInitiation,
            HandshakeResponse, //
        }, //
    },
    testing::hex, //
};
use kernel::prelude::*;

const RESPONDER_PUBLIC: PublicKey = PublicKey::new(hex(
    "955412b0ffd76706710b79bcbb59645da077b4645d1f3281e886ba38da65e13e",
));
const SECRET: [u8; 32] = hex("700313011d0817c94ea498f961b090261634266780fde2b328fed57f0e95ead4");
const INITIATION: [u8; 148] = hex(
    "01000000443322111fb22d22843e83c5616c4e80caa091331a66ff0e74573e68e084dd145172a45c887006ed4facd758\
     cbf74d23d791a8ad13910525629a4a2f395835df13044854fefcb33ec767ea9ad23311fedd543bb4de2e7784d2c18091\
     4723df2557d1e50acc9eb38d77b9dd37cb4b22b193974906740c2c7761119748abc3e60a000000000000000000000000\
     00000000",
);
const COOKIE_V4: [u8; 16] = hex("69bd6cbddeb750a9422b692ba5562ee6");
const COOKIE_V6: [u8; 16] = hex("33fbe5151917f6a6c7fbdfea7b2b9039");
const REPLY: [u8; 64] = hex(
    "0300000044332211000102030405060708090a0b0c0d0e0f1011121314151617940c8866b8e23f2348697635569082a1\
     23a34bb435ed93cad1949cde00231d45",
);
const MAC2: [u8; 16] = hex("945a63de42707ab480d3e2150e9ff52a");
const SOURCE_V4: Source = Source::V4 {
    addr: [192, 0, 2, 33],
    port: [0xca, 0x6c],
};
const SOURCE_V6: Source = Source::V6 {
    addr: hex("20010db8000000000000000000000042"),
    port: [0xca, 0x6c],
};

const SECOND: u64 = NSEC_PER_SEC;
const START: u64 = 1000 * SECOND;

/// The secret of the vectors.
fn secret() -> CookieSecret {
    let mut secret = CookieSecret::zeroed();
    secret.secret.copy_from(&Secret::from_bytes(&SECRET));
    secret.birthdate = START;
    secret
}

/// The keys of the responder.
fn keys() -> MacKeys {
    let mut keys = MacKeys::zeroed();
    keys.set(RESPONDER_PUBLIC.as_bytes());
    keys
}

/// An initiation with the first 116 bytes of the vectors, and no MACs.
fn initiation() -> HandshakeInitiation {
    let mut message = HandshakeInitiation::new(0);
    for (to, from) in message.as_mut_bytes().iter_mut().zip(INITIATION) {
        *to = from;
    }
    message.macs = Macs::ZERO;
    message
}

/// Gives `peer` the responder's reply to `message`, to which `peer` has just added MACs. Returns
/// whether `peer` takes it.
fn get_cookie(peer: &mut Cookie, message: &HandshakeInitiation, source: &Source, now: u64) -> bool {
    secret()
        .create_reply(&keys(), 1, &message.macs, source)
        .is_some_and(|reply| peer.consume_reply(&reply, now))
}

#[kernel::macros::kunit_tests(wireguard_cookie)]
mod cases {
    use super::*;

    #[test]
    fn vectors_of_another_implementation() -> Result {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();

        peer.add_macs(&mut message, START);
        assert!(message.as_bytes() == INITIATION);

        let mut cookie = Secret::zeroed();
        secret().make_cookie(&SOURCE_V4, &mut cookie);
        assert!(cookie.as_bytes() == &COOKIE_V4);
        secret().make_cookie(&SOURCE_V6, &mut cookie);
        assert!(cookie.as_bytes() == &COOKIE_V6);

        let mut nonce = [0; 24];
        for (byte, value) in nonce.iter_mut().zip(0..) {
            *byte = value;
        }
        let reply = secret()
            .create_reply_with(
                nonce,
                &keys(),
                message.sender_index(),
                &message.macs,
                &SOURCE_V4,
            )
            .ok_or(EINVAL)?;
        assert!(reply.as_bytes() == REPLY);

        assert!(peer.consume_reply(&reply, START));
        peer.add_macs(&mut message, START);
        assert!(message.macs.mac2 == MAC2);
        assert!(secret().has_valid_mac2(&message, &SOURCE_V4));
        Ok(())
    }

    #[test]
    fn mac1_covers_all_before_it() {
        let mut genuine = initiation();
        Cookie::by_value(&RESPONDER_PUBLIC).add_macs(&mut genuine, START);
        assert!(keys().has_valid_mac1(&genuine));
        for i in 0..132 {
            let mut forged = genuine.clone();
            if let Some(byte) = forged.as_mut_bytes().get_mut(i) {
                *byte ^= 0x20;
            }
            assert!(!keys().has_valid_mac1(&forged));
        }
    }

    #[test]
    fn mac1_is_for_one_responder() {
        let mut message = initiation();
        Cookie::by_value(&PublicKey::new([5; 32])).add_macs(&mut message, START);
        assert!(!keys().has_valid_mac1(&message));

        Cookie::by_value(&RESPONDER_PUBLIC).add_macs(&mut message, START);
        let mut keys = keys();
        assert!(keys.has_valid_mac1(&message));
        keys.clear();
        assert!(!keys.has_valid_mac1(&message));
    }

    #[test]
    fn response_has_macs_too() {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = HandshakeResponse::new(3, 2);
        assert_eq!(message.sender_index(), 3);
        peer.add_macs(&mut message, START);
        assert!(!secret().has_valid_mac2(&message, &SOURCE_V4));
        let reply = secret().create_reply(&keys(), 1, &message.macs, &SOURCE_V4);
        assert!(reply.is_some_and(|reply| peer.consume_reply(&reply, START)));
        peer.add_macs(&mut message, START);
        assert!(secret().has_valid_mac2(&message, &SOURCE_V4));
    }

    #[test]
    fn no_two_replies_have_the_same_nonce() {
        let message = HandshakeResponse::new(3, 2);
        let nonce = || {
            secret()
                .create_reply(&keys(), 1, message.macs(), &SOURCE_V4)
                .map(|reply| reply.nonce)
        };
        assert!(nonce().is_some() && nonce() != nonce());
    }

    #[test]
    fn cookie_covers_the_source_port() {
        for (source, other_port, other_addr) in [
            (
                SOURCE_V4,
                Source::V4 {
                    addr: [192, 0, 2, 33],
                    port: [0xca, 0x6d],
                },
                Source::V4 {
                    addr: [192, 0, 2, 34],
                    port: [0xca, 0x6c],
                },
            ),
            (
                SOURCE_V6,
                Source::V6 {
                    addr: hex("20010db8000000000000000000000042"),
                    port: [0xcb, 0x6c],
                },
                Source::V6 {
                    addr: hex("20010db8000000000000000000000043"),
                    port: [0xca, 0x6c],
                },
            ),
        ] {
            let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
            let mut message = initiation();
            peer.add_macs(&mut message, START);
            assert!(get_cookie(&mut peer, &message, &source, START));
            peer.add_macs(&mut message, START);
            assert!(secret().has_valid_mac2(&message, &source));
            for other in [other_port, other_addr] {
                assert!(!secret().has_valid_mac2(&message, &other));
            }
        }
    }

    #[test]
    fn cookie_lives_as_long_as_its_secret() {
        let mut secret = secret();
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();
        peer.add_macs(&mut message, START);
        assert!(get_cookie(&mut peer, &message, &SOURCE_V4, START));
        peer.add_macs(&mut message, START);

        let end = START + 120 * SECOND;
        assert!(!secret.has_expired(end - 1));
        assert!(secret.has_valid_mac2(&message, &SOURCE_V4));
        assert!(secret.has_expired(end));

        secret.randomize(end);
        assert!(!secret.has_expired(end));
        assert!(!secret.secret.is_zero());
        assert!(!secret.has_valid_mac2(&message, &SOURCE_V4));
    }

    #[test]
    fn peer_stops_using_a_cookie_before_it_is_too_old() {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();
        peer.add_macs(&mut message, START);
        assert!(get_cookie(&mut peer, &message, &SOURCE_V4, START));
        peer.add_macs(&mut message, START + 115 * SECOND - 1);
        assert!(message.macs.mac2 != [0; 16]);
        peer.add_macs(&mut message, START + 115 * SECOND);
        assert!(message.macs.mac2 == [0; 16]);
    }

    #[test]
    fn reply_is_taken_once_and_for_the_latest_message() -> Result {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();
        peer.add_macs(&mut message, START);
        let first = secret()
            .create_reply(&keys(), 1, &message.macs, &SOURCE_V4)
            .ok_or(EINVAL)?;

        message.sender_index = 77.into();
        peer.add_macs(&mut message, START);
        assert!(!peer.consume_reply(&first, START));
        let second = secret()
            .create_reply(&keys(), 1, &message.macs, &SOURCE_V4)
            .ok_or(EINVAL)?;
        assert!(peer.consume_reply(&second, START));
        assert!(!peer.consume_reply(&second, START));
        Ok(())
    }

    #[test]
    fn reply_is_expected_from_a_message_until_its_cookie() -> Result {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();
        assert!(!peer.is_expected());
        peer.add_macs(&mut message, START);
        assert!(peer.is_expected());
        let reply = secret()
            .create_reply(&keys(), 1, &message.macs, &SOURCE_V4)
            .ok_or(EINVAL)?;
        assert!(peer.consume_reply(&reply, START));
        assert!(!peer.is_expected());
        peer.add_macs(&mut message, START);
        assert!(peer.is_expected());
        Ok(())
    }

    #[test]
    fn reply_nobody_asked_for_is_refused() -> Result {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let reply = secret()
            .create_reply(&keys(), 1, &Macs::ZERO, &SOURCE_V4)
            .ok_or(EINVAL)?;
        assert!(!peer.consume_reply(&reply, START));
        let mut message = initiation();
        peer.add_macs(&mut message, START);
        assert!(message.macs.mac2 == [0; 16]);
        Ok(())
    }

    #[test]
    fn forged_reply_leaves_the_old_cookie() -> Result {
        let mut peer = Cookie::by_value(&RESPONDER_PUBLIC);
        let mut message = initiation();
        peer.add_macs(&mut message, START);
        assert!(get_cookie(&mut peer, &message, &SOURCE_V4, START));
        peer.add_macs(&mut message, START);
        let genuine = secret()
            .create_reply(&keys(), 1, &message.macs, &SOURCE_V4)
            .ok_or(EINVAL)?;
        for i in 8..64 {
            let mut forged = genuine.clone();
            if let Some(byte) = forged.as_mut_bytes().get_mut(i) {
                *byte ^= 1;
            }
            assert!(!peer.consume_reply(&forged, START));
        }
        peer.add_macs(&mut message, START);
        assert!(secret().has_valid_mac2(&message, &SOURCE_V4));
        assert!(peer.consume_reply(&genuine, START));
        Ok(())
    }
}
