// SPDX-License-Identifier: GPL-2.0

//! MACs and cookies: sections 5.3, 5.4.4 and 5.4.7 of the paper. With a cookie an initiator shows a
//! responder under load that it receives at the address it sends from.
//!
//! [`CookieSecret`] makes and checks cookies; each device has one. [`Cookie`] adds MACs and
//! receives cookies; each peer has one.

use super::{
    identity::PublicKey,
    limits::{
        has_expired,
        COOKIE_SECRET_LATENCY,
        COOKIE_SECRET_MAX_AGE, //
    },
    macs::{
        compute_mac2,
        Mac,
        MacKeys,
        MessageWithMacs, //
    },
    messages::{
        CookieReply,
        Macs,
        COOKIE_LEN,
        COOKIE_NONCE_LEN,
        NOISE_HASH_LEN, //
    },
};
use crate::linux::crypto::{
    self,
    Secret, //
};

/// The source of a message: the address and the UDP port, in network byte order.
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

/// The secret that the cookies of a device are made with: a random number, good for two minutes.
pub(crate) struct CookieSecret {
    secret: Secret<NOISE_HASH_LEN>,
    /// The clock reading when the secret was made, in nanoseconds.
    birthdate: u64,
}

impl CookieSecret {
    /// A place for a secret.
    pub(crate) const fn zeroed() -> Self {
        Self {
            secret: Secret::zeroed(),
            birthdate: 0,
        }
    }

    /// Draws a new secret, which invalidates all earlier cookies. The random number generator must
    /// be seeded.
    pub(crate) fn randomize(&mut self, now_ns: u64) {
        self.secret.randomize();
        self.birthdate = now_ns;
    }

    /// Whether the secret is too old. If so, draw a new one before checking or making cookies.
    pub(crate) fn has_expired(&self, now_ns: u64) -> bool {
        has_expired(self.birthdate, COOKIE_SECRET_MAX_AGE, now_ns)
    }

    /// The cookie for this source, good for as long as the secret is.
    ///
    /// It is a MAC over the address and the port, so each sender behind one address has a cookie of
    /// its own.
    fn make_cookie(&self, source: &Source, cookie: &mut Secret<COOKIE_LEN>) {
        let (addr, port): (&[u8], _) = match source {
            Source::V4 { addr, port } => (addr, port),
            Source::V6 { addr, port } => (addr, port),
        };
        crypto::blake2s_keyed(self.secret.as_bytes(), &[addr, port], cookie.as_mut_bytes());
    }

    /// Whether `mac2` of a message is right, that is, whether its sender receives at the address
    /// that it sends from. The rate limit of that address is checked elsewhere.
    pub(crate) fn has_valid_mac2(&self, message: &impl MessageWithMacs, source: &Source) -> bool {
        let mut cookie = Secret::zeroed();
        self.make_cookie(source, &mut cookie);
        let mut mac = Mac::zeroed();
        compute_mac2(message, &cookie, &mut mac);
        crypto::ct_eq(mac.as_bytes(), &message.macs().mac2)
    }

    /// The reply that carries a cookie to the source of a message with a valid `mac1`.
    ///
    /// `keys` are those of the device, `sender_index` and `macs` those of the message. The random
    /// number generator must be seeded. `None` if there is no memory.
    pub(crate) fn create_reply(
        &self,
        keys: &MacKeys,
        sender_index: u32,
        macs: &Macs,
        source: &Source,
    ) -> Option<CookieReply> {
        let mut nonce = [0; COOKIE_NONCE_LEN];
        crate::linux::random::get_random_bytes(&mut nonce);
        self.create_reply_with(nonce, keys, sender_index, macs, source)
    }

    fn create_reply_with(
        &self,
        nonce: [u8; COOKIE_NONCE_LEN],
        keys: &MacKeys,
        sender_index: u32,
        macs: &Macs,
        source: &Source,
    ) -> Option<CookieReply> {
        let mut cookie = Secret::zeroed();
        self.make_cookie(source, &mut cookie);
        let mut reply = CookieReply::new(sender_index, nonce);
        crypto::xchacha20poly1305_encrypt(
            &mut reply.encrypted_cookie,
            cookie.as_bytes(),
            &macs.mac1,
            &nonce,
            keys.cookie().as_bytes(),
        )
        .ok()?;
        Some(reply)
    }
}

/// Adds the MACs to the messages to a peer, and keeps the latest cookie the peer has sent.
pub(crate) struct Cookie {
    keys: MacKeys,
    cookie: Secret<COOKIE_LEN>,
    /// The clock reading when the cookie came, in nanoseconds; `None` without a cookie.
    birthdate: Option<u64>,
    /// `mac1` of the latest message, until a cookie has come for it.
    last_mac1_sent: Mac,
    /// Whether `last_mac1_sent` holds one.
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
            keys: MacKeys::zeroed(),
            cookie: Secret::zeroed(),
            birthdate: None,
            last_mac1_sent: Secret::zeroed(),
            have_sent_mac1: false,
        }
    }

    /// Sets the peer's public key.
    pub(crate) fn set_remote_static(&mut self, remote_static: &PublicKey) {
        self.keys.set(remote_static.as_bytes());
    }

    /// Writes both MACs into a message to the peer. Without a cookie that is good now `mac2` is
    /// zeros.
    pub(crate) fn add_macs(&mut self, message: &mut impl MessageWithMacs, now_ns: u64) {
        self.keys.compute_mac1(message, &mut self.last_mac1_sent);
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

    /// Whether a cookie reply to the latest message may come: a message was sent, and no cookie has
    /// come for it yet.
    pub(crate) fn is_expected(&self) -> bool {
        self.have_sent_mac1
    }

    /// Takes the cookie out of a reply, whose `receiver_index` has led to this peer.
    ///
    /// Returns whether the reply answers the latest message. Each message gets at most one cookie.
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
            self.keys.cookie().as_bytes(),
        )
        .is_ok();
        // A reply that is not authentic is not decrypted, so the old cookie is unchanged.
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
