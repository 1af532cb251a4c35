// SPDX-License-Identifier: GPL-2.0

//! Handshakes that another implementation has made, with and without a preshared key.
//!
//! The transcripts were made with the Python packages noiseprotocol 0.3.1
//! (Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s, prologue "WireGuard v1 zx2c4 Jason@zx2c4.com") and
//! cryptography 50.0.2. Private and ephemeral keys are the clamped BLAKE2s hashes of "initiator
//! static", "responder static", "initiator ephemeral" and "responder ephemeral", the preshared key
//! that of "preshared"; the time is 1,700,000,000 s and 50,331,648 ns after the Unix epoch. Headers
//! and `mac1` were added by hand with struct and hashlib.

use crate::testing::hex;

pub(super) const INITIATOR: [u8; 32] =
    hex("78660f3a76e5189611224acb7d665909ee59be9d6a05e88994764c90b419164d");
pub(super) const RESPONDER: [u8; 32] =
    hex("405ea69d9c4cde87ae2f11f751dcb0e934846cf3a38c28980a25cd8cf355e36e");
pub(super) const INITIATOR_EPHEMERAL: [u8; 32] =
    hex("e8393b192fc90f9ca781853bb517e6ecdb4765ea1d2c9f869c9a8a5dc1c5dd65");
pub(super) const RESPONDER_EPHEMERAL: [u8; 32] =
    hex("78f4d70e01a0611e5c828fa291d7f152376bface59f12375ac133417562a4e67");
pub(super) const INITIATOR_PUBLIC: [u8; 32] =
    hex("8acdd8df4e5063c95d0cd26bdd94851e4fac7e9c9a23019ccdbcc14135611629");
pub(super) const RESPONDER_PUBLIC: [u8; 32] =
    hex("955412b0ffd76706710b79bcbb59645da077b4645d1f3281e886ba38da65e13e");
pub(super) const PRESHARED: [u8; 32] =
    hex("22c2212187020d63b13ca1c43fe2c235548035242ceedde7ca25ee0480995e2d");

pub(super) const INITIATION: [u8; 148] = hex(
    "01000000443322111fb22d22843e83c5616c4e80caa091331a66ff0e74573e68e084dd145172a45c887006ed4facd758\
     cbf74d23d791a8ad13910525629a4a2f395835df13044854fefcb33ec767ea9ad23311fedd543bb4de2e7784d2c18091\
     4723df2557d1e50acc9eb38d77b9dd37cb4b22b193974906740c2c7761119748abc3e60a000000000000000000000000\
     00000000",
);

/// The messages after the initiation, which is the same with and without a preshared key.
pub(super) struct Transcript {
    pub(super) preshared: [u8; 32],
    pub(super) response: [u8; 92],
    /// From the initiator, with the plaintext "sixteen bytes it".
    pub(super) data: [u8; 48],
    /// From the responder.
    pub(super) keepalive: [u8; 32],
}

pub(super) const WITH_PSK: Transcript = Transcript {
    preshared: PRESHARED,
    response: hex(
        "020000008877665544332211cfb82a4c40ec91c20e0c4c131a3bdb7933b30187945a5205f25d5faa6eb68e6704d78cc2\
         1d668c93548b5b43af7925928bec1704f03cd173e405d1a4633b62ab00000000000000000000000000000000",
    ),
    data: hex(
        "040000008877665500000000000000000f82c12b2d7013c4b0618ce08dc60bfdf412dffb39ddec03338a50decb3f2c13",
    ),
    keepalive: hex("040000004433221100000000000000001f5ea186cdca022d55f10d44a87bf611"),
};

pub(super) const WITHOUT_PSK: Transcript = Transcript {
    preshared: [0; 32],
    response: hex(
        "020000008877665544332211cfb82a4c40ec91c20e0c4c131a3bdb7933b30187945a5205f25d5faa6eb68e675990878d\
         5d012d28eb6ef9f0b79dee457716a5d4c7e95b23c2176deb808ccb8200000000000000000000000000000000",
    ),
    data: hex(
        "04000000887766550000000000000000e96b571934b61d192871fbb4f5e885081975febdfad960c026b16e36c44067dc",
    ),
    keepalive: hex("0400000044332211000000000000000039de26ca997b2bf52a85d8c728db3f76"),
};
