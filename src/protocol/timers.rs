// SPDX-License-Identifier: GPL-2.0

//! The decisions that the timers of a peer and the ages of its keys lead to: section 6 of the
//! paper.
//!
//! The engine keeps the five timers themselves. It tells this module which event has happened and
//! which timer is pending, and carries out the [`Change`] that comes back. Delays are milliseconds,
//! ages are computed from clock readings in nanoseconds, and random jitter is an argument. So every
//! result depends on the arguments and on [`State`] alone.

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

/// `seconds` as a delay in milliseconds.
const fn msecs(seconds: u64) -> u32 {
    (seconds as u32).saturating_mul(1000)
}

/// The timers of a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// No response has come to an initiation: [`State::retransmit_handshake_expired`].
    RetransmitHandshake,
    /// Data was received and nothing sent since: [`State::send_keepalive_expired`].
    SendKeepalive,
    /// Data was sent and nothing received since: initiate a handshake, from a fresh source address.
    NewHandshake,
    /// No session has begun for so long that all keys are forgotten: those of the handshake and of
    /// the sessions.
    ZeroKeyMaterial,
    /// The interval of the user's persistent keepalive has passed without a message:
    /// [`persistent_keepalive_expired`].
    PersistentKeepalive,
}

/// What to do with a timer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Change {
    /// Leave all timers as they are.
    Keep,
    /// Let the timer expire this many milliseconds from now, whether or not it is pending.
    Arm(Timer, u32),
    /// Stop the timer if it is pending.
    Cancel(Timer),
}

/// What to do when an initiation has not been answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retransmit {
    /// Send another initiation, from a fresh source address. The number says how many retries there
    /// were, this one included.
    Retry(u32),
    /// Stop trying: drop the packets that wait for a key, and apply these changes to the timers.
    GiveUp([Change; 2]),
}

/// The memory of the timers from one event to the next.
///
/// Several threads may report events concurrently. Of two events that race, either may count as the
/// later one; the timers themselves race in the same way.
pub(crate) struct State {
    handshake_attempts: Atomic<u32>,
    need_another_keepalive: Atomic<bool>,
    sent_lastminute_handshake: Atomic<bool>,
    handshake_wanted: Atomic<bool>,
}

impl State {
    /// Nothing has happened yet.
    pub(crate) const fn new() -> Self {
        Self {
            handshake_attempts: Atomic::new(0),
            need_another_keepalive: Atomic::new(false),
            sent_lastminute_handshake: Atomic::new(false),
            handshake_wanted: Atomic::new(false),
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

    /// A handshake is about to be requested. `is_retry` is true if the last initiation went
    /// unanswered. Any other reason gives the handshake all its attempts again.
    pub(crate) fn handshake_requested(&self, is_retry: bool) {
        if !is_retry {
            self.handshake_attempts.store(0, Relaxed);
        }
        if !self.handshake_wanted.load(Relaxed) {
            self.handshake_wanted.store(true, Relaxed);
        }
    }

    /// Whether a handshake was requested and neither complete nor given up since. A probe alone is
    /// no request: see [`moving`](super::moving).
    ///
    /// A request that races with the end of a handshake may be remembered. Then one more handshake
    /// is made with the next probe.
    pub(crate) fn handshake_wanted(&self) -> bool {
        self.handshake_wanted.load(Relaxed)
    }

    /// A response was received, or, as responder, the first message of the session. So both sides
    /// have the keys.
    pub(crate) fn handshake_complete(&self) -> Change {
        self.handshake_attempts.store(0, Relaxed);
        self.sent_lastminute_handshake.store(false, Relaxed);
        self.handshake_wanted.store(false, Relaxed);
        Change::Cancel(Timer::RetransmitHandshake)
    }

    /// [`Timer::RetransmitHandshake`] has expired.
    pub(crate) fn retransmit_handshake_expired(
        &self,
        zero_key_material_pending: bool,
    ) -> Retransmit {
        let attempts = self.handshake_attempts.load(Relaxed);
        if attempts > MAX_TIMER_HANDSHAKES {
            self.handshake_wanted.store(false, Relaxed);
            // Secrets of the handshake may be left, which no session will clear away.
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

    /// [`Timer::SendKeepalive`] has expired: apply this change, then send a keepalive. A keepalive
    /// that is sent stops the timer, as any message does.
    pub(crate) fn send_keepalive_expired(&self) -> Change {
        if !self.need_another_keepalive.load(Relaxed) {
            return Change::Keep;
        }
        self.need_another_keepalive.store(false, Relaxed);
        Change::Arm(Timer::SendKeepalive, msecs(KEEPALIVE_TIMEOUT))
    }

    /// A message was received. Whether to request a handshake now, because the current key may
    /// expire before silence would show that a new one is needed. Only the initiator does so, once
    /// for each session.
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
/// `jitter_msecs` returns less than
/// [`REKEY_TIMEOUT_JITTER_MAX_MSECS`](super::limits::REKEY_TIMEOUT_JITTER_MAX_MSECS). It is only
/// called if a timer is armed.
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

/// An initiation that is due may not be sent: the last initiation or response was sent at
/// `last_sent_ns`, too short a time ago. It is sent as soon as it may be. `jitter_msecs` as for
/// [`data_sent`].
///
/// Waiting for a whole period from now on would keep the distance between the attempts of both
/// sides as it is, and so would doing without the jitter.
pub(crate) fn handshake_put_off(last_sent_ns: u64, now_ns: u64, jitter_msecs: u32) -> Change {
    const PERIOD: u64 = REKEY_TIMEOUT.saturating_mul(NSEC_PER_SEC);
    const NSEC_PER_MSEC: u64 = NSEC_PER_SEC / 1000;
    // As in has_expired(): the last message may have been sent before boot.
    let left = last_sent_ns.wrapping_add(PERIOD).wrapping_sub(now_ns) as i64;
    let left = (left.max(0) as u64).min(PERIOD).div_ceil(NSEC_PER_MSEC) as u32;
    Change::Arm(
        Timer::RetransmitHandshake,
        left.saturating_add(jitter_msecs),
    )
}

/// A probe may not be sent yet, but in `left_ns` nanoseconds, see [`moving`](super::moving). No
/// handshake is due for another reason: if the timer is pending, it is for a probe as well.
///
/// The delay has no random part, as a probe that is due immediately has none.
pub(crate) const fn probe_put_off(left_ns: u64) -> Change {
    const NSEC_PER_MSEC: u64 = NSEC_PER_SEC / 1000;
    const MOST: u64 = REKEY_TIMEOUT * 1000;
    let left = left_ns.div_ceil(NSEC_PER_MSEC);
    let left = if left < MOST { left } else { MOST };
    Change::Arm(Timer::RetransmitHandshake, left as u32)
}

/// The keys of a session were made, on either side.
pub(crate) const fn session_derived() -> Change {
    Change::Arm(
        Timer::ZeroKeyMaterial,
        msecs(REJECT_AFTER_TIME.saturating_mul(3)),
    )
}

/// [`Timer::PersistentKeepalive`] has expired. Whether to send a keepalive: the user may have
/// turned the feature off since.
pub(crate) const fn persistent_keepalive_expired(persistent_keepalive_interval: u16) -> bool {
    persistent_keepalive_interval != 0
}

/// Whether a key made at `birthdate_ns` is too old to send or receive with.
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

/// A message was sent. Whether to request a handshake, because the current key has been used for
/// many messages or, as initiator, for long.
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

/// A `last_sent_ns` that lets an initiation be sent immediately.
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
