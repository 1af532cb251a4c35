// SPDX-License-Identifier: GPL-2.0

//! Peers that move. The endpoint of a peer is an address that has been proven, and data go to
//! another address within a budget only.
//!
//! A message tells where it claims to come from, and anybody on its path can change that. So the
//! newest message of a peer does not show that the peer receives at the address that the message
//! came from. Without a proof, somebody who copies a message from another address points everything
//! that is sent to the peer at that address; and so can the peer itself. Two things prove that the
//! peer receives at an address:
//!
//! - a valid response to an initiation that was sent only there,
//! - the first message of a session whose response was sent there.
//!
//! A cookie reply to such an initiation does not: whoever sees the initiation and knows the peer's
//! public key can make one. It tells that the next initiation, with the cookie, will be answered,
//! so that one is sent earlier.
//!
//! The *primary* is the address that was proven last, or configured. The *candidate* is the address
//! that the newest message came from, if that is another one:
//!
//! ```text
//!             newest message from elsewhere              proven: becomes the primary
//! primary ──────────────────────────────────► candidate ─────────────────────────────►
//!    ▲                                            │
//!    └─────── newest message from the primary ────┘
//! ```
//!
//! The candidate is *probed*: it is sent an ordinary initiation. Until it is proven, it is sent no
//! more data than [`Bucket`] and three times what came from there allow; everything else goes to
//! the primary. After [`MAX_PROBES`] probes without an answer it is sent nothing. The peer can
//! still prove the address with a handshake of its own.
//!
//! A new port of the same IP address is taken without a proof: that is what address translation
//! does. The same holds for another address in the same IPv6 network of 64 bits, except for
//! link-local addresses, which all hosts of a link have in one such network.
//!
//! # Invariants
//!
//! 1. An address that is not proven is sent at most three times the bytes that came from there. All
//!    such addresses of a peer are sent [`Bucket::SIZE`] bytes more, and [`Bucket::BYTES_PER_SEC`].
//! 2. No message stops data to the primary before another address is proven, or the peer speaks
//!    from a port of the same address, except for what the budget lets go to a candidate.
//! 3. There is at most one probe a second.
//! 4. The primary changes by a proof, by the configuration, or to a neighbour as above.
//!
//! [`Policy`] says how far all this holds. A *pinned* primary stays, whatever arrives: there is no
//! candidate. Only our own address that goes with it follows the peer.

use core::num::NonZero;

use super::{
    limits::{
        has_expired,
        NSEC_PER_SEC,
        REKEY_TIMEOUT, //
    },
    timers::handshake_may_be_sent, //
};

/// Most probes that a candidate is sent.
pub(crate) const MAX_PROBES: u32 = 3;
/// Seconds after a handshake message before which a candidate is not probed.
const PROBE_DELAY: u64 = 1;
/// Bytes that may be sent to a candidate for each byte that came from there.
const FACTOR: u64 = 3;
/// Bytes of a probe, at most: an initiation with its IPv6 and UDP headers.
const PROBE_LEN: u64 = 148 + 48;

/// How a peer's address is proven.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Not at all, as with the C module: the newest message moves the endpoint.
    Trusting,
    /// A candidate is sent data within the budget before it is proven.
    Proving,
    /// A candidate is sent no data before it is proven.
    Strict,
}

impl Policy {
    /// The policy with this number: 0, 1 or 2 in the order above.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Trusting,
            1 => Self::Proving,
            _ => Self::Strict,
        }
    }
}

/// An outer address with a port. Two are equal if nothing at all distinguishes them, our own
/// address that goes with them included.
pub(crate) trait Address: Copy + PartialEq {
    /// Whether datagrams to both go to the same place.
    fn is_place(&self, other: &Self) -> bool;

    /// Whether the one may take the place of the other without a proof.
    fn is_neighbour(&self, other: &Self) -> bool;
}

/// What a peer may be sent at addresses that are not proven, besides multiples of what came from
/// there.
struct Bucket {
    bytes: u64,
    /// The clock reading when it was filled last, in nanoseconds; 0: never.
    filled_at: u64,
}

impl Bucket {
    /// Bytes that it holds: those that a TCP connection sends before it has heard anything, and a
    /// bit.
    const SIZE: u64 = 16 << 10;
    /// Bytes that it gains in a second.
    const BYTES_PER_SEC: u64 = 4 << 10;

    const fn new() -> Self {
        Self {
            bytes: Self::SIZE,
            filled_at: 0,
        }
    }

    fn fill(&mut self, now_ns: u64) {
        // A full bucket takes four seconds. Longer times need not be told apart.
        const LONGEST: u64 = 8 * NSEC_PER_SEC;
        let passed = now_ns.saturating_sub(self.filled_at).min(LONGEST);
        let gained = passed.saturating_mul(Self::BYTES_PER_SEC) / NSEC_PER_SEC;
        // A part of a byte is not lost: the time stays as it was.
        if gained != 0 {
            self.bytes = self.bytes.saturating_add(gained).min(Self::SIZE);
            self.filled_at = now_ns;
        }
    }

    /// Takes out `bytes` if `spare` bytes more are there. Returns whether that was so.
    fn take(&mut self, bytes: u64, spare: u64, now_ns: u64) -> bool {
        self.fill(now_ns);
        let enough = self.bytes >= bytes.saturating_add(spare);
        if enough {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        enough
    }
}

/// An address that is not proven.
struct Candidate<A> {
    address: A,
    /// Bytes that may be sent there for those that came from there.
    credit: u64,
    /// Probes that it was sent.
    probes: u32,
    /// The clock reading at the last of them.
    probed_at: u64,
    /// Whether a cookie has come for the next one.
    has_cookie: bool,
    /// Whether [`Whereabouts::refuses`] has returned it.
    is_refused: bool,
}

impl<A: Address> Candidate<A> {
    const fn new(address: A) -> Self {
        Self {
            address,
            credit: 0,
            probes: 0,
            probed_at: 0,
            has_cookie: false,
            is_refused: false,
        }
    }

    /// Whether the next probe needs no long distance from the last handshake message.
    const fn may_be_early(&self) -> bool {
        self.probes == 0 || self.has_cookie
    }

    /// Whether a proof of `address` proves this one.
    fn is_proven_by(&self, address: &A) -> bool {
        self.address.is_place(address) || self.address.is_neighbour(address)
    }

    /// Whether the last probe of all has not been answered in time.
    fn has_failed(&self, now_ns: u64) -> bool {
        self.probes >= MAX_PROBES && has_expired(self.probed_at, REKEY_TIMEOUT, now_ns)
    }

    fn heard(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes.saturating_mul(FACTOR));
    }

    /// Takes `bytes` out of the budget, of which `spare` have to be left in the bucket. Returns
    /// whether it has that many; nothing changes otherwise.
    fn spend(&mut self, bytes: u64, spare: u64, bucket: &mut Bucket, now_ns: u64) -> bool {
        let rest = bytes.saturating_sub(self.credit);
        let enough = rest == 0 || bucket.take(rest, spare, now_ns);
        if enough {
            self.credit = self.credit.saturating_sub(bytes);
        }
        enough
    }
}

/// Where data go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the primary.
    Primary,
    /// To the candidate.
    Candidate,
    /// Nowhere: there is no primary, and the budget of the candidate is spent.
    Nowhere,
}

/// Where an initiation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attempt<A> {
    /// To the primary; `None` if no address is known.
    Ordinary(Option<A>),
    /// To the candidate, as a probe.
    Probe(A),
    /// Nowhere: it is too early, or there is no reason for one any more.
    NotNow,
}

/// The addresses of a peer.
pub(crate) struct Whereabouts<A> {
    primary: Option<A>,
    candidate: Option<Candidate<A>>,
    /// Where the last response was sent, with the order of it: see
    /// [`Session::order`](super::noise::Session::order).
    answered: Option<(u64, A)>,
    bucket: Bucket,
    /// When three more probes may be sent in a row. Each probe adds [`REKEY_TIMEOUT`].
    probes_paid_at: u64,
    /// Whether the last initiation was a probe.
    has_probed: bool,
    /// Whether nothing that arrives moves the primary.
    is_pinned: bool,
}

impl<A: Address> Whereabouts<A> {
    /// No address is known.
    pub(crate) const fn new() -> Self {
        Self {
            primary: None,
            candidate: None,
            answered: None,
            bucket: Bucket::new(),
            probes_paid_at: 0,
            has_probed: false,
            is_pinned: false,
        }
    }

    /// Pins the primary, or lets it move again. There is a primary to pin.
    pub(crate) fn pin(&mut self, pinned: bool) {
        self.is_pinned = pinned;
        if pinned {
            self.candidate = None;
            self.answered = None;
        }
    }

    /// Whether the primary is pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// The address that was proven or configured.
    pub(crate) fn primary(&mut self) -> Option<&mut A> {
        self.primary.as_mut()
    }

    /// The address that waits for its proof.
    pub(crate) fn candidate(&mut self) -> Option<&mut A> {
        self.candidate
            .as_mut()
            .map(|candidate| &mut candidate.address)
    }

    /// The address that the newest message came from, or that was configured after it: the C module
    /// has no other one.
    pub(crate) fn latest(&self) -> Option<&A> {
        self.candidate
            .as_ref()
            .map(|candidate| &candidate.address)
            .or(self.primary.as_ref())
    }

    /// Makes `address` the primary. Returns whether anything about the primary has changed.
    fn move_to(&mut self, address: A) -> bool {
        self.candidate = None;
        self.primary.replace(address) != Some(address)
    }

    /// The user has set the endpoint. Returns whether the primary has changed.
    pub(crate) fn configure(&mut self, address: A) -> bool {
        self.answered = None;
        self.move_to(address)
    }

    /// The user's next address takes the place of the primary, which has not answered. Unlike with
    /// [`Whereabouts::configure`], the candidate may still be proven.
    pub(crate) fn try_instead(&mut self, address: A) {
        self.candidate
            .take_if(|candidate| candidate.is_proven_by(&address));
        self.primary = Some(address);
    }

    /// The newest message of the peer came from here, in a datagram of `bytes`. Returns whether the
    /// primary has changed.
    pub(crate) fn heard(&mut self, from: &A, bytes: u64, policy: Policy) -> bool {
        if self.is_pinned {
            let is_there = self.primary.as_ref().is_some_and(|at| at.is_place(from));
            return is_there && self.move_to(*from);
        }
        let is_known = self
            .primary
            .as_ref()
            .is_some_and(|primary| primary.is_place(from) || primary.is_neighbour(from));
        if is_known || policy == Policy::Trusting {
            return self.move_to(*from);
        }
        let candidate = self
            .candidate
            .take_if(|candidate| candidate.is_proven_by(from));
        let candidate = self
            .candidate
            .insert(candidate.unwrap_or(Candidate::new(*from)));
        candidate.address = *from;
        candidate.heard(bytes);
        false
    }

    /// An authentic message that is not the newest one came from here, in a datagram of `bytes`.
    pub(crate) fn heard_late(&mut self, from: &A, bytes: u64) {
        if let Some(candidate) = &mut self.candidate {
            if candidate.address.is_place(from) {
                candidate.heard(bytes);
            }
        }
    }

    /// Where a datagram of `bytes` with data goes.
    pub(crate) fn choose(&mut self, bytes: u64, policy: Policy, now_ns: u64) -> Way {
        let otherwise = if self.primary.is_some() {
            Way::Primary
        } else {
            Way::Nowhere
        };
        let Some(candidate) = &mut self.candidate else {
            return otherwise;
        };
        let may = match policy {
            Policy::Trusting => true,
            // The next probe is not left without its bytes.
            Policy::Proving => {
                !candidate.has_failed(now_ns)
                    && candidate.spend(bytes, PROBE_LEN, &mut self.bucket, now_ns)
            }
            Policy::Strict => false,
        };
        if may {
            Way::Candidate
        } else {
            otherwise
        }
    }

    /// A response with this order is sent here, in a datagram of `bytes`.
    pub(crate) fn answer(&mut self, to: &A, order: u64, bytes: u64, now_ns: u64) {
        self.answered = Some((order, *to));
        if let Some(candidate) = &mut self.candidate {
            if candidate.address.is_place(to) {
                // Three times the initiation are more than that.
                let _ = candidate.spend(bytes, 0, &mut self.bucket, now_ns);
            }
        }
    }

    /// The first message of the session whose response had this order came from `from`: the peer
    /// receives where the response was sent. Returns whether the primary has changed.
    ///
    /// To be followed by [`Whereabouts::heard`], with the same message.
    pub(crate) fn confirmed(&mut self, order: u64, from: &A) -> bool {
        match self.answered.take_if(|(answered, _)| *answered == order) {
            Some((_, at)) => self.proven(&at, from),
            None => false,
        }
    }

    /// The peer receives `at` this address, and the message that proves it came from `from`.
    /// Returns whether the primary has changed.
    ///
    /// To be followed by [`Whereabouts::heard`], with the same message.
    pub(crate) fn proven(&mut self, at: &A, from: &A) -> bool {
        if self.is_pinned {
            return false;
        }
        let Some(primary) = &self.primary else {
            return self.move_to(*at);
        };
        if primary.is_place(from) || primary.is_neighbour(from) {
            return false;
        }
        if at.is_place(from) {
            return self.move_to(*from);
        }
        match &self.candidate {
            Some(candidate) if candidate.is_proven_by(at) => {
                let address = candidate.address;
                self.move_to(address)
            }
            _ => false,
        }
    }

    /// A cookie has come for an initiation that was sent only to `at`.
    pub(crate) fn cookie_received(&mut self, at: &A) {
        if let Some(candidate) = &mut self.candidate {
            candidate.has_cookie = candidate.is_proven_by(at);
        }
    }

    /// Whether the candidate is refused from now on: its last probe has not been answered in time.
    /// That is said once of each candidate. To be asked after a handshake message was not answered.
    pub(crate) fn refuses(&mut self, now_ns: u64) -> bool {
        self.candidate.as_mut().is_some_and(|candidate| {
            candidate.has_failed(now_ns) && !core::mem::replace(&mut candidate.is_refused, true)
        })
    }

    /// How long before it is paid for a probe may be sent, in nanoseconds.
    const BURST: u64 = (MAX_PROBES as u64 - 1) * REKEY_TIMEOUT * NSEC_PER_SEC;

    /// Whether the number of probes, to any address, allows one more.
    fn has_probe(&self, now_ns: u64) -> bool {
        self.probes_paid_at <= now_ns.saturating_add(Self::BURST)
    }

    /// Whether the candidate is to be probed now, when the last handshake message was sent at
    /// `last_sent_ns`. `wanted`: a handshake is due for another reason, too.
    ///
    /// To be asked after something was received or sent, and if it is not, [`Self::probe_waits`],
    /// too. After the first probe this is late: the timer of all handshakes, which has a random
    /// part, asks for the next one earlier.
    pub(crate) fn probe_is_due(&self, wanted: bool, last_sent_ns: u64, now_ns: u64) -> bool {
        const LATE: u64 = REKEY_TIMEOUT + 1;
        self.may_probe(wanted, last_sent_ns, now_ns)
            && self.candidate.as_ref().is_some_and(|candidate| {
                candidate.may_be_early() || has_expired(candidate.probed_at, LATE, now_ns)
            })
    }

    /// Nanoseconds until a probe is due that waits for nothing but time: the first one of a
    /// candidate, or the one with a cookie. `None` if no such probe waits. The arguments are those
    /// of [`Whereabouts::probe_is_due`].
    ///
    /// The timer of all handshakes has to ask for it: perhaps nothing is received or sent until
    /// then. If a handshake is due for another reason, that timer is armed for it.
    ///
    /// At least [`PROBE_DELAY`]: what is received or sent meanwhile has the probe sent as soon as
    /// it may be. In a silence the peer may be somewhere else already, and would take the probe for
    /// a move of this end.
    pub(crate) fn probe_waits(
        &self,
        wanted: bool,
        last_sent_ns: u64,
        now_ns: u64,
    ) -> Option<NonZero<u64>> {
        const DELAY: u64 = PROBE_DELAY * NSEC_PER_SEC;
        let candidate = self.candidate.as_ref()?;
        let may_come = self.primary.is_some()
            && !wanted
            && candidate.may_be_early()
            && candidate.probes < MAX_PROBES;
        if !may_come {
            return None;
        }
        // As in has_expired(): the last message may have been sent before boot.
        let distance = last_sent_ns.wrapping_add(DELAY).wrapping_sub(now_ns) as i64;
        let distance = (distance.max(0) as u64).min(DELAY);
        let payment = self.probes_paid_at.saturating_sub(Self::BURST);
        let left = NonZero::new(distance.max(payment.saturating_sub(now_ns)))?;
        NonZero::new(left.get().max(DELAY))
    }

    /// Whether the last initiation was a probe of the candidate.
    pub(crate) fn has_probed(&self) -> bool {
        self.has_probed
    }

    /// Whether the candidate may be probed now. The arguments are those of
    /// [`Whereabouts::probe_is_due`].
    fn may_probe(&self, wanted: bool, last_sent_ns: u64, now_ns: u64) -> bool {
        // Without a primary, all initiations go to the candidate.
        let (Some(candidate), true) = (&self.candidate, self.primary.is_some()) else {
            return false;
        };
        // The handshake that is due takes turns with probes: candidates that come and go do not
        // keep the primary from it.
        if wanted && self.has_probed {
            return false;
        }
        let early = candidate.may_be_early() && !wanted;
        candidate.probes < MAX_PROBES
            && self.has_probe(now_ns)
            && (handshake_may_be_sent(last_sent_ns, now_ns)
                || early && has_expired(last_sent_ns, PROBE_DELAY, now_ns))
    }

    /// Where an initiation goes that is sent now. The arguments are those of
    /// [`Whereabouts::probe_is_due`].
    pub(crate) fn begin(&mut self, wanted: bool, last_sent_ns: u64, now_ns: u64) -> Attempt<A> {
        if self.may_probe(wanted, last_sent_ns, now_ns) {
            if let Some(candidate) = &mut self.candidate {
                const PRICE: u64 = REKEY_TIMEOUT * NSEC_PER_SEC;
                self.probes_paid_at = self.probes_paid_at.max(now_ns).saturating_add(PRICE);
                self.has_probed = true;
                candidate.probes = candidate.probes.saturating_add(1);
                candidate.probed_at = now_ns;
                candidate.has_cookie = false;
                // The bytes are there: data leave that many.
                let _ = candidate.spend(PROBE_LEN, 0, &mut self.bucket, now_ns);
                return Attempt::Probe(candidate.address);
            }
        }
        if !wanted || !handshake_may_be_sent(last_sent_ns, now_ns) {
            return Attempt::NotNow;
        }
        self.has_probed = false;
        match (self.primary, &mut self.candidate) {
            (None, Some(candidate)) => {
                let _ = candidate.spend(PROBE_LEN, 0, &mut self.bucket, now_ns);
                Attempt::Ordinary(Some(candidate.address))
            }
            (primary, _) => Attempt::Ordinary(primary),
        }
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
