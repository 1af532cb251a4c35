// SPDX-License-Identifier: GPL-2.0

//! The MACs at the end of a handshake message, and the keys they are made with: sections 5.4 and
//! 5.4.4 of the paper.

use kernel::prelude::*;

use super::messages::{
    HandshakeInitiation,
    HandshakeResponse,
    Macs,
    COOKIE_LEN,
    NOISE_PUBLIC_KEY_LEN,
    NOISE_SYMMETRIC_KEY_LEN, //
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// A message that ends with [`Macs`].
pub(crate) trait MessageWithMacs:
    FromBytes + IntoBytes + zerocopy::Immutable + zerocopy::KnownLayout
{
    /// Its MACs.
    fn macs(&self) -> &Macs;

    /// Its MACs, for writing.
    fn macs_mut(&mut self) -> &mut Macs;

    /// The index that the sender has chosen for the answer.
    fn sender_index(&self) -> u32;
}

impl MessageWithMacs for HandshakeInitiation {
    fn macs(&self) -> &Macs {
        &self.macs
    }

    fn macs_mut(&mut self) -> &mut Macs {
        &mut self.macs
    }

    fn sender_index(&self) -> u32 {
        self.sender_index.get()
    }
}

impl MessageWithMacs for HandshakeResponse {
    fn macs(&self) -> &Macs {
        &self.macs
    }

    fn macs_mut(&mut self) -> &mut Macs {
        &mut self.macs
    }

    fn sender_index(&self) -> u32 {
        self.sender_index.get()
    }
}

/// The right MAC of a message, to compare or to send.
pub(super) type Mac = Secret<COOKIE_LEN>;

/// Computes the right MAC of this message: over all bytes before its last `left_out`.
fn compute_mac<const KEY: usize>(
    message: &impl MessageWithMacs,
    left_out: usize,
    key: &Secret<KEY>,
    mac: &mut Mac,
) {
    let bytes = message.as_bytes();
    let end = bytes.len().saturating_sub(left_out);
    let covered = bytes.get(..end).unwrap_or(bytes);
    crypto::blake2s_keyed(key.as_bytes(), &[covered], mac.as_mut_bytes());
}

/// Computes the right `mac2` of this message: over all bytes before it, `mac1` included.
pub(super) fn compute_mac2(
    message: &impl MessageWithMacs,
    cookie: &Secret<COOKIE_LEN>,
    mac: &mut Mac,
) {
    compute_mac(message, COOKIE_LEN, cookie, mac);
}

/// The keys derived from a public key: for `mac1` of messages to its owner, and for the cookies
/// that its owner sends.
///
/// They are as secret as the public key: a holder of the keys can tell which messages are for that
/// owner.
pub(crate) struct MacKeys {
    mac1: Secret<NOISE_SYMMETRIC_KEY_LEN>,
    cookie: Secret<NOISE_SYMMETRIC_KEY_LEN>,
}

impl MacKeys {
    /// A place for keys, all zeros.
    pub(crate) const fn zeroed() -> Self {
        Self {
            mac1: Secret::zeroed(),
            cookie: Secret::zeroed(),
        }
    }

    /// Sets them to the keys of the owner of `public`.
    pub(super) fn set(&mut self, public: &[u8; NOISE_PUBLIC_KEY_LEN]) {
        crypto::blake2s(&[b"mac1----", public], self.mac1.as_mut_bytes());
        crypto::blake2s(&[b"cookie--", public], self.cookie.as_mut_bytes());
    }

    /// Overwrites them with zeros.
    pub(super) fn clear(&mut self) {
        self.mac1.clear();
        self.cookie.clear();
    }

    /// The key of the cookies that the owner sends.
    pub(super) fn cookie(&self) -> &Secret<NOISE_SYMMETRIC_KEY_LEN> {
        &self.cookie
    }

    /// Computes the right `mac1` of this message: over all bytes before it.
    pub(super) fn compute_mac1(&self, message: &impl MessageWithMacs, mac: &mut Mac) {
        compute_mac(message, size_of::<Macs>(), &self.mac1, mac);
    }

    /// Whether `mac1` of this message is right, that is, whether its sender knows the owner's
    /// public key. Any context.
    pub(crate) fn has_valid_mac1(&self, message: &impl MessageWithMacs) -> bool {
        let mut mac = Mac::zeroed();
        self.compute_mac1(message, &mut mac);
        crypto::ct_eq(mac.as_bytes(), &message.macs().mac1)
    }
}
