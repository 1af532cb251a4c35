// SPDX-License-Identifier: GPL-2.0

//! The handshake: Noise_IKpsk2, sections 5.4.1 to 5.4.5 of the paper.
//!
//! ```text
//! <- s                       the initiator knows the responder's public key beforehand
//! ...
//! -> e, es, s, ss, {t}       create_initiation()  ~>  OpenedInitiation::open()
//!                                                     consume_initiation()
//! <- e, ee, se, psk, {}      consume_response()   <~  create_response()
//!    begin_session()                                  begin_session()
//! ```
//!
//! A [`Handshake`] belongs to a peer but has no reference to it. The caller finds the peer of an
//! initiation by its public key and the peer of a response by its index, and it allocates the
//! indices. Each step below names the tokens of the pattern that it goes through.

use kernel::prelude::*;

use super::{
    identity::{
        PrivateKey,
        PublicKey,
        StaticIdentity, //
    },
    limits::{
        INITIATIONS_PER_SECOND,
        NSEC_PER_SEC, //
    },
    messages::{
        HandshakeInitiation,
        HandshakeResponse,
        NOISE_PUBLIC_KEY_LEN,
        NOISE_SYMMETRIC_KEY_LEN, //
    },
    symmetric::SymmetricState,
    tai64n::{
        Tai64n,
        NOISE_TIMESTAMP_LEN, //
    },
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// A preshared or session key.
pub(crate) type SymmetricKey = Secret<NOISE_SYMMETRIC_KEY_LEN>;

/// How far a handshake has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No handshake is going on.
    Zeroed,
    /// As initiator: waiting for the response.
    CreatedInitiation,
    /// As responder: the response is yet to be made.
    ConsumedInitiation,
    /// As responder: the session may begin.
    CreatedResponse,
    /// As initiator: the session may begin.
    ConsumedResponse,
}

/// Why an initiation was not taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitiationError {
    /// The initiation is not authentic, or one of the sides has no usable keys.
    Invalid,
    /// Its timestamp is not later than that of the last initiation that was taken.
    Replay,
    /// The last initiation was taken less than 1/[`INITIATIONS_PER_SECOND`] of a second ago.
    Flood,
}

/// The result of a handshake: the session's keys and the data that go with them. Section 5.4.5 of
/// the paper.
#[derive(Zeroable)]
pub(crate) struct Session {
    /// The key of messages to the peer.
    pub(crate) sending: SymmetricKey,
    /// The key of messages from the peer.
    pub(crate) receiving: SymmetricKey,
    /// The clock reading when the session began, in nanoseconds.
    pub(crate) birthdate: u64,
    /// The other side's index of this session: `key_idx` of the messages to it.
    pub(crate) remote_index: u32,
    /// Whether this side sent the initiation.
    pub(crate) i_am_the_initiator: bool,
}

impl Session {
    /// A place for [`Handshake::begin_session`] to write to.
    pub(crate) const fn zeroed() -> Self {
        Self {
            sending: Secret::zeroed(),
            receiving: Secret::zeroed(),
            birthdate: 0,
            remote_index: 0,
            i_am_the_initiator: false,
        }
    }
}

/// The handshake of one peer.
///
/// A failed step leaves the handshake unchanged, or ends it. A forged message cannot disturb a
/// handshake that is going on.
pub(crate) struct Handshake {
    state: State,
    /// The peer's index for the handshake or session, once known.
    remote_index: u32,
    remote_static: PublicKey,
    remote_ephemeral: PublicKey,
    ephemeral_private: PrivateKey,
    symmetric: SymmetricState,
    /// The product of this side's private key and `remote_static`; zero if there is none.
    static_static: Secret<NOISE_PUBLIC_KEY_LEN>,
    /// Zero if there is none.
    preshared_key: SymmetricKey,
    /// The timestamp of the latest initiation taken. It outlives the handshake.
    latest_timestamp: Tai64n,
    /// The clock reading when that initiation was taken, in nanoseconds.
    last_initiation_consumption: Option<u64>,
}

impl Handshake {
    /// No handshake and no peer.
    ///
    /// The caller first puts the value in its final place, so that no key is moved. Then it sets
    /// the keys with [`Handshake::set_remote_static`], [`Handshake::precompute_static_static`] and
    /// [`Handshake::set_preshared_key`].
    pub(crate) const fn zeroed() -> Self {
        Self {
            state: State::Zeroed,
            remote_index: 0,
            remote_static: PublicKey::zeroed(),
            remote_ephemeral: PublicKey::zeroed(),
            ephemeral_private: Secret::zeroed(),
            symmetric: SymmetricState::zeroed(),
            static_static: Secret::zeroed(),
            preshared_key: Secret::zeroed(),
            latest_timestamp: Tai64n::ZERO,
            last_initiation_consumption: None,
        }
    }

    /// Sets the peer's public key. Must be called before any other method.
    pub(crate) fn set_remote_static(&mut self, remote_static: &PublicKey) {
        self.remote_static.copy_from(remote_static);
    }

    /// The peer's public key.
    pub(crate) const fn remote_static(&self) -> &PublicKey {
        &self.remote_static
    }

    /// The preshared key; zero if there is none.
    pub(crate) const fn preshared_key(&self) -> &SymmetricKey {
        &self.preshared_key
    }

    /// Uses `key` from the next response on that is made or received. A key of zeros means none.
    pub(crate) fn set_preshared_key(&mut self, key: &SymmetricKey) {
        self.preshared_key.copy_from(key);
    }

    /// Computes the product of both static keys. Must be called once `identity` is set, and
    /// whenever it changes.
    pub(crate) fn precompute_static_static(&mut self, identity: &StaticIdentity) {
        let usable = identity.private_key().is_some_and(|private| {
            crypto::curve25519(
                &mut self.static_static,
                private,
                self.remote_static.as_bytes(),
            )
        });
        if !usable {
            self.static_static.clear();
        }
    }

    /// Forgets the handshake that is going on, if any. The record of initiations that were taken
    /// stays.
    pub(crate) fn clear(&mut self) {
        self.ephemeral_private.clear();
        self.remote_ephemeral.clear();
        self.symmetric.clear();
        self.remote_index = 0;
        self.state = State::Zeroed;
    }

    /// Begins a handshake: `e`, `es`, `s`, `ss`, `{t}`. The MACs of the message are still to be
    /// added.
    ///
    /// The response will find this handshake by `sender_index`. A handshake that was going on is
    /// forgotten.
    ///
    /// Returns `None` without an identity, or if the peer's key is unusable. The random number
    /// generator must be seeded.
    pub(crate) fn create_initiation(
        &mut self,
        identity: &StaticIdentity,
        timestamp: Tai64n,
        sender_index: u32,
    ) -> Option<HandshakeInitiation> {
        let mut ephemeral = Secret::zeroed();
        crypto::curve25519_generate_secret(&mut ephemeral);
        self.create_initiation_with(&ephemeral, identity, timestamp, sender_index)
    }

    fn create_initiation_with(
        &mut self,
        ephemeral: &PrivateKey,
        identity: &StaticIdentity,
        timestamp: Tai64n,
        sender_index: u32,
    ) -> Option<HandshakeInitiation> {
        let static_public = identity.public_key()?;
        let mut message = HandshakeInitiation::new(sender_index);
        if !self.write_initiation(ephemeral, static_public, timestamp, &mut message) {
            self.clear();
            return None;
        }
        self.state = State::CreatedInitiation;
        Some(message)
    }

    fn write_initiation(
        &mut self,
        ephemeral: &PrivateKey,
        static_public: &PublicKey,
        timestamp: Tai64n,
        message: &mut HandshakeInitiation,
    ) -> bool {
        let mut key = Secret::zeroed();

        self.symmetric.start(&self.remote_static);

        // e
        let public = &mut message.unencrypted_ephemeral;
        if !crypto::curve25519_generate_public(public, ephemeral) {
            return false;
        }
        self.ephemeral_private.copy_from(ephemeral);
        self.symmetric.mix_ephemeral(public);

        // es
        self.symmetric.mix_dh_key(
            &self.ephemeral_private,
            self.remote_static.as_bytes(),
            &mut key,
        )
        // s
        && self
            .symmetric
            .encrypt(&mut message.encrypted_static, static_public.as_bytes(), &key)
        // ss
        && self
            .symmetric
            .mix_static_static(&self.static_static, &mut key)
        // {t}
        && self
            .symmetric
            .encrypt(&mut message.encrypted_timestamp, timestamp.as_bytes(), &key)
    }

    /// Takes an initiation, whose public key has led to this handshake: `ss`, `{t}`.
    ///
    /// `now_ns` is the clock reading. On success the initiation replaces a handshake that was going
    /// on.
    ///
    /// # Errors
    ///
    /// See [`InitiationError`].
    pub(crate) fn consume_initiation(
        &mut self,
        opened: &mut OpenedInitiation<'_>,
        now_ns: u64,
    ) -> Result<(), InitiationError> {
        let mut key = Secret::zeroed();
        let mut timestamp = Secret::<NOISE_TIMESTAMP_LEN>::zeroed();

        if !opened.is_open || opened.remote_static != self.remote_static {
            return Err(InitiationError::Invalid);
        }
        // One attempt only: mixing again would spoil the state.
        opened.is_open = false;

        // ss
        if !opened
            .symmetric
            .mix_static_static(&self.static_static, &mut key)
        {
            return Err(InitiationError::Invalid);
        }

        // {t}
        if !opened.symmetric.decrypt(
            timestamp.as_mut_bytes(),
            &opened.message.encrypted_timestamp,
            &key,
        ) {
            return Err(InitiationError::Invalid);
        }

        if timestamp.as_bytes() <= self.latest_timestamp.as_bytes() {
            return Err(InitiationError::Replay);
        }
        const INTERVAL: u64 = NSEC_PER_SEC / INITIATIONS_PER_SECOND;
        if self
            .last_initiation_consumption
            .is_some_and(|last| last.saturating_add(INTERVAL) > now_ns)
        {
            return Err(InitiationError::Flood);
        }

        *self.remote_ephemeral.as_mut_bytes() = opened.message.unencrypted_ephemeral;
        self.latest_timestamp = Tai64n::from_bytes(*timestamp.as_bytes());
        self.last_initiation_consumption = Some(now_ns);
        self.symmetric.copy_from(&opened.symmetric);
        self.remote_index = opened.message.sender_index.get();
        self.state = State::ConsumedInitiation;
        Ok(())
    }

    /// Answers the initiation that was taken last: `e`, `ee`, `se`, `psk`, `{}`. The MACs are still
    /// to be added.
    ///
    /// The peer's data messages will find the session by `sender_index`.
    ///
    /// Returns `None` if there is no initiation to answer, or if the peer's keys are unusable. The
    /// random number generator must be seeded.
    pub(crate) fn create_response(&mut self, sender_index: u32) -> Option<HandshakeResponse> {
        let mut ephemeral = Secret::zeroed();
        crypto::curve25519_generate_secret(&mut ephemeral);
        self.create_response_with(&ephemeral, sender_index)
    }

    fn create_response_with(
        &mut self,
        ephemeral: &PrivateKey,
        sender_index: u32,
    ) -> Option<HandshakeResponse> {
        if self.state != State::ConsumedInitiation {
            return None;
        }
        let mut message = HandshakeResponse::new(sender_index, self.remote_index);
        if !self.write_response(ephemeral, &mut message) {
            self.clear();
            return None;
        }
        self.state = State::CreatedResponse;
        Some(message)
    }

    fn write_response(&mut self, ephemeral: &PrivateKey, message: &mut HandshakeResponse) -> bool {
        let mut key = Secret::zeroed();

        // e
        let public = &mut message.unencrypted_ephemeral;
        if !crypto::curve25519_generate_public(public, ephemeral) {
            return false;
        }
        self.symmetric.mix_ephemeral(public);

        // ee, se
        if !self
            .symmetric
            .mix_dh(ephemeral, self.remote_ephemeral.as_bytes())
            || !self
                .symmetric
                .mix_dh(ephemeral, self.remote_static.as_bytes())
        {
            return false;
        }

        // psk
        self.symmetric.mix_psk(&self.preshared_key, &mut key);

        // {}
        self.symmetric
            .encrypt(&mut message.encrypted_nothing, &[], &key)
    }

    /// Takes a response, whose `receiver_index` has led to this handshake: `e`, `ee`, `se`, `psk`,
    /// `{}`.
    ///
    /// Returns whether the response answers the latest initiation. If not, that initiation still
    /// waits for its response.
    #[must_use]
    pub(crate) fn consume_response(
        &mut self,
        identity: &StaticIdentity,
        message: &HandshakeResponse,
    ) -> bool {
        let Some(static_private) = identity.private_key() else {
            return false;
        };
        if self.state != State::CreatedInitiation {
            return false;
        }

        let mut key = Secret::zeroed();
        let mut symmetric = SymmetricState::zeroed();
        symmetric.copy_from(&self.symmetric);

        // e
        let public = &message.unencrypted_ephemeral;
        symmetric.mix_ephemeral(public);

        // ee, se
        if !symmetric.mix_dh(&self.ephemeral_private, public)
            || !symmetric.mix_dh(static_private, public)
        {
            return false;
        }

        // psk
        symmetric.mix_psk(&self.preshared_key, &mut key);

        // {}
        if !symmetric.decrypt(&mut [], &message.encrypted_nothing, &key) {
            return false;
        }

        *self.remote_ephemeral.as_mut_bytes() = *public;
        self.symmetric.copy_from(&symmetric);
        self.remote_index = message.sender_index.get();
        self.state = State::ConsumedResponse;
        true
    }

    /// Derives the keys of the session into `session` and ends the handshake.
    ///
    /// `now_ns` is the clock reading. Returns whether there was a handshake that had come far
    /// enough. If not, `session` and the handshake are unchanged.
    #[must_use]
    pub(crate) fn begin_session(&mut self, session: &mut Session, now_ns: u64) -> bool {
        session.i_am_the_initiator = match self.state {
            State::CreatedResponse => false,
            State::ConsumedResponse => true,
            _ => return false,
        };
        let keys = if session.i_am_the_initiator {
            [&mut session.sending, &mut session.receiving]
        } else {
            [&mut session.receiving, &mut session.sending]
        };
        self.symmetric.split(keys);
        session.remote_index = self.remote_index;
        session.birthdate = now_ns;
        self.clear();
        true
    }
}

/// An initiation on its way to the handshake of its sender.
///
/// This part of reading an initiation needs no peer. It reveals which peer the initiation claims to
/// be from.
pub(crate) struct OpenedInitiation<'a> {
    message: &'a HandshakeInitiation,
    symmetric: SymmetricState,
    remote_static: PublicKey,
    /// Whether `remote_static` is decrypted.
    is_open: bool,
}

impl<'a> OpenedInitiation<'a> {
    /// An initiation still to be opened.
    pub(crate) const fn new(message: &'a HandshakeInitiation) -> Self {
        Self {
            message,
            symmetric: SymmetricState::zeroed(),
            remote_static: PublicKey::zeroed(),
            is_open: false,
        }
    }

    /// Decrypts the sender's public key: `e`, `es`, `s`.
    ///
    /// Returns `None` if the message is not for `identity`. The key is only a claim so far: any
    /// sender can name any peer. The sender is authentic when [`Handshake::consume_initiation`]
    /// succeeds.
    pub(crate) fn open(&mut self, identity: &StaticIdentity) -> Option<&PublicKey> {
        let mut key = Secret::zeroed();
        let static_public = identity.public_key()?;
        let static_private = identity.private_key()?;

        self.is_open = false;
        self.symmetric.start(static_public);

        // e
        let public = &self.message.unencrypted_ephemeral;
        self.symmetric.mix_ephemeral(public);

        // es
        if !self.symmetric.mix_dh_key(static_private, public, &mut key) {
            return None;
        }

        // s
        self.is_open = self.symmetric.decrypt(
            self.remote_static.as_mut_bytes(),
            &self.message.encrypted_static,
            &key,
        );
        self.is_open.then_some(&self.remote_static)
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
