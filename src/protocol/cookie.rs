// SPDX-License-Identifier: GPL-2.0

//! MACs and cookies, with which a responder under load makes initiators show that they receive at
//! the address they send from: sections 5.3, 5.4.4 and 5.4.7 of the paper.
//!
//! [`Checker`] is the side that checks and sends cookies, one for each device. [`Cookie`] is the
//! side that adds MACs and receives cookies, one for each peer.

use kernel::prelude::*;

use super::{
    identity::PublicKey,
    limits::{
        has_expired,
        COOKIE_SECRET_LATENCY,
        COOKIE_SECRET_MAX_AGE, //
    },
    messages::{
        CookieReply,
        HandshakeInitiation,
        HandshakeResponse,
        Macs,
        COOKIE_LEN,
        COOKIE_NONCE_LEN,
        NOISE_HASH_LEN,
        NOISE_SYMMETRIC_KEY_LEN, //
    },
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// A key made from a public key. Who knows that knows this, and who has this can tell whose
/// messages are whose.
type LabelledKey = Secret<NOISE_SYMMETRIC_KEY_LEN>;

/// Makes the key of `label` and `public`.
fn labelled_key(label: &[u8; 8], public: &PublicKey, key: &mut LabelledKey) {
    crypto::blake2s(&[label, public.as_bytes()], key.as_mut_bytes());
}

/// Makes the key of `mac1` in the messages to the owner of `public`.
fn mac1_key(public: &PublicKey, key: &mut LabelledKey) {
    labelled_key(b"mac1----", public, key);
}

/// Makes the key of the cookies that the owner of `public` sends.
fn cookie_key(public: &PublicKey, key: &mut LabelledKey) {
    labelled_key(b"cookie--", public, key);
}

/// A message that ends with [`Macs`].
pub(crate) trait MessageWithMacs: FromBytes + IntoBytes + zerocopy::Immutable {
    /// Its MACs.
    fn macs(&self) -> &Macs;

    /// Its MACs, to write them.
    fn macs_mut(&mut self) -> &mut Macs;
}

impl MessageWithMacs for HandshakeInitiation {
    fn macs(&self) -> &Macs {
        &self.macs
    }

    fn macs_mut(&mut self) -> &mut Macs {
        &mut self.macs
    }
}

impl MessageWithMacs for HandshakeResponse {
    fn macs(&self) -> &Macs {
        &self.macs
    }

    fn macs_mut(&mut self) -> &mut Macs {
        &mut self.macs
    }
}

/// A MAC as it should be.
type Mac = Secret<COOKIE_LEN>;

/// Computes what `mac1` of this message should be: over all before it.
fn compute_mac1(message: &impl MessageWithMacs, key: &LabelledKey, mac: &mut Mac) {
    let bytes = message.as_bytes();
    let end = bytes.len().saturating_sub(size_of::<Macs>());
    crypto::blake2s_keyed(
        key.as_bytes(),
        &[bytes.get(..end).unwrap_or(bytes)],
        mac.as_mut_bytes(),
    );
}

/// Computes what `mac2` of this message should be: over all before it, `mac1` included.
fn compute_mac2(message: &impl MessageWithMacs, cookie: &Secret<COOKIE_LEN>, mac: &mut Mac) {
    let bytes = message.as_bytes();
    let end = bytes.len().saturating_sub(COOKIE_LEN);
    crypto::blake2s_keyed(
        cookie.as_bytes(),
        &[bytes.get(..end).unwrap_or(bytes)],
        mac.as_mut_bytes(),
    );
}

/// Where a message came from: the address and the UDP port, in network byte order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Over IPv4.
    V4 {
        /// Address.
        addr: [u8; 4],
        /// Port.
        port: [u8; 2],
    },
    /// Over IPv6.
    V6 {
        /// Address.
        addr: [u8; 16],
        /// Port.
        port: [u8; 2],
    },
}

/// What the MACs of a message show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacState {
    /// The sender does not know the public key.
    Invalid,
    /// The sender knows the public key. Whether it has a cookie was not asked, or it has none that
    /// is good now.
    ValidMacButNoCookie,
    /// The sender knows the public key and receives at its address. How often it may send is
    /// another question.
    ValidMacWithCookie,
}

/// Checks the MACs of the messages to a device, and makes its cookies.
///
/// All but [`Checker::rotate`] and [`Checker::set_identity`] may be done by many at once.
pub(crate) struct Checker {
    secret: Secret<NOISE_HASH_LEN>,
    /// When the secret was made: the clock reading in nanoseconds.
    secret_birthdate: Option<u64>,
    mac1_key: LabelledKey,
    cookie_key: LabelledKey,
}

impl Checker {
    /// A checker without secret and identity.
    pub(crate) const fn new() -> Self {
        Self {
            secret: Secret::zeroed(),
            secret_birthdate: None,
            mac1_key: Secret::zeroed(),
            cookie_key: Secret::zeroed(),
        }
    }

    /// Checks for and sends as the owner of `public` from now on.
    pub(crate) fn set_identity(&mut self, public: Option<&PublicKey>) {
        match public {
            Some(public) => {
                mac1_key(public, &mut self.mac1_key);
                cookie_key(public, &mut self.cookie_key);
            }
            None => {
                self.mac1_key.clear();
                self.cookie_key.clear();
            }
        }
    }

    /// Whether the secret is to be replaced by [`Checker::rotate`] before cookies are checked or
    /// made.
    pub(crate) fn needs_rotation(&self, now_ns: u64) -> bool {
        self.secret_birthdate
            .is_none_or(|birthdate| has_expired(birthdate, COOKIE_SECRET_MAX_AGE, now_ns))
    }

    /// Makes a new secret if it is time, so that the cookies made so far are worth nothing.
    pub(crate) fn rotate(&mut self, now_ns: u64) {
        if self.needs_rotation(now_ns) {
            self.secret.randomize();
            self.secret_birthdate = Some(now_ns);
        }
    }

    /// The cookie for this source, good for as long as the secret is. `None` if the secret is too
    /// old.
    ///
    /// It is a MAC over the address and the port: of those behind one address each has its own.
    fn make_cookie(&self, cookie: &mut Secret<COOKIE_LEN>, source: &Source, now_ns: u64) -> bool {
        if self.needs_rotation(now_ns) {
            return false;
        }
        let (addr, port): (&[u8], _) = match source {
            Source::V4 { addr, port } => (addr, port),
            Source::V6 { addr, port } => (addr, port),
        };
        crypto::blake2s_keyed(self.secret.as_bytes(), &[addr, port], cookie.as_mut_bytes());
        true
    }

    /// Checks `mac1` of a message and, if `check_cookie` asks for it, `mac2`.
    ///
    /// Without a secret of the right age ([`Checker::needs_rotation`]) no cookie is good.
    pub(crate) fn validate(
        &self,
        message: &impl MessageWithMacs,
        source: &Source,
        check_cookie: bool,
        now_ns: u64,
    ) -> MacState {
        let mut mac = Mac::zeroed();
        compute_mac1(message, &self.mac1_key, &mut mac);
        if !crypto::ct_eq(mac.as_bytes(), &message.macs().mac1) {
            return MacState::Invalid;
        }
        let mut cookie = Secret::zeroed();
        if check_cookie && self.make_cookie(&mut cookie, source, now_ns) {
            compute_mac2(message, &cookie, &mut mac);
            if crypto::ct_eq(mac.as_bytes(), &message.macs().mac2) {
                return MacState::ValidMacWithCookie;
            }
        }
        MacState::ValidMacButNoCookie
    }

    /// Sends a cookie to where a message with a valid `mac1` came from: the reply to it.
    ///
    /// `sender_index` and `macs` are those of the message. `None` if the secret is too old
    /// ([`Checker::needs_rotation`]). The random number generator has to be seeded.
    pub(crate) fn create_reply(
        &self,
        sender_index: u32,
        macs: &Macs,
        source: &Source,
        now_ns: u64,
    ) -> Option<CookieReply> {
        let mut nonce = [0; COOKIE_NONCE_LEN];
        crate::linux::random::get_random_bytes(&mut nonce);
        self.create_reply_with(nonce, sender_index, macs, source, now_ns)
    }

    fn create_reply_with(
        &self,
        nonce: [u8; COOKIE_NONCE_LEN],
        sender_index: u32,
        macs: &Macs,
        source: &Source,
        now_ns: u64,
    ) -> Option<CookieReply> {
        let mut cookie = Secret::zeroed();
        if !self.make_cookie(&mut cookie, source, now_ns) {
            return None;
        }
        let mut reply = CookieReply::new(sender_index, nonce);
        crypto::xchacha20poly1305_encrypt(
            &mut reply.encrypted_cookie,
            cookie.as_bytes(),
            &macs.mac1,
            &nonce,
            self.cookie_key.as_bytes(),
        )
        .ok()?;
        Some(reply)
    }
}

/// Adds the MACs to the messages to a peer, and keeps the latest cookie the peer has sent.
pub(crate) struct Cookie {
    mac1_key: LabelledKey,
    cookie_key: LabelledKey,
    cookie: Secret<COOKIE_LEN>,
    /// When the cookie came, if there is one: the clock reading in nanoseconds.
    birthdate: Option<u64>,
    /// `mac1` of the latest message, until a cookie has come for it.
    last_mac1_sent: Mac,
    /// Whether there is one.
    have_sent_mac1: bool,
}

impl Cookie {
    /// No cookie yet from the peer with this public key, for tests.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn by_value(remote_static: &PublicKey) -> Self {
        let mut cookie = Self::zeroed();
        cookie.set_remote_static(remote_static);
        cookie
    }

    /// No cookie and no peer: a place for [`Cookie::set_remote_static`].
    pub(crate) const fn zeroed() -> Self {
        Self {
            mac1_key: Secret::zeroed(),
            cookie_key: Secret::zeroed(),
            cookie: Secret::zeroed(),
            birthdate: None,
            last_mac1_sent: Secret::zeroed(),
            have_sent_mac1: false,
        }
    }

    /// Makes it that of the peer with this public key.
    pub(crate) fn set_remote_static(&mut self, remote_static: &PublicKey) {
        mac1_key(remote_static, &mut self.mac1_key);
        cookie_key(remote_static, &mut self.cookie_key);
    }

    /// Writes both MACs of a message to the peer; `mac2` is zeros without a cookie that is good
    /// now.
    pub(crate) fn add_macs(&mut self, message: &mut impl MessageWithMacs, now_ns: u64) {
        compute_mac1(message, &self.mac1_key, &mut self.last_mac1_sent);
        self.have_sent_mac1 = true;
        message.macs_mut().mac1 = *self.last_mac1_sent.as_bytes();

        const MAX_AGE: u64 = COOKIE_SECRET_MAX_AGE.saturating_sub(COOKIE_SECRET_LATENCY);
        let mut mac2 = Mac::zeroed();
        if let Some(birthdate) = self.birthdate {
            if !has_expired(birthdate, MAX_AGE, now_ns) {
                compute_mac2(message, &self.cookie, &mut mac2);
            }
        }
        message.macs_mut().mac2 = *mac2.as_bytes();
    }

    /// Whether there may be an answer to the latest message: one was sent, and has not been
    /// answered with a cookie yet.
    pub(crate) fn is_expected(&self) -> bool {
        self.have_sent_mac1
    }

    /// Takes the cookie out of a reply, whose `receiver_index` has led here.
    ///
    /// Returns whether it is the answer to the latest message. There is one cookie for each
    /// message.
    #[must_use]
    pub(crate) fn consume_reply(&mut self, reply: &CookieReply, now_ns: u64) -> bool {
        if !self.have_sent_mac1 {
            return false;
        }
        let authentic = crypto::xchacha20poly1305_decrypt(
            self.cookie.as_mut_bytes(),
            &reply.encrypted_cookie,
            self.last_mac1_sent.as_bytes(),
            &reply.nonce,
            self.cookie_key.as_bytes(),
        )
        .is_ok();
        // What is not authentic is not decrypted, and leaves the old cookie as it is.
        if authentic {
            self.birthdate = Some(now_ns);
            self.last_mac1_sent.clear();
            self.have_sent_mac1 = false;
        }
        authentic
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
