// SPDX-License-Identifier: GPL-2.0

//! The four messages as they are on the wire: section 5.4 of the paper.
//!
//! All numbers are little-endian. The first four bytes are the type and three zeros, read as one
//! number.

use core::num::NonZeroU32;
use kernel::prelude::*;
use zerocopy::little_endian::{
    U32,
    U64, //
};
use zerocopy_derive::{
    Immutable,
    KnownLayout,
    Unaligned, //
};

use super::tai64n::NOISE_TIMESTAMP_LEN;
use crate::linux::crypto::{
    BLAKE2S_HASH_SIZE,
    CHACHA20POLY1305_AUTHTAG_SIZE,
    CHACHA20POLY1305_KEY_SIZE,
    CURVE25519_KEY_SIZE,
    XCHACHA20POLY1305_NONCE_SIZE, //
};

/// Length of a public or private key, in bytes.
pub(crate) const NOISE_PUBLIC_KEY_LEN: usize = CURVE25519_KEY_SIZE;
/// Length of a preshared or session key, in bytes.
pub(crate) const NOISE_SYMMETRIC_KEY_LEN: usize = CHACHA20POLY1305_KEY_SIZE;
/// Length of the tag that authenticates a ciphertext, in bytes.
pub(crate) const NOISE_AUTHTAG_LEN: usize = CHACHA20POLY1305_AUTHTAG_SIZE;
/// Length of the handshake's hash and chaining key, in bytes.
pub(crate) const NOISE_HASH_LEN: usize = BLAKE2S_HASH_SIZE;
/// Length of the nonce of a cookie reply, in bytes.
pub(crate) const COOKIE_NONCE_LEN: usize = XCHACHA20POLY1305_NONCE_SIZE;
/// Length of a cookie and of the MACs, in bytes.
pub(crate) const COOKIE_LEN: usize = 16;

/// The plaintext of a data message is padded to a multiple of this, in bytes.
pub(crate) const MESSAGE_PADDING_MULTIPLE: u32 = 16;
/// Length of the shortest data message, a keepalive, in bytes.
pub(crate) const MESSAGE_MINIMUM_LENGTH: usize = message_data_len(0);
/// Type of service of the datagrams that carry handshake messages: AF41, and no ECN.
pub(crate) const HANDSHAKE_DSCP: u8 = 0x88;

/// Length in bytes of the ciphertext of `plain_len` bytes, with the tag.
pub(crate) const fn noise_encrypted_len(plain_len: usize) -> usize {
    plain_len.saturating_add(NOISE_AUTHTAG_LEN)
}

/// Length in bytes of the data message with `plain_len` bytes (padding included) in it.
pub(crate) const fn message_data_len(plain_len: usize) -> usize {
    noise_encrypted_len(plain_len).saturating_add(size_of::<DataHeader>())
}

const ENCRYPTED_STATIC_LEN: usize = noise_encrypted_len(NOISE_PUBLIC_KEY_LEN);
const ENCRYPTED_TIMESTAMP_LEN: usize = noise_encrypted_len(NOISE_TIMESTAMP_LEN);
const ENCRYPTED_COOKIE_LEN: usize = noise_encrypted_len(COOKIE_LEN);

/// The kind of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum MessageType {
    /// [`HandshakeInitiation`].
    HandshakeInitiation = 1,
    /// [`HandshakeResponse`].
    HandshakeResponse = 2,
    /// [`CookieReply`].
    HandshakeCookie = 3,
    /// [`DataHeader`] and a ciphertext.
    Data = 4,
}

impl MessageType {
    /// The kind of the message that begins with `header` and is `len` bytes long; `None` if there
    /// is no such kind. Each handshake message has one fixed length, a data message at least
    /// [`MESSAGE_MINIMUM_LENGTH`] bytes.
    #[inline]
    pub(crate) const fn classify(header: [u8; 4], len: usize) -> Option<Self> {
        let kind = match u32::from_le_bytes(header) {
            1 => Self::HandshakeInitiation,
            2 => Self::HandshakeResponse,
            3 => Self::HandshakeCookie,
            4 => Self::Data,
            _ => return None,
        };
        let fits = match kind {
            Self::Data => len >= MESSAGE_MINIMUM_LENGTH,
            _ => len == kind.header_len(),
        };
        if fits {
            Some(kind)
        } else {
            None
        }
    }

    /// How many bytes of the message must lie in one piece to be read: all of a handshake message,
    /// and the [`DataHeader`] of a data message.
    pub(crate) const fn header_len(self) -> usize {
        match self {
            Self::HandshakeInitiation => size_of::<HandshakeInitiation>(),
            Self::HandshakeResponse => size_of::<HandshakeResponse>(),
            Self::HandshakeCookie => size_of::<CookieReply>(),
            Self::Data => size_of::<DataHeader>(),
        }
    }

    /// The first field of a message of this kind.
    pub(crate) const fn header(self) -> U32 {
        U32::new(self as u32)
    }
}

/// The end of an initiation or response: section 5.4.4 of the paper.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Macs {
    /// MAC over all bytes before it. Shows that the sender knows the receiver's public key.
    pub(crate) mac1: [u8; COOKIE_LEN],
    /// MAC over all bytes before it, with the cookie as the key. Shows that the sender receives at
    /// its address. Zeros without a cookie.
    pub(crate) mac2: [u8; COOKIE_LEN],
}

impl Macs {
    /// No MACs yet.
    pub(crate) const ZERO: Self = Self {
        mac1: [0; COOKIE_LEN],
        mac2: [0; COOKIE_LEN],
    };
}

/// The first message of a handshake, 148 bytes: section 5.4.2 of the paper.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct HandshakeInitiation {
    header: U32,
    /// Chosen by the sender, which finds its handshake by the same number in the response.
    pub(crate) sender_index: U32,
    /// A public key made for this handshake only.
    pub(crate) unencrypted_ephemeral: [u8; NOISE_PUBLIC_KEY_LEN],
    /// The sender's long-term public key.
    pub(crate) encrypted_static: [u8; ENCRYPTED_STATIC_LEN],
    /// The time of sending: [`Tai64n`](super::tai64n::Tai64n).
    pub(crate) encrypted_timestamp: [u8; ENCRYPTED_TIMESTAMP_LEN],
    /// MACs over the fields above.
    pub(crate) macs: Macs,
}

impl HandshakeInitiation {
    /// An initiation with this index and nothing else yet.
    pub(crate) const fn new(sender_index: u32) -> Self {
        Self {
            header: MessageType::HandshakeInitiation.header(),
            sender_index: U32::new(sender_index),
            unencrypted_ephemeral: [0; NOISE_PUBLIC_KEY_LEN],
            encrypted_static: [0; ENCRYPTED_STATIC_LEN],
            encrypted_timestamp: [0; ENCRYPTED_TIMESTAMP_LEN],
            macs: Macs::ZERO,
        }
    }
}

/// The second message of a handshake, 92 bytes: section 5.4.3 of the paper.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct HandshakeResponse {
    header: U32,
    /// Chosen by the sender, which finds the keypair by the same number in data messages.
    pub(crate) sender_index: U32,
    /// The initiation's `sender_index`.
    pub(crate) receiver_index: U32,
    /// A public key made for this handshake only.
    pub(crate) unencrypted_ephemeral: [u8; NOISE_PUBLIC_KEY_LEN],
    /// A tag without a ciphertext. Shows that the sender has the same keys.
    pub(crate) encrypted_nothing: [u8; NOISE_AUTHTAG_LEN],
    /// MACs over the fields above.
    pub(crate) macs: Macs,
}

impl HandshakeResponse {
    /// A response with these indices and nothing else yet.
    pub(crate) const fn new(sender_index: u32, receiver_index: u32) -> Self {
        Self {
            header: MessageType::HandshakeResponse.header(),
            sender_index: U32::new(sender_index),
            receiver_index: U32::new(receiver_index),
            unencrypted_ephemeral: [0; NOISE_PUBLIC_KEY_LEN],
            encrypted_nothing: [0; NOISE_AUTHTAG_LEN],
            macs: Macs::ZERO,
        }
    }
}

/// The message that a responder under load sends instead of an answer, 64 bytes: section 5.4.7 of
/// the paper.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct CookieReply {
    header: U32,
    /// The `sender_index` of the message that this one answers.
    pub(crate) receiver_index: U32,
    /// Random.
    pub(crate) nonce: [u8; COOKIE_NONCE_LEN],
    /// The key for `mac2` of the next message from the same address.
    pub(crate) encrypted_cookie: [u8; ENCRYPTED_COOKIE_LEN],
}

impl CookieReply {
    /// A reply with this index and nonce, and nothing else yet.
    pub(crate) const fn new(receiver_index: u32, nonce: [u8; COOKIE_NONCE_LEN]) -> Self {
        Self {
            header: MessageType::HandshakeCookie.header(),
            receiver_index: U32::new(receiver_index),
            nonce,
            encrypted_cookie: [0; ENCRYPTED_COOKIE_LEN],
        }
    }
}

/// The beginning of a data message, 16 bytes: section 5.4.6 of the paper. A ciphertext of at least
/// a tag follows.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct DataHeader {
    header: U32,
    /// The `sender_index` that the receiver chose for the keypair in the handshake.
    pub(crate) key_idx: U32,
    /// The nonce of the ciphertext.
    pub(crate) counter: U64,
}

impl DataHeader {
    /// The header of the message with this counter under the keypair that the receiver calls
    /// `key_idx`.
    pub(crate) const fn new(key_idx: u32, counter: u64) -> Self {
        Self {
            header: MessageType::Data.header(),
            key_idx: U32::new(key_idx),
            counter: U64::new(counter),
        }
    }
}

const _: () = {
    assert!(size_of::<HandshakeInitiation>() == 148);
    assert!(size_of::<HandshakeResponse>() == 92);
    assert!(size_of::<CookieReply>() == 64);
    assert!(size_of::<DataHeader>() == 16);
    assert!(MESSAGE_MINIMUM_LENGTH == 32);
};

/// How many zero bytes are appended to a packet of `len` bytes before it is encrypted, for a device
/// with this MTU.
///
/// They fill the packet up to a multiple of [`MESSAGE_PADDING_MULTIPLE`], but not beyond the MTU.
/// Of a packet longer than the MTU only the remainder after whole MTUs counts. Without an MTU (0)
/// there is no limit.
#[inline]
pub(crate) fn padding(len: u32, mtu: u32) -> u32 {
    let fill = |len: u32| len.wrapping_neg() % MESSAGE_PADDING_MULTIPLE;
    match NonZeroU32::new(mtu) {
        Some(mtu) => {
            let last = if len > mtu.get() { len % mtu } else { len };
            fill(last).min(mtu.get().saturating_sub(last))
        }
        None => fill(len),
    }
}

#[kernel::macros::kunit_tests(wireguard_messages)]
mod tests {
    use super::*;

    #[test]
    fn classify_knows_each_kind_by_type_and_length() {
        for kind in 0u8..=6 {
            for len in (0..=400).map(|len| if len == 400 { usize::MAX } else { len }) {
                let expected = match (kind, len) {
                    (1, 148) => Some(MessageType::HandshakeInitiation),
                    (2, 92) => Some(MessageType::HandshakeResponse),
                    (3, 64) => Some(MessageType::HandshakeCookie),
                    (4, 32..) => Some(MessageType::Data),
                    _ => None,
                };
                assert!(MessageType::classify([kind, 0, 0, 0], len) == expected);
            }
        }
    }

    #[test]
    fn reserved_bytes_are_zero() {
        for i in 1..4 {
            for bit in 0..8 {
                let mut header = [1, 0, 0, 0];
                assert!(MessageType::classify(header, 148).is_some());
                if let Some(byte) = header.get_mut(i) {
                    *byte = 1 << bit;
                }
                assert!(MessageType::classify(header, 148).is_none());
            }
        }
    }

    #[test]
    fn handshake_messages_are_pulled_whole() {
        assert_eq!(MessageType::HandshakeInitiation.header_len(), 148);
        assert_eq!(MessageType::HandshakeResponse.header_len(), 92);
        assert_eq!(MessageType::HandshakeCookie.header_len(), 64);
        assert_eq!(MessageType::Data.header_len(), 16);
    }

    #[test]
    fn numbers_are_little_endian() {
        let header = DataHeader::new(0x0102_0304, 0x1112_1314_1516_1718);
        assert_eq!(
            header.as_bytes(),
            &[4, 0, 0, 0, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]
        );
        let response = HandshakeResponse::new(0x0102_0304, 0x0506_0708);
        assert_eq!(
            response.as_bytes().get(..12),
            Some(&[2, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5][..])
        );
        let initiation = HandshakeInitiation::new(0x0102_0304);
        assert_eq!(
            initiation.as_bytes().get(..8),
            Some(&[1, 0, 0, 0, 4, 3, 2, 1][..])
        );
        let reply = CookieReply::new(0x0102_0304, [9; 24]);
        assert_eq!(
            reply.as_bytes().get(..9),
            Some(&[3, 0, 0, 0, 4, 3, 2, 1, 9][..])
        );
    }

    #[test]
    fn data_header_is_read_from_any_address() {
        let mut bytes = [0u8; 49];
        bytes[1] = 4;
        bytes[9] = 7;
        let header = bytes
            .get(1..)
            .and_then(|bytes| DataHeader::ref_from_prefix(bytes).ok());
        assert!(header.is_some_and(
            |(header, ciphertext)| header.counter.get() == 7 && ciphertext.len() == 32
        ));
    }

    #[test]
    fn padding_fills_up_to_the_mtu() {
        assert_eq!(padding(0, 1420), 0);
        assert_eq!(padding(1, 1420), 15);
        assert_eq!(padding(16, 1420), 0);
        assert_eq!(padding(84, 1420), 12);
        // The MTU is no multiple of 16, and a full packet gets no padding.
        assert_eq!(padding(1409, 1420), 11);
        assert_eq!(padding(1420, 1420), 0);
        assert_eq!(padding(1, 0), 15);
        assert_eq!(padding(u32::MAX, 0), 1);
    }

    #[test]
    fn padding_agrees_with_its_definition() {
        for mtu in [0u32, 1, 15, 16, 17, 576, 1280, 1420, 1500, u32::MAX] {
            for len in 0..4500u32 {
                let mut last = len;
                while mtu != 0 && last > mtu {
                    last -= mtu;
                }
                let mut padded = last;
                while padded % 16 != 0 && (mtu == 0 || padded < mtu) {
                    padded += 1;
                }
                assert_eq!(padding(len, mtu), padded - last);
            }
        }
    }
}
