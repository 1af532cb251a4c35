// SPDX-License-Identifier: GPL-2.0

//! The cryptographic state of a handshake, with a method for each token of the Noise pattern:
//! section 5.4 of the paper.

use super::{
    identity::{
        PrivateKey,
        PublicKey, //
    },
    kdf::{
        kdf,
        Key, //
    },
    messages::{
        NOISE_HASH_LEN,
        NOISE_PUBLIC_KEY_LEN, //
    },
    noise::SymmetricKey, //
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// BLAKE2s of "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s".
const INITIAL_CHAINING_KEY: [u8; NOISE_HASH_LEN] = [
    0x60, 0xe2, 0x6d, 0xae, 0xf3, 0x27, 0xef, 0xc0, 0x2e, 0xc3, 0x35, 0xe2, 0xa0, 0x25, 0xd2, 0xd0,
    0x16, 0xeb, 0x42, 0x06, 0xf8, 0x72, 0x77, 0xf5, 0x2d, 0x38, 0xd1, 0x98, 0x8b, 0x78, 0xcd, 0x36,
];

/// BLAKE2s of [`INITIAL_CHAINING_KEY`] and "WireGuard v1 zx2c4 Jason@zx2c4.com".
const INITIAL_HASH: [u8; NOISE_HASH_LEN] = [
    0x22, 0x11, 0xb3, 0x61, 0x08, 0x1a, 0xc5, 0x66, 0x69, 0x12, 0x43, 0xdb, 0x45, 0x8a, 0xd5, 0x32,
    0x2d, 0x9c, 0x6c, 0x66, 0x22, 0x93, 0xe8, 0xb7, 0x0e, 0xe1, 0x9c, 0x65, 0xba, 0x07, 0x9e, 0xf3,
];

/// The chaining key and the hash of all messages so far. Both sides take every message through them
/// in the same way.
pub(super) struct SymmetricState {
    chaining_key: Key,
    hash: Secret<NOISE_HASH_LEN>,
}

impl SymmetricState {
    /// An empty state, for [`SymmetricState::start`].
    pub(super) const fn zeroed() -> Self {
        Self {
            chaining_key: Secret::zeroed(),
            hash: Secret::zeroed(),
        }
    }

    /// Overwrites both with zeros.
    pub(super) fn clear(&mut self) {
        self.chaining_key.clear();
        self.hash.clear();
    }

    /// Whether both are zeros.
    pub(super) fn is_zero(&self) -> bool {
        self.chaining_key.is_zero() && self.hash.is_zero()
    }

    /// Takes over the state of `other`.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.chaining_key.copy_from(&other.chaining_key);
        self.hash.copy_from(&other.hash);
    }

    /// The state before the first message to the owner of `responder`.
    pub(super) fn start(&mut self, responder: &PublicKey) {
        *self.chaining_key.as_mut_bytes() = INITIAL_CHAINING_KEY;
        *self.hash.as_mut_bytes() = INITIAL_HASH;
        self.mix_hash(responder.as_bytes());
    }

    /// Derives the keys of the session. The first is for messages from the initiator.
    pub(super) fn split(&self, keys: [&mut SymmetricKey; 2]) {
        kdf(&self.chaining_key, &[], keys);
    }

    fn mix_hash(&mut self, data: &[u8]) {
        let mut hash = Secret::zeroed();
        crypto::blake2s(&[self.hash.as_bytes(), data], hash.as_mut_bytes());
        self.hash.copy_from(&hash);
    }

    /// Mixes `data` into the chaining key.
    fn mix(&mut self, data: &[u8]) {
        let mut chaining_key = Key::zeroed();
        kdf(&self.chaining_key, data, [&mut chaining_key]);
        self.chaining_key.copy_from(&chaining_key);
    }

    /// Mixes `data` into the chaining key and derives a key to encrypt with.
    fn mix_key(&mut self, data: &[u8], key: &mut SymmetricKey) {
        let mut chaining_key = Key::zeroed();
        kdf(&self.chaining_key, data, [&mut chaining_key, key]);
        self.chaining_key.copy_from(&chaining_key);
    }

    /// `e`
    pub(super) fn mix_ephemeral(&mut self, public: &[u8; NOISE_PUBLIC_KEY_LEN]) {
        self.mix_hash(public);
        self.mix(public);
    }

    /// `es`, with a key. Fails for a point of low order.
    #[must_use]
    pub(super) fn mix_dh_key(
        &mut self,
        private: &PrivateKey,
        public: &[u8; NOISE_PUBLIC_KEY_LEN],
        key: &mut SymmetricKey,
    ) -> bool {
        let mut shared = Secret::zeroed();
        let usable = crypto::curve25519(&mut shared, private, public);
        if usable {
            self.mix_key(shared.as_bytes(), key);
        }
        usable
    }

    /// `ee`, `se`. Fails for a point of low order.
    #[must_use]
    pub(super) fn mix_dh(
        &mut self,
        private: &PrivateKey,
        public: &[u8; NOISE_PUBLIC_KEY_LEN],
    ) -> bool {
        let mut shared = Secret::zeroed();
        let usable = crypto::curve25519(&mut shared, private, public);
        if usable {
            self.mix(shared.as_bytes());
        }
        usable
    }

    /// `ss`, with a key. Fails if there is no precomputed product.
    #[must_use]
    pub(super) fn mix_static_static(
        &mut self,
        static_static: &Secret<NOISE_PUBLIC_KEY_LEN>,
        key: &mut SymmetricKey,
    ) -> bool {
        let usable = !static_static.is_zero();
        if usable {
            self.mix_key(static_static.as_bytes(), key);
        }
        usable
    }

    /// `psk`, with a key.
    pub(super) fn mix_psk(&mut self, psk: &SymmetricKey, key: &mut SymmetricKey) {
        let mut chaining_key = Key::zeroed();
        let mut hash = Key::zeroed();
        kdf(
            &self.chaining_key,
            psk.as_bytes(),
            [&mut chaining_key, &mut hash, key],
        );
        self.chaining_key.copy_from(&chaining_key);
        self.mix_hash(hash.as_bytes());
    }

    /// Encrypts `plaintext` into `ciphertext`, which is a tag longer. The nonce is zero: each key
    /// is used once.
    #[must_use]
    pub(super) fn encrypt(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &[u8],
        key: &SymmetricKey,
    ) -> bool {
        let done = crypto::chacha20poly1305_encrypt(
            ciphertext,
            plaintext,
            self.hash.as_bytes(),
            0,
            key.as_bytes(),
        )
        .is_ok();
        self.mix_hash(ciphertext);
        done
    }

    /// Decrypts `ciphertext` into `plaintext`, which is a tag shorter. Fails if the ciphertext is
    /// not authentic.
    #[must_use]
    pub(super) fn decrypt(
        &mut self,
        plaintext: &mut [u8],
        ciphertext: &[u8],
        key: &SymmetricKey,
    ) -> bool {
        let authentic = crypto::chacha20poly1305_decrypt(
            plaintext,
            ciphertext,
            self.hash.as_bytes(),
            0,
            key.as_bytes(),
        )
        .is_ok();
        self.mix_hash(ciphertext);
        authentic
    }
}
