// SPDX-License-Identifier: GPL-2.0

//! What the timers of a peer and the ages of its keys decide: section 6 of the paper.
//!
//! The engine keeps the five timers themselves, tells this module what has happened and which timer
//! is pending, and does what comes back. Delays are milliseconds, ages are worked out from clock
//! readings in nanoseconds, and random jitter comes in as an argument, so that everything in here
//! is a function of what it is given.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use super::limits::{
    has_expired,
    KEEPALIVE_TIMEOUT,
    MAX_TIMER_HANDSHAKES,
    NSEC_PER_SEC,
    REJECT_AFTER_MESSAGES,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    REKEY_TIMEOUT,
    UNDER_LOAD_LATENCY, //
};

/// `seconds` as a delay.
const fn msecs(seconds: u64) -> u32 {
    (seconds as u32).saturating_mul(1000)
}

/// The timers of a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// No response has come to an initiation: [`State::retransmit_handshake_expired`].
    RetransmitHandshake,
    /// Something was received and nothing sent since: [`State::send_keepalive_expired`].
    SendKeepalive,
    /// Something was sent and nothing received since: initiate a handshake, from a fresh source
    /// address.
    NewHandshake,
    /// No new keys for so long that all are to be forgotten: those of the handshake and of the
    /// sessions.
    ZeroKeyMaterial,
    /// The user wants something to be sent every so often: [`persistent_keepalive_expired`].
    PersistentKeepalive,
}

/// What to do with a timer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Change {
    /// Leave them all as they are.
    Keep,
    /// Let it expire this many milliseconds from now, whether or not it was pending.
    Arm(Timer, u32),
    /// Stop it if it is pending.
    Cancel(Timer),
}

/// What to do when an initiation has not been answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retransmit {
    /// Send another, from a fresh source address; this is how many times that has been done.
    Retry(u32),
    /// Stop trying: drop the packets that wait for a key, and do this with the timers.
    GiveUp([Change; 2]),
}

/// What the timers remember from one event to the next.
///
/// Several threads may report events at the same time; as with the timers themselves, either of two
/// that race may be the later one.
pub(crate) struct State {
    handshake_attempts: Atomic<u32>,
    need_another_keepalive: Atomic<bool>,
    sent_lastminute_handshake: Atomic<bool>,
}

impl State {
    /// Nothing has happened yet.
    pub(crate) const fn new() -> Self {
        Self {
            handshake_attempts: Atomic::new(0),
            need_another_keepalive: Atomic::new(false),
            sent_lastminute_handshake: Atomic::new(false),
        }
    }

    /// A data message that is no keepalive was received.
    pub(crate) fn data_received(&self, send_keepalive_pending: bool) -> Change {
        if !send_keepalive_pending {
            return Change::Arm(Timer::SendKeepalive, msecs(KEEPALIVE_TIMEOUT));
        }
        if !self.need_another_keepalive.load(Relaxed) {
            self.need_another_keepalive.store(true, Relaxed);
        }
        Change::Keep
    }

    /// A handshake is about to be asked for: because the last initiation went unanswered
    /// (`is_retry`), or for another reason, which gives it all its attempts again.
    pub(crate) fn handshake_requested(&self, is_retry: bool) {
        if !is_retry {
            self.handshake_attempts.store(0, Relaxed);
        }
    }

    /// A response was received, or as responder the first message of the session: both sides have
    /// the keys.
    pub(crate) fn handshake_complete(&self) -> Change {
        self.handshake_attempts.store(0, Relaxed);
        self.sent_lastminute_handshake.store(false, Relaxed);
        Change::Cancel(Timer::RetransmitHandshake)
    }

    /// [`Timer::RetransmitHandshake`] has expired.
    pub(crate) fn retransmit_handshake_expired(
        &self,
        zero_key_material_pending: bool,
    ) -> Retransmit {
        let attempts = self.handshake_attempts.load(Relaxed);
        if attempts > MAX_TIMER_HANDSHAKES {
            // Something of the handshake may be left, which no session will clear away.
            let zero = if zero_key_material_pending {
                Change::Keep
            } else {
                session_derived()
            };
            return Retransmit::GiveUp([Change::Cancel(Timer::SendKeepalive), zero]);
        }
        let attempts = attempts.saturating_add(1);
        self.handshake_attempts.store(attempts, Relaxed);
        Retransmit::Retry(attempts)
    }

    /// [`Timer::SendKeepalive`] has expired: send a keepalive, then do this.
    pub(crate) fn send_keepalive_expired(&self) -> Change {
        if !self.need_another_keepalive.load(Relaxed) {
            return Change::Keep;
        }
        self.need_another_keepalive.store(false, Relaxed);
        Change::Arm(Timer::SendKeepalive, msecs(KEEPALIVE_TIMEOUT))
    }

    /// A message was received. Whether to ask for a handshake, because the current key will not
    /// last as long as it may take to find out that one is needed: as initiator, and once for each
    /// session.
    ///
    /// `i_am_the_initiator` and `birthdate_ns` are those of the current keypair.
    pub(crate) fn rekey_after_receiving(
        &self,
        i_am_the_initiator: bool,
        birthdate_ns: u64,
        now_ns: u64,
    ) -> bool {
        const AGE: u64 = REJECT_AFTER_TIME
            .saturating_sub(KEEPALIVE_TIMEOUT)
            .saturating_sub(REKEY_TIMEOUT);
        let rekey = i_am_the_initiator
            && has_expired(birthdate_ns, AGE, now_ns)
            && !self.sent_lastminute_handshake.load(Relaxed);
        if rekey {
            self.sent_lastminute_handshake.store(true, Relaxed);
        }
        rekey
    }
}

/// A data message that is no keepalive was sent.
///
/// `jitter_msecs` is less than
/// [`REKEY_TIMEOUT_JITTER_MAX_MSECS`](super::limits::REKEY_TIMEOUT_JITTER_MAX_MSECS), and only
/// asked for when wanted.
pub(crate) fn data_sent(new_handshake_pending: bool, jitter_msecs: impl FnOnce() -> u32) -> Change {
    if new_handshake_pending {
        return Change::Keep;
    }
    const DELAY: u32 = msecs(KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT));
    Change::Arm(Timer::NewHandshake, DELAY.saturating_add(jitter_msecs()))
}

/// A message of any kind that the peer can authenticate is being sent.
pub(crate) const fn any_authenticated_packet_sent() -> Change {
    Change::Cancel(Timer::SendKeepalive)
}

/// A message of any kind was received and found authentic.
pub(crate) const fn any_authenticated_packet_received() -> Change {
    Change::Cancel(Timer::NewHandshake)
}

/// A message of any kind that is or will be found authentic is being sent or was received.
///
/// `persistent_keepalive_interval` is in seconds, 0 for none.
pub(crate) const fn any_authenticated_packet_traversal(
    persistent_keepalive_interval: u16,
) -> Change {
    match persistent_keepalive_interval {
        0 => Change::Keep,
        interval => Change::Arm(Timer::PersistentKeepalive, msecs(interval as u64)),
    }
}

/// An initiation was sent. `jitter_msecs` as for [`data_sent`].
pub(crate) const fn handshake_initiated(jitter_msecs: u32) -> Change {
    Change::Arm(
        Timer::RetransmitHandshake,
        msecs(REKEY_TIMEOUT).saturating_add(jitter_msecs),
    )
}

/// The keys of a session were made, on either side.
pub(crate) const fn session_derived() -> Change {
    Change::Arm(
        Timer::ZeroKeyMaterial,
        msecs(REJECT_AFTER_TIME.saturating_mul(3)),
    )
}

/// [`Timer::PersistentKeepalive`] has expired. Whether to send a keepalive: the user may have
/// turned it off since.
pub(crate) const fn persistent_keepalive_expired(persistent_keepalive_interval: u16) -> bool {
    persistent_keepalive_interval != 0
}

/// Whether a key made at `birthdate_ns` is too old to send or receive anything with it.
#[inline]
pub(crate) const fn key_has_expired(birthdate_ns: u64, now_ns: u64) -> bool {
    has_expired(birthdate_ns, REJECT_AFTER_TIME, now_ns)
}

/// Whether `count` messages from the counter `first` on may be sent with a key.
#[inline]
pub(crate) const fn nonces_may_be_used(first: u64, count: u32) -> bool {
    match first.checked_add(count as u64) {
        Some(end) => end <= REJECT_AFTER_MESSAGES,
        None => false,
    }
}

/// A message was sent. Whether to ask for a handshake, because the current key has been used much
/// or, as initiator, for long.
///
/// `i_am_the_initiator` and `birthdate_ns` are those of the current keypair, and `counter` the next
/// one to be used with it.
#[inline]
pub(crate) const fn rekey_after_sending(
    i_am_the_initiator: bool,
    birthdate_ns: u64,
    counter: u64,
    now_ns: u64,
) -> bool {
    counter > REKEY_AFTER_MESSAGES
        || (i_am_the_initiator && has_expired(birthdate_ns, REKEY_AFTER_TIME, now_ns))
}

/// Whether an initiation may be sent, when the last initiation or response was sent at
/// `last_sent_ns`.
#[inline]
pub(crate) const fn handshake_may_be_sent(last_sent_ns: u64, now_ns: u64) -> bool {
    has_expired(last_sent_ns, REKEY_TIMEOUT, now_ns)
}

/// A `last_sent_ns` that lets an initiation be sent at once.
pub(crate) const fn last_sent_long_ago(now_ns: u64) -> u64 {
    const LONG: u64 = REKEY_TIMEOUT.saturating_add(1).saturating_mul(NSEC_PER_SEC);
    now_ns.wrapping_sub(LONG)
}

/// Whether a device that was last seen to be under load at `last_under_load_ns` still counts as
/// such.
#[inline]
pub(crate) const fn is_still_under_load(last_under_load_ns: u64, now_ns: u64) -> bool {
    !has_expired(last_under_load_ns, UNDER_LOAD_LATENCY, now_ns)
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
