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
};

/// The handshake of a peer and the index that the other side answers to.
pub(crate) struct HandshakeState {
    /// The handshake.
    pub(crate) noise: noise::Handshake,
    /// The index, from the message that names it until the session begins.
    pub(crate) index: Option<u32>,
    /// The era in which the index was taken. This side draws its secrets for the keys afterwards.
    pub(crate) era: Era,
}

impl HandshakeState {
    /// A handshake that is not begun, with the peer that has this public key.
    pub(crate) fn new(public_key: &PublicKey) -> impl PinInit<Mutex<Wiped<Self>>> + '_ {
        let empty = Self {
            noise: noise::Handshake::zeroed(),
            index: None,
            era: Era::now(),
        };
        let state = Init::<Self>::chain(empty, |state| {
            state.noise.set_remote_static(public_key);
            Ok(())
        });
        new_mutex!(Wiped::pin_init(state), "wireguard::HandshakeState")
    }
}
