// SPDX-License-Identifier: GPL-2.0

//! What can happen to a message, a packet or a session, and counters of it.
//!
//! Every place that drops or refuses something names its reason: an [`Event`]. What can be ascribed
//! to a peer is counted for that peer, everything else for the device. The counters only serve
//! events that are rare while all is well: a packet that gets through touches none of them.
//!
//! What only happens to peers that have [`Settings`](crate::state::settings::Settings) is counted
//! there.
//!
//! The names and numbers are those of `netlink/specs/wireguard_ext.yaml`, which tools read.

use kernel::{
    prelude::*,
    str::CStr,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::linux::skbuff::DropReason;

/// What can happen. The numbers are part of the netlink interface. Those below
/// [`DEVICE_EVENTS_BEGIN`] are counted for a peer, those from [`TOLD_EVENTS_BEGIN`] on are only
/// told, and the others are counted for a device.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// A handshake initiation was made for the peer. If it could not be sent, that is counted,
    /// too.
    HandshakeBegun = 1,
    /// A handshake initiation of the peer was taken, and answered.
    HandshakeAnswered = 2,
    /// Both sides are known to have the keys of a new session.
    HandshakeCompleted = 3,
    /// No initiation was answered for 90 seconds, and no other is sent until there is something
    /// to send.
    HandshakeGivenUp = 4,
    /// A data message without contents was sent.
    KeepaliveSent = 5,
    /// A data message without contents was received.
    KeepaliveReceived = 6,
    /// An authentic message of the peer came from another address or port than before.
    EndpointMoved = 7,
    /// The peer is under load, and has asked for a proof of this side's address.
    CookieReceived = 8,
    /// No new session was made in time, and all keys were zeroed.
    SessionExpired = 9,
    /// An initiation names the public key of the peer, but its sender does not have the private
    /// key.
    InitiationNotAuthentic = 10,
    /// The timestamp of an initiation is not later than that of the last one taken: the clock
    /// of the peer was set back, or the message is a replay.
    InitiationOldTimestamp = 11,
    /// An initiation came less than 20 ms after the last one taken.
    InitiationTooSoon = 12,
    /// A response to an initiation of this side is not authentic: the preshared keys differ, or
    /// the sender does not have the private key.
    ResponseNotAuthentic = 13,
    /// A response came late or twice: no initiation of this side waits for it.
    ResponseNotAwaited = 14,
    /// No initiation could be made: the interface has no private key, or the peer's public key
    /// is unusable.
    NoIdentity = 15,
    /// A message or packet could not be sent: no endpoint of the peer is known, or the only one is
    /// not proven and has had its share.
    NoEndpoint = 16,
    /// A message could not be sent: there is no route to the endpoint.
    NoRoute = 17,
    /// A message could not be sent: there is no socket, or the network stack refused it.
    SendFailed = 18,
    /// Data messages were dropped: their keys are too old or used up.
    RxExpired = 19,
    /// Data messages were dropped: their counters were received before, or are too old.
    RxReplayed = 20,
    /// Data messages were dropped: they are not authentic.
    RxNotAuthentic = 21,
    /// Packets from the peer were dropped: their source address is not among the peer's allowed
    /// IPs.
    RxWrongSource = 22,
    /// Packets from the peer were dropped: they are not IP, or their length is impossible.
    RxMalformed = 23,
    /// Data messages were dropped: a queue is full.
    RxQueueFull = 24,
    /// Packets to the peer were dropped: there is no session to send them with.
    TxNoKey = 25,
    /// Packets to the peer were dropped: a queue is full.
    TxQueueFull = 26,
    /// Packets or messages were dropped, or a handshake was not made, for want of memory.
    NoMemory = 27,
    /// Packets to the peer or handshake messages from it were dropped: the peer is disabled.
    PeerDisabled = 28,
    /// Packets to the peer were dropped, or a handshake was neither begun nor answered: the peer
    /// requires a preshared key, and there is none.
    NoPresharedKey = 29,
    /// A handshake was not answered, and the next endpoint of the peer's list is tried.
    EndpointUnanswered = 30,
    /// A datagram is no WireGuard message.
    DatagramMalformed = 32,
    /// A handshake message was not made for the public key of this interface.
    WrongMac1 = 33,
    /// An initiation names a public key that no peer of this interface has.
    UnknownKey = 34,
    /// An initiation was made for this interface, but the sender's public key in it cannot be
    /// decrypted.
    InitiationUnreadable = 35,
    /// A response or cookie reply names an index that is not in use.
    ResponseUnknown = 36,
    /// This interface is under load, and a handshake message was answered with a cookie.
    CookieSent = 37,
    /// This interface is under load, and the source of a handshake message has sent more than
    /// it may.
    RateLimited = 38,
    /// A handshake message was dropped: too many wait, or there are no random numbers yet.
    HandshakeQueueFull = 39,
    /// Data messages were dropped: they name a session that this interface does not have.
    UnknownIndex = 40,
    /// A data message was dropped: too many have arrived.
    ArrivalQueueFull = 41,
    /// A packet was dropped: its destination is not among the allowed IPs of any peer.
    TxNoPeer = 42,
    /// A packet was dropped: it is not IP.
    TxNotIp = 43,
    /// A message was dropped: it could not leave by the device or from the address that the
    /// interface is bound to.
    NotAsBound = 44,
    /// The peer has shown that it receives at an address that it was not sent everything at before.
    EndpointProven = 64,
    /// Probes of the address that the newest message came from were not answered.
    EndpointRefused = 65,
}

/// The number of the first event that is counted for a peer.
const PEER_EVENTS_BEGIN: u8 = Event::HandshakeBegun as u8;
/// Number of the events that are counted for a peer.
const PEER_EVENTS: usize = (Event::NoMemory as u8 - PEER_EVENTS_BEGIN + 1) as usize;
/// The number of the first event that is counted with the settings of a peer.
const SETTINGS_EVENTS_BEGIN: u8 = Event::PeerDisabled as u8;
/// Number of the events that are counted with the settings of a peer.
const SETTINGS_EVENTS: usize =
    (Event::EndpointUnanswered as u8 - SETTINGS_EVENTS_BEGIN + 1) as usize;
/// The number of the first event that is counted for a device.
const DEVICE_EVENTS_BEGIN: u8 = Event::DatagramMalformed as u8;
/// Number of the events that are counted for a device.
const DEVICE_EVENTS: usize = (Event::NotAsBound as u8 - DEVICE_EVENTS_BEGIN + 1) as usize;

/// The number of the first event that is told and not counted.
const TOLD_EVENTS_BEGIN: u8 = Event::EndpointProven as u8;

impl Event {
    /// The reason in the core's list for packets that are dropped when this happens.
    pub(crate) const fn drop_reason(self) -> DropReason {
        match self {
            Self::NoEndpoint | Self::TxNoPeer | Self::PeerDisabled | Self::NoPresharedKey => {
                DropReason::NoTarget
            }
            Self::NoRoute | Self::NotAsBound => DropReason::NoRoute,
            Self::SendFailed => DropReason::NoSocket,
            Self::RxWrongSource => DropReason::Source,
            Self::RxMalformed => DropReason::IpHeader,
            Self::TxNotIp | Self::DatagramMalformed => DropReason::Protocol,
            Self::NoMemory => DropReason::NoMemory,
            Self::TxNoKey => DropReason::Purged,
            // Under load, a message that a cookie answers finds the queue too long.
            Self::RxQueueFull
            | Self::TxQueueFull
            | Self::HandshakeQueueFull
            | Self::ArrivalQueueFull
            | Self::CookieSent
            | Self::RateLimited => DropReason::QueueFull,
            // A counter, an index, a tag: what is around the packet, not the packet.
            _ => DropReason::DriverHeader,
        }
    }

    /// The event of a failure with this error: [`Event::NoMemory`] or `other`.
    pub(crate) fn no_room(error: &Error, other: Self) -> Self {
        if *error == ENOMEM {
            Self::NoMemory
        } else {
            other
        }
    }

    /// Whether this is counted with the settings of a peer.
    pub(crate) const fn is_of_settings(self) -> bool {
        self as u8 >= SETTINGS_EVENTS_BEGIN && (self as u8) < DEVICE_EVENTS_BEGIN
    }

    /// The name of the event, as in the specification.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::HandshakeBegun => c"handshake-begun",
            Self::HandshakeAnswered => c"handshake-answered",
            Self::HandshakeCompleted => c"handshake-completed",
            Self::HandshakeGivenUp => c"handshake-given-up",
            Self::KeepaliveSent => c"keepalive-sent",
            Self::KeepaliveReceived => c"keepalive-received",
            Self::EndpointMoved => c"endpoint-moved",
            Self::CookieReceived => c"cookie-received",
            Self::SessionExpired => c"session-expired",
            Self::InitiationNotAuthentic => c"initiation-not-authentic",
            Self::InitiationOldTimestamp => c"initiation-old-timestamp",
            Self::InitiationTooSoon => c"initiation-too-soon",
            Self::ResponseNotAuthentic => c"response-not-authentic",
            Self::ResponseNotAwaited => c"response-not-awaited",
            Self::NoIdentity => c"no-identity",
            Self::NoEndpoint => c"no-endpoint",
            Self::NoRoute => c"no-route",
            Self::SendFailed => c"send-failed",
            Self::RxExpired => c"rx-expired",
            Self::RxReplayed => c"rx-replayed",
            Self::RxNotAuthentic => c"rx-not-authentic",
            Self::RxWrongSource => c"rx-wrong-source",
            Self::RxMalformed => c"rx-malformed",
            Self::RxQueueFull => c"rx-queue-full",
            Self::TxNoKey => c"tx-no-key",
            Self::TxQueueFull => c"tx-queue-full",
            Self::NoMemory => c"no-memory",
            Self::PeerDisabled => c"peer-disabled",
            Self::NoPresharedKey => c"no-preshared-key",
            Self::EndpointUnanswered => c"endpoint-unanswered",
            Self::DatagramMalformed => c"datagram-malformed",
            Self::WrongMac1 => c"wrong-mac1",
            Self::UnknownKey => c"unknown-key",
            Self::InitiationUnreadable => c"initiation-unreadable",
            Self::ResponseUnknown => c"response-unknown",
            Self::CookieSent => c"cookie-sent",
            Self::RateLimited => c"rate-limited",
            Self::HandshakeQueueFull => c"handshake-queue-full",
            Self::UnknownIndex => c"unknown-index",
            Self::ArrivalQueueFull => c"arrival-queue-full",
            Self::TxNoPeer => c"tx-no-peer",
            Self::TxNotIp => c"tx-not-ip",
            Self::NotAsBound => c"not-as-bound",
            Self::EndpointProven => c"endpoint-proven",
            Self::EndpointRefused => c"endpoint-refused",
        }
    }

    /// Whether handshake messages were not taken.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::InitiationNotAuthentic
                | Self::InitiationOldTimestamp
                | Self::InitiationTooSoon
                | Self::ResponseNotAuthentic
                | Self::ResponseNotAwaited
                | Self::WrongMac1
                | Self::UnknownKey
                | Self::InitiationUnreadable
                | Self::ResponseUnknown
                | Self::CookieSent
                | Self::RateLimited
                | Self::HandshakeQueueFull
        )
    }

    /// Whether packets from inside the tunnel, or messages, were dropped. Handshake messages that
    /// have arrived are [refused](Event::is_refusal) instead.
    pub(crate) const fn is_drop(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::NoRoute
                | Self::SendFailed
                | Self::RxExpired
                | Self::RxReplayed
                | Self::RxNotAuthentic
                | Self::RxWrongSource
                | Self::RxMalformed
                | Self::RxQueueFull
                | Self::TxNoKey
                | Self::TxQueueFull
                | Self::NoMemory
                | Self::PeerDisabled
                | Self::NoPresharedKey
                | Self::DatagramMalformed
                | Self::UnknownIndex
                | Self::ArrivalQueueFull
                | Self::TxNoPeer
                | Self::TxNotIp
                | Self::NotAsBound
        )
    }

    /// Whether something has failed, as opposed to the events of a tunnel that works.
    pub(crate) const fn is_failure(self) -> bool {
        let number = self as u8;
        matches!(self, Self::HandshakeGivenUp)
            || number >= Self::InitiationNotAuthentic as u8 && number < TOLD_EVENTS_BEGIN
    }
}

/// Counters of the `N` events from number `FIRST` on. They wrap around.
pub(crate) struct Counters<const FIRST: u8, const N: usize>([Atomic<u32>; N]);

/// The counters of a device: what cannot be ascribed to a peer.
pub(crate) type DeviceCounters = Counters<DEVICE_EVENTS_BEGIN, DEVICE_EVENTS>;

/// The counters of what only happens to peers with settings.
pub(crate) type SettingsCounters = Counters<SETTINGS_EVENTS_BEGIN, SETTINGS_EVENTS>;

/// A copy counts for itself.
impl<const FIRST: u8, const N: usize> Clone for Counters<FIRST, N> {
    fn clone(&self) -> Self {
        Self(
            self.0
                .each_ref()
                .map(|counter| Atomic::new(counter.load(Relaxed))),
        )
    }
}

impl<const FIRST: u8, const N: usize> Counters<FIRST, N> {
    /// Counters that are zero.
    pub(crate) const fn new() -> Self {
        Self([const { Atomic::new(0) }; N])
    }

    /// Adds `n` to the counter of `event`, if it is one of these. Any context.
    pub(crate) fn add(&self, event: Event, n: usize) {
        let index = usize::from((event as u8).wrapping_sub(FIRST));
        if let Some(counter) = self.0.get(index) {
            counter.add(n as u32, Relaxed);
        }
    }

    /// Calls `f` with the number of each event that has happened, and how often it has, until `f`
    /// returns an error.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(u8, u32) -> Result) -> Result {
        let mut number = FIRST;
        for counter in &self.0 {
            let count = counter.load(Relaxed);
            if count != 0 {
                f(number, count)?;
            }
            number = number.wrapping_add(1);
        }
        Ok(())
    }
}

/// Lets at most ten messages in a second pass, evenly, and counts the others.
pub(crate) struct TellingLimit {
    /// When the next message may pass.
    next_ns: Atomic<i64>,
    /// The number of messages left out since the last one that passed.
    left_out: Atomic<u32>,
}

impl TellingLimit {
    /// The time between two messages.
    const INTERVAL_NS: i64 = 100_000_000;

    /// No message has passed yet.
    pub(crate) const fn new() -> Self {
        Self {
            next_ns: Atomic::new(0),
            left_out: Atomic::new(0),
        }
    }

    /// Whether a message may pass when the clock reads `now_ns`. If so, returns how many were left
    /// out before. Any context.
    pub(crate) fn allow(&self, now_ns: u64) -> Option<u32> {
        let now_ns = now_ns as i64;
        let next_ns = self.next_ns.load(Relaxed);
        let then_ns = now_ns.saturating_add(Self::INTERVAL_NS);
        if now_ns < next_ns || self.next_ns.cmpxchg(next_ns, then_ns, Relaxed).is_err() {
            self.left_out.add(1, Relaxed);
            return None;
        }
        Some(self.left_out.xchg(0, Relaxed))
    }
}

/// What is remembered of a peer besides its configuration and its keys.
pub(crate) struct PeerRecord {
    /// How often each event has happened.
    pub(crate) counters: Counters<PEER_EVENTS_BEGIN, PEER_EVENTS>,
    /// When the last initiation was sent: the low 32 bits of a clock in microseconds.
    initiated_us: Atomic<u32>,
    /// Microseconds from the last initiation that was answered to its response; 0: none was.
    round_trip_us: Atomic<u32>,
    /// When the last failure was, `ktime_get_coarse_boottime_ns()`, with its number in place of the
    /// low eight bits; 0: there was none.
    last_failure: Atomic<u64>,
}

// The allocation of a peer has room for as much as this.
const _: () = assert!(size_of::<PeerRecord>() <= 128);

impl PeerRecord {
    /// Nothing has happened.
    pub(crate) const fn new() -> Self {
        Self {
            counters: Counters::new(),
            initiated_us: Atomic::new(0),
            round_trip_us: Atomic::new(0),
            last_failure: Atomic::new(0),
        }
    }

    /// Notes that an initiation leaves. `now_ns` is a reading of a clock that is never set.
    pub(crate) fn initiated(&self, now_ns: u64) {
        self.initiated_us.store((now_ns / 1000) as u32, Relaxed);
    }

    /// Notes that the response to the last initiation has come. `now_ns` is a reading of the same
    /// clock.
    pub(crate) fn responded(&self, now_ns: u64) {
        let now_us = (now_ns / 1000) as u32;
        let round_trip = now_us.wrapping_sub(self.initiated_us.load(Relaxed));
        self.round_trip_us.store(round_trip.max(1), Relaxed);
    }

    /// The round trip of the last handshake that this side has begun, in microseconds.
    pub(crate) fn round_trip_us(&self) -> Option<u32> {
        Some(self.round_trip_us.load(Relaxed)).filter(|us| *us != 0)
    }

    /// Notes a failure when `ktime_get_coarse_boottime_ns()` is `now_ns`.
    pub(crate) fn failed(&self, event: Event, now_ns: u64) {
        let time = now_ns & !u64::from(u8::MAX);
        self.last_failure
            .store(time | u64::from(event as u8), Relaxed);
    }

    /// The number of the last failure, and when it was: `ktime_get_coarse_boottime_ns()`.
    pub(crate) fn last_failure(&self) -> Option<(u8, u64)> {
        match self.last_failure.load(Relaxed) {
            0 => None,
            failure => Some((failure as u8, failure & !u64::from(u8::MAX))),
        }
    }
}
