// SPDX-License-Identifier: GPL-2.0

//! The product of both static keys: the token `ss`.

use crate::{
    linux::crypto::{
        self,
        Secret, //
    },
    protocol::{
        identity::{
            PublicKey,
            StaticIdentity, //
        },
        messages::NOISE_PUBLIC_KEY_LEN, //
    },
};

/// The product of both static keys, and the identity that it was computed with.
///
/// The identity of a device changes before its many peers hear of it. A message that is made or
/// read with one identity and the product of another is worth nothing.
pub(super) struct StaticStatic {
    /// Zero if the peer's key is unusable.
    pub(super) product: Secret<NOISE_PUBLIC_KEY_LEN>,
    /// The public key of the identity; zero if there is no product.
    public: PublicKey,
}

impl StaticStatic {
    /// No product.
    pub(super) const fn zeroed() -> Self {
        Self {
            product: Secret::zeroed(),
            public: PublicKey::zeroed(),
        }
    }

    /// Whether the product was computed with `identity`.
    pub(super) fn is_of(&self, identity: &StaticIdentity) -> bool {
        identity.public_key() == Some(&self.public)
    }

    /// Makes this the product of `identity` and the public key `remote`, unless it is already.
    /// Without an identity there is no product.
    pub(super) fn compute(&mut self, identity: &StaticIdentity, remote: &PublicKey) {
        if self.is_of(identity) {
            return;
        }
        self.product.clear();
        self.public.clear();
        if let (Some(private), Some(public)) = (identity.private_key(), identity.public_key()) {
            if !crypto::curve25519(&mut self.product, private, remote.as_bytes()) {
                self.product.clear();
            }
            self.public.copy_from(public);
        }
    }

    /// Takes over the value of `other`.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.product.copy_from(&other.product);
        self.public.copy_from(&other.public);
    }
}
