// SPDX-License-Identifier: GPL-2.0

//! The handshake of a peer. What is done with it is in [`noise`](crate::noise).

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    linux::wipe::Wiped,
    machine::Era,
    protocol::{
        identity::PublicKey,
        noise, //
    },
    socket::Endpoint,
};

/// The handshakes of a peer. The [protocol's part](noise::Handshake) says what lasts: only the
/// initiation that waits for its response, which has an index of the device's table.
pub(crate) struct HandshakeState {
    /// The handshakes.
    pub(crate) noise: noise::Handshake,
    /// The era in which this side drew the secrets of the pending initiation.
    pub(crate) era: Era,
    /// Where the pending initiation was sent, and only there. `None` if no endpoint was known.
    pub(crate) sent_to: Option<Endpoint>,
}

impl HandshakeState {
    /// No handshake, with the peer that has this public key.
    pub(crate) fn new(public_key: &PublicKey) -> impl PinInit<Mutex<Wiped<Self>>> + '_ {
        let empty = Self {
            noise: noise::Handshake::zeroed(),
            era: Era::now(),
            sent_to: None,
        };
        let state = Init::<Self>::chain(empty, |state| {
            state.noise.set_remote_static(public_key);
            Ok(())
        });
        new_mutex!(Wiped::pin_init(state), "wireguard::HandshakeState")
    }
}
