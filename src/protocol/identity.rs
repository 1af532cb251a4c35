// SPDX-License-Identifier: GPL-2.0

//! Long-term keys: the public key that identifies a peer, and this side's own key pair.

use kernel::prelude::*;

use super::{
    macs::MacKeys,
    messages::NOISE_PUBLIC_KEY_LEN, //
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// A private key.
pub(crate) type PrivateKey = Secret<NOISE_PUBLIC_KEY_LEN>;

/// A Curve25519 public key, 32 bytes. It reveals which peers talk to each other, so it is zeroed
/// when dropped.
#[derive(PartialEq, Eq, Zeroable)]
#[repr(transparent)]
pub(crate) struct PublicKey([u8; NOISE_PUBLIC_KEY_LEN]);

impl PublicKey {
    /// The key with these bytes. Any bytes are a key.
    pub(crate) const fn new(bytes: [u8; NOISE_PUBLIC_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// A place for a key, all zeros.
    pub(crate) const fn zeroed() -> Self {
        Self([0; NOISE_PUBLIC_KEY_LEN])
    }

    /// The key's bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; NOISE_PUBLIC_KEY_LEN] {
        &self.0
    }

    /// The place of the key's bytes, to write them.
    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; NOISE_PUBLIC_KEY_LEN] {
        &mut self.0
    }

    /// Takes over the value of `other`.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0 = other.0;
    }

    /// Overwrites the key with zeros.
    pub(crate) fn clear(&mut self) {
        crypto::memzero_explicit(&mut self.0);
    }
}

impl Drop for PublicKey {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A device's own key pair, or none.
pub(crate) struct StaticIdentity {
    private: PrivateKey,
    public: PublicKey,
    mac_keys: MacKeys,
    has_identity: bool,
}

impl StaticIdentity {
    /// No keys: every handshake fails.
    pub(crate) const fn none() -> Self {
        Self {
            private: PrivateKey::zeroed(),
            public: PublicKey::zeroed(),
            mac_keys: MacKeys::zeroed(),
            has_identity: false,
        }
    }

    /// Takes over a private key, clamps it as section 5 of RFC 7748 says, and computes the public
    /// key.
    ///
    /// Returns whether there is an identity now. A key of zeros counts as none, and removes the old
    /// one.
    ///
    /// Afterwards the caller should call
    /// [`Handshake::precompute_static_static`](super::noise::Handshake::precompute_static_static)
    /// for each peer, whose product still comes from the old keys and is of no use any more.
    pub(crate) fn set_private_key(&mut self, private: &PrivateKey) -> bool {
        self.has_identity = crypto::curve25519_generate_public(self.public.as_mut_bytes(), private);
        if self.has_identity {
            self.private.copy_from(private);
            crypto::curve25519_clamp_secret(&mut self.private);
            self.mac_keys.set(self.public.as_bytes());
        } else {
            self.private.clear();
            self.public.clear();
            self.mac_keys.clear();
        }
        self.has_identity
    }

    /// The private key, if there is one.
    pub(crate) fn private_key(&self) -> Option<&PrivateKey> {
        self.has_identity.then_some(&self.private)
    }

    /// The public key, if there is one.
    pub(crate) fn public_key(&self) -> Option<&PublicKey> {
        self.has_identity.then_some(&self.public)
    }

    /// The keys of `mac1` in messages to this identity, and of the cookies that it sends, if there
    /// is an identity.
    pub(crate) fn mac_keys(&self) -> Option<&MacKeys> {
        self.has_identity.then_some(&self.mac_keys)
    }
}

#[kernel::macros::kunit_tests(wireguard_identity)]
mod tests {
    use super::*;
    use crate::testing::hex;

    #[test]
    fn public_key_belongs_to_the_private_one() {
        // RFC 7748, section 6.1.
        let private = Secret::from_bytes(&hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let mut identity = StaticIdentity::none();
        assert!(identity.public_key().is_none());
        assert!(identity.private_key().is_none());
        assert!(identity.set_private_key(&private));
        assert!(identity.public_key() == Some(&PublicKey::new(public)));
        // The private key is stored clamped.
        let clamped = hex("70076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c6a");
        assert!(identity
            .private_key()
            .is_some_and(|kept| kept.as_bytes() == &clamped));
    }

    #[test]
    fn zeros_are_no_key_and_take_the_old_one_away() {
        let mut identity = StaticIdentity::none();
        assert!(identity.set_private_key(&Secret::from_bytes(&[1; 32])));
        assert!(!identity.set_private_key(&Secret::zeroed()));
        assert!(identity.public_key().is_none());
        assert!(identity.private_key().is_none());
        assert!(identity.mac_keys().is_none());
        assert!(identity.private.is_zero());
    }
}
