// SPDX-License-Identifier: GPL-2.0

//! The far end of a peer: its endpoints, and the routes to it.
//! [`protocol::moving`](crate::protocol::moving) decides which of them is used.

use core::num::NonZero;

use kernel::{
    fmt::{
        self,
        Display, //
    },
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use super::{
    sender::{
        Path,
        Sender, //
    },
    Endpoint, //
};
use crate::{
    debug::dev_dbg,
    extension::EndpointState,
    linux::{
        compat::code::{
            EAFNOSUPPORT,
            EDESTADDRREQ,
            EDQUOT, //
        },
        dst_cache::DstCache,
        engine::link::Handle,
        ktime,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh,
            SpinLockBhGuard, //
        }, //
    },
    protocol::{
        limits::{
            has_expired,
            KEEPALIVE_TIMEOUT,
            REKEY_TIMEOUT, //
        },
        moving::{
            Address,
            Attempt,
            Policy,
            Way,
            Whereabouts, //
        }, //
    }, //
};

/// The outer addresses of a peer, and the routes to it.
///
/// The lock is taken in process and softirq context; below it are only locks of the routing core.
#[pin_data]
pub(crate) struct PeerEndpoint {
    #[pin]
    inner: SpinLockBh<Inner>,
    /// The primary as it is now or lately was, to be read without the lock: see
    /// [`Endpoint::words`]. If there is a candidate, the first one is [`CANDIDATE`]. If the peer is
    /// barred, all are 0.
    published: [Atomic<u64>; Endpoint::WORDS],
    /// Whether nothing may be sent to the peer, even if an endpoint is known. Written with the lock
    /// held.
    barred: Atomic<bool>,
    /// [`Route::takes_lists`](crate::linux::route::Route::takes_lists) of the last route to the
    /// primary.
    takes_lists: Atomic<bool>,
    /// When the peer was last heard from the primary, in nanoseconds of
    /// [`ktime::coarse_boottime_ns`]; 0: not yet. Kept for peers with several endpoints.
    heard_ns: Atomic<u64>,
}

/// No first word of an endpoint.
const CANDIDATE: u64 = u64::MAX;

struct Inner {
    whereabouts: Whereabouts<Endpoint>,
    /// The routes to the primary. A candidate has none: they are looked up for each aggregate.
    cache: DstCache,
    /// The device of the peer, for the last message.
    device: Handle,
    peer_id: u64,
}

impl Drop for Inner {
    /// Logs that a peer is gone, and where it was.
    fn drop(&mut self) {
        dev_dbg!(
            self.device,
            "Peer {} ({}) destroyed\n",
            self.peer_id,
            Shown(self.whereabouts.latest().copied())
        );
    }
}

/// What a message proves besides that it is authentic.
pub(crate) enum Proof<'a> {
    /// The first message of the session whose response had this order: see
    /// [`Whereabouts::confirmed`].
    FirstMessage(u64),
    /// A response, to an initiation that was sent only here: see [`Whereabouts::proven`].
    Response(&'a Endpoint),
}

/// What has happened to an endpoint.
pub(crate) struct Found {
    /// The peer has shown that it receives at an address where that was not known.
    pub(crate) is_proven: bool,
    /// The peer has moved: [`PeerEndpoint::get`] was another place before.
    pub(crate) has_moved: bool,
}

/// The route to the primary, if no datagram goes elsewhere.
pub(crate) enum Course {
    /// All datagrams go this way.
    Settled(Path),
    /// There is a candidate: ask [`PeerEndpoint::next_path`] for each datagram.
    Open,
}

impl PeerEndpoint {
    /// An endpoint that is not known yet, of the peer of `device` with the number `peer_id`.
    /// Process context.
    pub(crate) fn new(device: Handle, peer_id: u64) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let inner = Inner {
                whereabouts: Whereabouts::new(),
                cache: DstCache::new()?,
                device,
                peer_id,
            };
            Ok(try_pin_init!(Self {
                inner <- new_spinlock_bh!(inner, "wireguard::PeerEndpoint::inner"),
                published: [const { Atomic::new(0) }; Endpoint::WORDS],
                barred: Atomic::new(false),
                takes_lists: Atomic::new(true),
                heard_ns: Atomic::new(0),
            }? Error))
        })
    }

    /// Whether an endpoint is known, and the peer is not barred.
    pub(crate) fn is_set(&self) -> bool {
        self.first_word() != 0
    }

    /// Bars the peer, or lets packets through again: [`PeerEndpoint::is_set`] then says so, without
    /// a cost for other peers.
    pub(crate) fn set_barred(&self, barred: bool) {
        let mut inner = self.inner.lock();
        self.barred.store(barred, Relaxed);
        self.publish(&mut inner.whereabouts);
    }

    /// Whether the next aggregate to the primary had better be a list of buffers: see
    /// [`Route::takes_lists`](crate::linux::route::Route::takes_lists). Only a hint: another route
    /// may be looked up for it.
    pub(crate) fn takes_lists(&self) -> bool {
        self.takes_lists.load(Relaxed)
    }

    fn first_word(&self) -> u64 {
        self.published.first().map_or(0, |word| word.load(Relaxed))
    }

    /// Where the peer was heard or configured last, if that is known.
    pub(crate) fn get(&self) -> Option<Endpoint> {
        self.inner.lock().whereabouts.latest().copied()
    }

    /// As [`PeerEndpoint::get`], with what is known of it.
    pub(crate) fn get_with_state(&self) -> Option<(Endpoint, EndpointState)> {
        let mut inner = self.inner.lock();
        let endpoint = *inner.whereabouts.latest()?;
        let state = if inner.whereabouts.is_pinned() {
            EndpointState::Pinned
        } else if inner.whereabouts.candidate().is_some() {
            EndpointState::Candidate
        } else {
            EndpointState::Proven
        };
        Some((endpoint, state))
    }

    /// That endpoint for log messages. It is read here, not where the message is put together: that
    /// is done with interrupts off.
    pub(crate) fn shown(&self) -> impl Display {
        Shown(self.get())
    }

    /// Changes the addresses. `change` returns whether the routes to the primary are of no use any
    /// more. Returns whether they were, and whether the peer has moved: [`PeerEndpoint::get`] was
    /// another place before.
    fn change(&self, change: impl FnOnce(&mut Whereabouts<Endpoint>) -> bool) -> (bool, bool) {
        let mut inner = self.inner.lock();
        let before = inner.whereabouts.latest().copied();
        let has_changed = change(&mut inner.whereabouts);
        if has_changed {
            inner.cache.reset();
        }
        self.publish(&mut inner.whereabouts);
        let now = inner.whereabouts.latest();
        let has_moved = before
            .zip(now)
            .is_some_and(|(before, now)| !before.is_place(now));
        (has_changed, has_moved)
    }

    /// Sets the endpoint that the user wants. Nothing changes if it is the present one but for its
    /// flow information, as with the C module.
    pub(crate) fn configure(&self, endpoint: &Endpoint) {
        if self.is_primary(endpoint) {
            return;
        }
        // Who configures knows.
        let _ = self.change(|whereabouts| whereabouts.configure(*endpoint));
        self.heard_ns.store(0, Relaxed);
    }

    /// Pins the primary, or lets it move again. `EDESTADDRREQ`: there is none to pin.
    pub(crate) fn pin(&self, pinned: bool) -> Result {
        let mut inner = self.inner.lock();
        if pinned && inner.whereabouts.primary().is_none() {
            return Err(EDESTADDRREQ);
        }
        inner.whereabouts.pin(pinned);
        self.publish(&mut inner.whereabouts);
        Ok(())
    }

    /// Whether nothing that arrives moves the primary.
    pub(crate) fn is_pinned(&self) -> bool {
        self.inner.lock().whereabouts.is_pinned()
    }

    /// Whether the primary is known.
    pub(crate) fn has_primary(&self) -> bool {
        self.inner.lock().whereabouts.primary().is_some()
    }

    /// Whether this is the place of the primary.
    pub(crate) fn is_at(&self, endpoint: &Endpoint) -> bool {
        let mut inner = self.inner.lock();
        let primary = inner.whereabouts.primary();
        primary.is_some_and(|primary| primary.is_place(endpoint))
    }

    /// Has the endpoint that `next` names, given the primary, take the primary's place. Returns
    /// whether it is another one.
    pub(crate) fn try_instead(
        &self,
        next: impl FnOnce(Option<&Endpoint>) -> Option<Endpoint>,
    ) -> bool {
        let mut changes = false;
        let _ = self.change(|whereabouts| {
            let primary = whereabouts.primary();
            let next = next(primary.as_deref());
            let others = next.filter(|next| primary.is_none_or(|at| !at.is_place(next)));
            changes = others.is_some();
            if let Some(next) = others {
                whereabouts.try_instead(next);
            }
            changes
        });
        if changes {
            self.heard_ns.store(0, Relaxed);
        }
        changes
    }

    /// Notes that an authentic message came from here.
    pub(crate) fn note_heard(&self, from: &Endpoint) {
        if self.is_primary(from) {
            self.heard_ns.store(ktime::coarse_boottime_ns(), Relaxed);
        }
    }

    /// Whether another endpoint is to be tried, as an initiation was not answered: it went to the
    /// primary, and the peer has not been heard from there for as long as it may be silent. A
    /// single message that gets lost does not take a session away from where it works.
    pub(crate) fn is_silent(&self) -> bool {
        const SILENCE: u64 = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT;
        let heard_ns = self.heard_ns.load(Relaxed);
        let lately = heard_ns != 0 && !has_expired(heard_ns, SILENCE, ktime::coarse_boottime_ns());
        !lately && !self.inner.lock().whereabouts.has_probed()
    }

    /// Notes where an authentic message has come from, which made a datagram of `len` bytes without
    /// its headers, and what it proves. `is_newest`: the peer has made no later one that is known.
    ///
    /// It seldom came from elsewhere than the last one, so the two endpoints are compared without
    /// the lock. If another CPU is just changing the endpoint, either change may come first: it
    /// does not matter which. `policy` is only asked if they differ. Returns what has happened to
    /// the endpoint.
    #[inline]
    pub(crate) fn heard(
        &self,
        from: &Endpoint,
        proof: Option<Proof<'_>>,
        is_newest: bool,
        len: usize,
        policy: impl FnOnce() -> Policy,
    ) -> Found {
        let (is_proven, has_moved) = proof.map_or((false, false), |proof| self.proven(proof, from));
        let elsewhere =
            !self.is_primary(from) && self.heard_elsewhere(from, is_newest, len, policy());
        Found {
            is_proven,
            has_moved: has_moved || elsewhere,
        }
    }

    /// Notes what a message from `from` proves. Returns whether that was not known before, and
    /// whether the peer has moved.
    fn proven(&self, proof: Proof<'_>, from: &Endpoint) -> (bool, bool) {
        self.change(|whereabouts| match proof {
            Proof::FirstMessage(order) => whereabouts.confirmed(order, from),
            Proof::Response(at) => whereabouts.proven(at, from),
        })
    }

    /// Whether this is the primary, and there is no candidate.
    #[inline]
    fn is_primary(&self, endpoint: &Endpoint) -> bool {
        let words = endpoint.words();
        self.published
            .iter()
            .zip(&words)
            .all(|(published, word)| published.load(Relaxed) == *word)
    }

    #[cold]
    fn heard_elsewhere(
        &self,
        from: &Endpoint,
        is_newest: bool,
        len: usize,
        policy: Policy,
    ) -> bool {
        let bytes = from.datagrams_len(len, 1);
        if is_newest {
            let (_, has_moved) = self.change(|whereabouts| whereabouts.heard(from, bytes, policy));
            return has_moved;
        }
        if self.first_word() == CANDIDATE {
            self.inner.lock().whereabouts.heard_late(from, bytes);
        }
        false
    }

    /// Notes that a response with this order is sent here: see [`Whereabouts::answer`]. `len` as
    /// for [`PeerEndpoint::heard`].
    pub(crate) fn answers(&self, to: &Endpoint, order: u64, len: usize) {
        let (bytes, now_ns) = (to.datagrams_len(len, 1), ktime::coarse_boottime_ns());
        let mut inner = self.inner.lock();
        inner.whereabouts.answer(to, order, bytes, now_ns);
    }

    /// A cookie has come for an initiation that was sent only to `at`.
    pub(crate) fn cookie_received(&self, at: &Endpoint) {
        self.inner.lock().whereabouts.cookie_received(at);
    }

    /// Whether the candidate is refused from now on: see [`Whereabouts::refuses`].
    pub(crate) fn refuses(&self) -> bool {
        let now_ns = ktime::coarse_boottime_ns();
        self.first_word() == CANDIDATE && self.inner.lock().whereabouts.refuses(now_ns)
    }

    /// In how many nanoseconds a probe is to be sent, 0 for now. `None` if none is to be sent, or
    /// if the timer of all handshakes asks for it: see [`Whereabouts::probe_is_due`] and
    /// [`Whereabouts::probe_waits`].
    pub(crate) fn probe_is_due_in(&self, wanted: bool, last_sent_ns: u64) -> Option<u64> {
        if self.first_word() != CANDIDATE {
            return None;
        }
        let now_ns = ktime::coarse_boottime_ns();
        let inner = self.inner.lock();
        let whereabouts = &inner.whereabouts;
        if whereabouts.probe_is_due(wanted, last_sent_ns, now_ns) {
            return Some(0);
        }
        let left_ns = whereabouts.probe_waits(wanted, last_sent_ns, now_ns);
        left_ns.map(NonZero::get)
    }

    /// Where an initiation goes that is sent now: see [`Whereabouts::begin`].
    pub(crate) fn begin(&self, wanted: bool, last_sent_ns: u64) -> Attempt<Endpoint> {
        let now_ns = ktime::coarse_boottime_ns();
        let mut inner = self.inner.lock();
        inner.whereabouts.begin(wanted, last_sent_ns, now_ns)
    }

    /// Drops the routes. They do not keep the namespace that they belong to, and must not outlive
    /// it.
    pub(crate) fn drop_routes(&self) {
        self.inner.lock().cache.reset_now();
    }

    /// Forgets the sticky source addresses, and the routes that go with them.
    pub(crate) fn clear_src(&self) {
        let mut inner = self.inner.lock();
        let Inner {
            whereabouts, cache, ..
        } = &mut *inner;
        cache.reset_now();
        if let Some(candidate) = whereabouts.candidate() {
            candidate.clear_src();
        }
        if let Some(primary) = whereabouts.primary() {
            primary.clear_src();
        }
        self.publish(whereabouts);
    }

    /// To be called with the lock held.
    fn publish(&self, whereabouts: &mut Whereabouts<Endpoint>) {
        let words = if self.barred.load(Relaxed) {
            [0; Endpoint::WORDS]
        } else if whereabouts.candidate().is_some() {
            [CANDIDATE; Endpoint::WORDS]
        } else {
            match whereabouts.primary() {
                Some(primary) => primary.words(),
                None => return,
            }
        };
        for (published, word) in self.published.iter().zip(words) {
            published.store(word, Relaxed);
        }
    }

    /// Looks up the route for datagrams with data. `EAFNOSUPPORT` if no endpoint is known.
    pub(crate) fn course(&self, sender: &Sender<'_>) -> Result<Course> {
        let mut inner = self.inner.lock();
        if inner.whereabouts.candidate().is_some() {
            return Ok(Course::Open);
        }
        self.primary_path(sender, inner).map(Course::Settled)
    }

    /// Looks up the route for the next datagrams with data: an aggregate of `count` datagrams that
    /// have `len` bytes in all, without their headers. `EDQUOT` if nothing may be sent to the only
    /// address that is known.
    pub(crate) fn next_path(
        &self,
        sender: &Sender<'_>,
        len: usize,
        count: usize,
        policy: Policy,
    ) -> Result<Path> {
        let now_ns = ktime::coarse_boottime_ns();
        let mut inner = self.inner.lock();
        let candidate = inner.whereabouts.candidate().copied();
        let bytes = candidate.map_or(0, |candidate| candidate.datagrams_len(len, count));
        match inner.whereabouts.choose(bytes, policy, now_ns) {
            Way::Primary => self.primary_path(sender, inner),
            Way::Candidate => {
                drop(inner);
                sender.path_to(&candidate.ok_or(EAFNOSUPPORT)?)
            }
            Way::Nowhere => Err(EDQUOT),
        }
    }

    /// Looks up the route to `endpoint`.
    pub(crate) fn path_to(&self, sender: &Sender<'_>, endpoint: &Endpoint) -> Result<Path> {
        let mut inner = self.inner.lock();
        let primary = inner.whereabouts.primary();
        if primary.is_some_and(|primary| primary == endpoint) {
            return self.primary_path(sender, inner);
        }
        drop(inner);
        sender.path_to(endpoint)
    }

    fn primary_path(
        &self,
        sender: &Sender<'_>,
        mut inner: SpinLockBhGuard<'_, Inner>,
    ) -> Result<Path> {
        let Inner {
            whereabouts, cache, ..
        } = &mut *inner;
        let primary = whereabouts.primary().ok_or(EAFNOSUPPORT)?;
        let before = primary.words();
        let path = sender.path(primary, Some(cache));
        let primary = *primary;
        if primary.words() != before {
            self.publish(whereabouts);
        }
        drop(inner);
        let path = path.inspect_err(|error| sender.no_route(&primary, error))?;
        let takes_lists = path.takes_lists(sender.rcu);
        if takes_lists != self.takes_lists() {
            self.takes_lists.store(takes_lists, Relaxed);
        }
        Ok(path)
    }
}

/// An endpoint for log messages, which may be unknown.
pub(crate) struct Shown(pub(crate) Option<Endpoint>);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(endpoint) => endpoint.fmt(f),
            None => f.write_str("(einval)"),
        }
    }
}
