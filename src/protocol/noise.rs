// SPDX-License-Identifier: GPL-2.0

//! The handshake: Noise_IKpsk2, sections 5.4.1 to 5.4.5 of the paper.
//!
//! ```text
//! <- s                       the initiator knows the responder's public key beforehand
//! ...
//! -> e, es, s, ss, {t}       create_initiation()   ~>  OpenedInitiation::open(), authenticate()
//!                                                      Handshake::answer()
//! <- e, ee, se, psk, {}      OpenedResponse::authenticate()   <~
//!                            Handshake::take_response()
//!    Finished::begin_session()                         Finished::begin_session()
//! ```
//!
//! A [`Handshake`] belongs to a peer but has no reference to it. The caller finds the peer of an
//! initiation by its public key and the peer of a response by its index, and it allocates the
//! indices. Each step below names the tokens of the pattern that it goes through.
//!
//! # Initiations that cross
//!
//! Both sides may begin at the same time, so neither role may disturb the other. The only state
//! that lasts is the *pending initiation*: this side's own, which waits for its response. The
//! responder's side has none: [`Handshake::answer`] goes from the initiation to the keys of the
//! session on local values. No message of the peer ends the pending initiation but a valid response
//! to it. Otherwise it lasts until this side makes a newer one or begins anew: its keys are zeroed,
//! its identity has changed, its device is down, or the machine sleeps or was copied.
//!
//! So one crossing makes two sessions. [`Slots`](super::keypairs::Slots) elects one of them by the
//! *order* of the messages that this side made, and by the public keys.
//!
//! # Locks
//!
//! A stranger may cause the Diffie-Hellman operations of [`OpenedInitiation::open`] and of
//! [`OpenedResponse::authenticate`]. Both work on values of the caller, which needs no lock for
//! them. The secrets that they need are copied by [`Handshake::lend_static_static`] and
//! [`Handshake::lend_pending`].

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

mod session;
mod static_static;

use static_static::StaticStatic;

pub(crate) use session::{
    Finished,
    Session, //
};

/// A preshared or session key.
pub(crate) type SymmetricKey = Secret<NOISE_SYMMETRIC_KEY_LEN>;

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

/// An initiation of this side that waits for its response.
struct Pending {
    /// The order of the initiation; 0 if none waits.
    order: u64,
    /// The index that the response is sent to.
    index: u32,
    ephemeral_private: PrivateKey,
    symmetric: SymmetricState,
}

impl Pending {
    const fn zeroed() -> Self {
        Self {
            order: 0,
            index: 0,
            ephemeral_private: Secret::zeroed(),
            symmetric: SymmetricState::zeroed(),
        }
    }

    fn clear(&mut self) {
        self.order = 0;
        self.index = 0;
        self.ephemeral_private.clear();
        self.symmetric.clear();
    }
}

/// The handshakes of one peer: what is kept from one message to the next.
///
/// A message that is not authentic changes nothing. Neither does an initiation of the peer disturb
/// the initiation that is pending.
pub(crate) struct Handshake {
    remote_static: PublicKey,
    static_static: StaticStatic,
    /// Zero if there is none.
    preshared_key: SymmetricKey,
    pending: Pending,
    /// The order of the initiation or response that was made last.
    order: u64,
    /// The timestamp of the latest initiation taken.
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
            remote_static: PublicKey::zeroed(),
            static_static: StaticStatic::zeroed(),
            preshared_key: Secret::zeroed(),
            pending: Pending::zeroed(),
            order: 0,
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

    /// Computes the product of both static keys, unless it is that of `identity` already.
    ///
    /// To be called once `identity` is set, and whenever it changes: initiations that are read
    /// before that have to compute it each.
    pub(crate) fn precompute_static_static(&mut self, identity: &StaticIdentity) {
        self.static_static.compute(identity, &self.remote_static);
    }

    /// Forgets the pending initiation, if any. The record of initiations that were taken stays.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// The index that the response to the pending initiation is sent to; `None` if no initiation is
    /// pending.
    pub(crate) fn pending_index(&self) -> Option<u32> {
        (self.pending.order != 0).then_some(self.pending.index)
    }

    /// The order of a message that is made now.
    fn next_order(&mut self) -> u64 {
        // A message a nanosecond does not reach the end in 500 years.
        self.order = self.order.wrapping_add(1);
        self.order
    }

    /// Begins a handshake: `e`, `es`, `s`, `ss`, `{t}`. The MACs of the message are still to be
    /// added.
    ///
    /// The response will name `sender_index`. The initiation takes the place of one that is
    /// pending, so the caller frees the [index](Handshake::pending_index) of that one.
    ///
    /// Returns `None` without an identity, or if the peer's key is unusable; then no initiation is
    /// pending. The random number generator must be seeded.
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
        self.pending.clear();
        let static_public = identity.public_key()?;
        self.precompute_static_static(identity);
        let mut message = HandshakeInitiation::new(sender_index);
        if !self.write_initiation(ephemeral, static_public, timestamp, &mut message) {
            self.pending.clear();
            return None;
        }
        self.pending.index = sender_index;
        self.pending.order = self.next_order();
        Some(message)
    }

    fn write_initiation(
        &mut self,
        ephemeral: &PrivateKey,
        static_public: &PublicKey,
        timestamp: Tai64n,
        message: &mut HandshakeInitiation,
    ) -> bool {
        let Pending {
            ephemeral_private,
            symmetric,
            ..
        } = &mut self.pending;
        let mut key = Secret::zeroed();

        symmetric.start(&self.remote_static);

        // e
        let public = &mut message.unencrypted_ephemeral;
        if !crypto::curve25519_generate_public(public, ephemeral) {
            return false;
        }
        ephemeral_private.copy_from(ephemeral);
        symmetric.mix_ephemeral(public);

        // es
        symmetric.mix_dh_key(ephemeral_private, self.remote_static.as_bytes(), &mut key)
        // s
        && symmetric
            .encrypt(&mut message.encrypted_static, static_public.as_bytes(), &key)
        // ss
        && symmetric.mix_static_static(&self.static_static.product, &mut key)
        // {t}
        && symmetric
            .encrypt(&mut message.encrypted_timestamp, timestamp.as_bytes(), &key)
    }

    /// Copies the product of both static keys, which [`OpenedInitiation::authenticate`] needs, if
    /// it is that of the identity that `opened` is read with.
    pub(crate) fn lend_static_static(&self, opened: &mut OpenedInitiation<'_>) {
        if self.static_static.is_of(opened.identity) {
            opened.static_static.copy_from(&self.static_static);
        }
    }

    /// Whether an initiation may be answered when the clock reads `now_ns`.
    ///
    /// # Errors
    ///
    /// See [`InitiationError`].
    pub(crate) fn check_initiation(
        &self,
        opened: &OpenedInitiation<'_>,
        now_ns: u64,
    ) -> Result<(), InitiationError> {
        const INTERVAL: u64 = NSEC_PER_SEC / INITIATIONS_PER_SECOND;
        if !opened.is_authentic || opened.remote_static != self.remote_static {
            return Err(InitiationError::Invalid);
        }
        if opened.timestamp.as_bytes() <= self.latest_timestamp.as_bytes() {
            return Err(InitiationError::Replay);
        }
        if self
            .last_initiation_consumption
            .is_some_and(|last| last.saturating_add(INTERVAL) > now_ns)
        {
            return Err(InitiationError::Flood);
        }
        Ok(())
    }

    /// Takes an authentic initiation and answers it: `e`, `ee`, `se`, `psk`, `{}`. The MACs are
    /// still to be added.
    ///
    /// `now_ns` is the clock reading. The peer's data messages will name `sender_index`. On success
    /// the session may begin from `finished`. The initiation that is pending, if any, stays
    /// pending. The random number generator must be seeded.
    ///
    /// # Errors
    ///
    /// See [`InitiationError`].
    pub(crate) fn answer(
        &mut self,
        opened: &mut OpenedInitiation<'_>,
        sender_index: u32,
        now_ns: u64,
        finished: &mut Finished,
    ) -> Result<HandshakeResponse, InitiationError> {
        let mut ephemeral = Secret::zeroed();
        crypto::curve25519_generate_secret(&mut ephemeral);
        self.answer_with(&ephemeral, opened, sender_index, now_ns, finished)
    }

    fn answer_with(
        &mut self,
        ephemeral: &PrivateKey,
        opened: &mut OpenedInitiation<'_>,
        sender_index: u32,
        now_ns: u64,
        finished: &mut Finished,
    ) -> Result<HandshakeResponse, InitiationError> {
        self.check_initiation(opened, now_ns)?;
        // One attempt only: mixing again would spoil the state.
        opened.is_authentic = false;
        self.latest_timestamp = Tai64n::from_bytes(*opened.timestamp.as_bytes());
        self.last_initiation_consumption = Some(now_ns);

        let remote_index = opened.message.sender_index.get();
        let mut message = HandshakeResponse::new(sender_index, remote_index);
        if !self.write_response(ephemeral, opened, &mut message) {
            return Err(InitiationError::Invalid);
        }
        finished.symmetric.copy_from(&opened.symmetric);
        finished.remote_index = remote_index;
        finished.i_am_the_initiator = false;
        finished.order = self.next_order();
        Ok(message)
    }

    fn write_response(
        &self,
        ephemeral: &PrivateKey,
        opened: &mut OpenedInitiation<'_>,
        message: &mut HandshakeResponse,
    ) -> bool {
        let symmetric = &mut opened.symmetric;
        let mut key = Secret::zeroed();

        // e
        let public = &mut message.unencrypted_ephemeral;
        if !crypto::curve25519_generate_public(public, ephemeral) {
            return false;
        }
        symmetric.mix_ephemeral(public);

        // ee, se
        if !symmetric.mix_dh(ephemeral, &opened.message.unencrypted_ephemeral)
            || !symmetric.mix_dh(ephemeral, self.remote_static.as_bytes())
        {
            return false;
        }

        // psk
        symmetric.mix_psk(&self.preshared_key, &mut key);

        // {}
        symmetric.encrypt(&mut message.encrypted_nothing, &[], &key)
    }

    /// Copies the pending initiation and the preshared key, which `opened` is
    /// [authenticated](OpenedResponse::authenticate) with.
    ///
    /// Returns whether the response names the initiation that is pending. If not, `opened` is
    /// unchanged.
    #[must_use]
    pub(crate) fn lend_pending(&self, opened: &mut OpenedResponse<'_>) -> bool {
        if self.pending_index() != Some(opened.message.receiver_index.get()) {
            return false;
        }
        opened.order = self.pending.order;
        opened
            .ephemeral_private
            .copy_from(&self.pending.ephemeral_private);
        opened.symmetric.copy_from(&self.pending.symmetric);
        opened.preshared_key.copy_from(&self.preshared_key);
        true
    }

    /// Takes an authentic response, which ends the pending initiation. The session may begin from
    /// `finished`.
    ///
    /// Returns whether the response answers the initiation that is pending now, with the preshared
    /// key of now. If not, nothing changes.
    #[must_use]
    pub(crate) fn take_response(
        &mut self,
        opened: &OpenedResponse<'_>,
        finished: &mut Finished,
    ) -> bool {
        if !opened.is_authentic
            || opened.order != self.pending.order
            || !opened.preshared_key.ct_eq(&self.preshared_key)
        {
            return false;
        }
        finished.symmetric.copy_from(&opened.symmetric);
        finished.remote_index = opened.message.sender_index.get();
        finished.i_am_the_initiator = true;
        finished.order = self.pending.order;
        self.pending.clear();
        true
    }

    /// Whether this side wins the election if its initiation has crossed one of the peer: the
    /// public key of the winner is the greater one, bytewise.
    pub(crate) fn wins_crossing(&self, identity: &StaticIdentity) -> bool {
        identity
            .public_key()
            .is_some_and(|public| public.as_bytes() > self.remote_static.as_bytes())
    }
}

/// An initiation on its way to the handshake of its sender.
///
/// Reading it needs no lock: see the head of this file. It first reveals the peer that it claims to
/// be from.
pub(crate) struct OpenedInitiation<'a> {
    message: &'a HandshakeInitiation,
    /// The identity that the message is read with.
    identity: &'a StaticIdentity,
    symmetric: SymmetricState,
    remote_static: PublicKey,
    /// Zero until it is lent or computed.
    static_static: StaticStatic,
    timestamp: Secret<NOISE_TIMESTAMP_LEN>,
    /// Whether `remote_static` is decrypted and `timestamp` is not.
    is_open: bool,
    /// Whether `timestamp` is decrypted, and the initiation not answered.
    is_authentic: bool,
}

impl<'a> OpenedInitiation<'a> {
    /// An initiation to `identity`, still to be opened.
    pub(crate) const fn new(
        message: &'a HandshakeInitiation,
        identity: &'a StaticIdentity,
    ) -> Self {
        Self {
            message,
            identity,
            symmetric: SymmetricState::zeroed(),
            remote_static: PublicKey::zeroed(),
            static_static: StaticStatic::zeroed(),
            timestamp: Secret::zeroed(),
            is_open: false,
            is_authentic: false,
        }
    }

    /// Decrypts the sender's public key: `e`, `es`, `s`.
    ///
    /// Returns `None` if the message is not for the identity. The key is only a claim so far: any
    /// sender can name any peer.
    pub(crate) fn open(&mut self) -> Option<&PublicKey> {
        let mut key = Secret::zeroed();
        let static_public = self.identity.public_key()?;
        let static_private = self.identity.private_key()?;

        self.is_open = false;
        self.is_authentic = false;
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

    /// Decrypts the timestamp with what [`Handshake::lend_static_static`] has copied: `ss`, `{t}`.
    /// If there was nothing to copy, the product is computed first.
    ///
    /// Returns whether the sender is the peer.
    #[must_use]
    pub(crate) fn authenticate(&mut self) -> bool {
        let mut key = Secret::zeroed();

        // One attempt only: mixing again would spoil the state.
        if !core::mem::replace(&mut self.is_open, false) {
            return false;
        }

        // ss, {t}
        self.static_static
            .compute(self.identity, &self.remote_static);
        self.is_authentic = self
            .symmetric
            .mix_static_static(&self.static_static.product, &mut key)
            && self.symmetric.decrypt(
                self.timestamp.as_mut_bytes(),
                &self.message.encrypted_timestamp,
                &key,
            );
        self.is_authentic
    }
}

/// A response on its way to the initiation that it answers.
///
/// Reading it needs no lock: see the head of this file.
pub(crate) struct OpenedResponse<'a> {
    message: &'a HandshakeResponse,
    /// The order of the initiation; 0 until the initiation is lent.
    order: u64,
    ephemeral_private: PrivateKey,
    symmetric: SymmetricState,
    preshared_key: SymmetricKey,
    is_authentic: bool,
}

impl<'a> OpenedResponse<'a> {
    /// A response still to be read.
    pub(crate) const fn new(message: &'a HandshakeResponse) -> Self {
        Self {
            message,
            order: 0,
            ephemeral_private: Secret::zeroed(),
            symmetric: SymmetricState::zeroed(),
            preshared_key: Secret::zeroed(),
            is_authentic: false,
        }
    }

    /// Checks the response with what [`Handshake::lend_pending`] has copied: `e`, `ee`, `se`,
    /// `psk`, `{}`.
    ///
    /// Returns whether it answers that initiation.
    #[must_use]
    pub(crate) fn authenticate(&mut self, identity: &StaticIdentity) -> bool {
        let Some(static_private) = identity.private_key() else {
            return false;
        };
        // One attempt only: mixing again would spoil the state.
        if self.order == 0 || self.is_authentic {
            return false;
        }
        let mut key = Secret::zeroed();

        // e
        let public = &self.message.unencrypted_ephemeral;
        self.symmetric.mix_ephemeral(public);

        // ee, se
        if !self.symmetric.mix_dh(&self.ephemeral_private, public)
            || !self.symmetric.mix_dh(static_private, public)
        {
            return false;
        }

        // psk
        self.symmetric.mix_psk(&self.preshared_key, &mut key);

        // {}
        self.is_authentic = self
            .symmetric
            .decrypt(&mut [], &self.message.encrypted_nothing, &key);
        self.is_authentic
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
