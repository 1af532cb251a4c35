// SPDX-License-Identifier: GPL-2.0

//! One message from any sender, as a device reads it.

use super::Script;
use crate::{
    linux::crypto::Secret,
    protocol::{
        cookie::{
            Cookie,
            CookieSecret,
            Source, //
        },
        identity::{
            PublicKey,
            StaticIdentity, //
        },
        macs::MessageWithMacs,
        messages::{
            padding,
            CookieReply,
            DataHeader,
            HandshakeInitiation,
            HandshakeResponse,
            MessageType, //
        },
        noise::{
            Finished,
            Handshake,
            OpenedInitiation,
            OpenedResponse, //
        },
        tai64n::Tai64n, //
    }, //
};
use kernel::prelude::*;

const NOW: u64 = 1 << 40;

/// Reads a message and, if `with_mac`, adds the first MAC, for which the public key is enough.
fn parse<T: MessageWithMacs>(bytes: &[u8], peer: &mut Cookie, with_mac: bool) -> T {
    let mut message = T::read_from_bytes(bytes).unwrap();
    if with_mac {
        peer.add_macs(&mut message, NOW);
    }
    message
}

/// Checks that a message that was not made with the keys is not taken, whatever its bytes.
pub fn messages(bytes: &[u8]) {
    crate::linux::bindings::seed(1);
    let mut script = Script(bytes);
    let with_mac = script.byte() & 1 == 0;
    let [len, mtu] = [script.take(), script.take()].map(u32::from_le_bytes);
    let fill = padding(len, mtu);
    assert!(fill < 16 && (mtu == 0 || fill <= mtu));

    let mut identity = StaticIdentity::none();
    assert!(identity.set_private_key(&Secret::from_bytes(&[0x42; 32])));
    let public = PublicKey::new(*identity.public_key().unwrap().as_bytes());
    let keys = identity.mac_keys().unwrap();
    let mut secret = CookieSecret::zeroed();
    secret.randomize(NOW);
    let mut handshake = Handshake::zeroed();
    handshake.set_remote_static(&PublicKey::new([9; 32]));
    handshake.precompute_static_static(&identity);
    handshake
        .create_initiation(&identity, Tai64n::from_unix(1, 0), 1)
        .unwrap();
    let mut peer = Cookie::zeroed();
    peer.set_remote_static(&public);
    let source = Source::V4 {
        addr: script.take(),
        port: script.take(),
    };

    let message = script.0;
    let Some(header) = message.first_chunk() else {
        return;
    };
    match MessageType::classify(*header, message.len()) {
        Some(MessageType::HandshakeInitiation) => {
            let message: HandshakeInitiation = parse(message, &mut peer, with_mac);
            assert!(keys.has_valid_mac1(&message) == with_mac);
            assert!(!secret.has_valid_mac2(&message, &source));
            let mut opened = OpenedInitiation::new(&message, &identity);
            assert!(opened.open().is_none());
            handshake.lend_static_static(&mut opened);
            assert!(!opened.authenticate());
            assert!(handshake
                .answer(&mut opened, 2, NOW, &mut Finished::zeroed())
                .is_err());
            let reply =
                secret.create_reply(keys, message.sender_index.get(), &message.macs, &source);
            assert!(peer.consume_reply(&reply.unwrap(), NOW) == with_mac);
        }
        Some(MessageType::HandshakeResponse) => {
            let message: HandshakeResponse = parse(message, &mut peer, with_mac);
            assert!(keys.has_valid_mac1(&message) == with_mac);
            let mut opened = OpenedResponse::new(&message);
            let named = handshake.lend_pending(&mut opened);
            assert_eq!(named, message.receiver_index.get() == 1);
            assert!(!opened.authenticate(&identity));
            assert!(!handshake.take_response(&opened, &mut Finished::zeroed()));
            assert_eq!(handshake.pending_index(), Some(1));
        }
        Some(MessageType::HandshakeCookie) => {
            let reply = CookieReply::ref_from_bytes(message).unwrap();
            let mut asked = HandshakeInitiation::new(1);
            peer.add_macs(&mut asked, NOW);
            assert!(peer.is_expected() && !peer.consume_reply(reply, NOW));
        }
        Some(MessageType::Data) => {
            let (header, text) = DataHeader::ref_from_prefix(message).unwrap();
            assert_eq!(header.as_bytes(), &message[..16]);
            assert_eq!(text, &message[16..]);
            assert!(text.len() >= 16);
        }
        None => {
            let header = u32::from_le_bytes(*header);
            assert!(!matches!(
                (header, message.len()),
                (1, 148) | (2, 92) | (3, 64) | (4, 32..)
            ));
        }
    }
}
