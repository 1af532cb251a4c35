// SPDX-License-Identifier: GPL-2.0

//! The keys of a session, and the three of them that a peer may have.
//!
//! A keypair keeps its [`Owner`], the peer: a batch on its way holds the keypair, and through it
//! the peer, with a single reference count. This file knows no more of the owner than that.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};

use crate::{
    debug::dev_dbg_ratelimited,
    linux::{
        engine::link::Handle,
        rcu::{
            self,
            AtomicDrop,
            RcuArc,
            RcuPtr, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh,
            SpinLockBhGuard, //
        }, //
    },
    machine::Era,
    peerlookup::IndexTable,
    protocol::{
        keypairs::{
            Ordered,
            Slots, //
        },
        noise,
        replay::ReplayWindow,
        timers::{
            key_has_expired,
            nonces_may_be_used, //
        },
    },
    trace, //
};

/// The number of the keypair that was made last.
static KEYPAIR_COUNTER: Atomic<i64> = Atomic::new(0);

/// The peer that a keypair belongs to.
pub(crate) trait Owner: AtomicDrop + Send + Sync + 'static {
    /// The number of the peer in the log.
    fn id(&self) -> u64;

    /// The device whose name begins messages about the peer.
    fn device_handle(&self) -> &Handle;
}

/// The value of an index that a peer sends to.
pub(crate) struct IndexEntry<P: Owner> {
    /// The peer that sends to the index.
    pub(crate) peer: Arc<P>,
    /// The keypair. `None` for as long as the handshake that asked for the index lasts, and again
    /// once the keypair has been retired.
    pub(crate) keypair: RcuPtr<Keypair<P>>,
}

impl<P: Owner> AtomicDrop for IndexEntry<P> {}

/// The keys of one session of a peer.
#[pin_data]
pub(crate) struct Keypair<P: Owner> {
    /// The index that the peer sends to.
    pub(crate) index: u32,
    /// The keys themselves.
    session: noise::Session,
    /// The era in which this side drew the secrets that the keys were made of.
    era: Era,
    sending_valid: Atomic<bool>,
    receiving_valid: Atomic<bool>,
    /// Whether an authentic message has been received with it.
    is_heard: Atomic<bool>,
    /// The counter of the next message to send.
    sending_counter: Atomic<i64>,
    /// Covers the counters of authentic messages.
    #[pin]
    replay: SpinLockBh<ReplayWindow>,
    _life: Life,
    /// The peer that shares the keys. Dropped after the life: a peer outlives its keypairs in the
    /// log, too.
    pub(crate) peer: Arc<P>,
}

impl<P: Owner> AtomicDrop for Keypair<P> {}

impl<P: Owner> Ordered for RcuArc<Keypair<P>> {
    fn order(&self) -> u64 {
        self.session.order
    }
}

/// Logs the beginning and the end of a keypair. A keypair that turns out to be of no use has both
/// lines, too: without the first one, the second would name something unknown.
struct Life {
    id: u64,
    peer_id: u64,
    device: Handle,
}

impl Life {
    /// The life of the keypair `id` of a peer, from now on. Any context.
    fn begin<P: Owner>(id: u64, peer: &P) -> Self {
        let life = Self {
            id,
            peer_id: peer.id(),
            device: peer.device_handle().clone(),
        };
        dev_dbg_ratelimited!(
            life.device,
            "Keypair {} created for peer {}\n",
            life.id,
            life.peer_id
        );
        life
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        dev_dbg_ratelimited!(
            self.device,
            "Keypair {} destroyed for peer {}\n",
            self.id,
            self.peer_id
        );
    }
}

impl<P: Owner> Keypair<P> {
    /// Derives the keypair of a handshake. `EINVAL` if the handshake is not finished, `ENOMEM` if
    /// there is no memory.
    pub(crate) fn new(
        peer: &Arc<P>,
        index: u32,
        era: Era,
        handshake: &mut noise::Finished,
        now_ns: u64,
    ) -> Result<RcuArc<Self>> {
        let id = KEYPAIR_COUNTER.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        let init = try_pin_init!(Self {
            index,
            session: noise::Session::zeroed(),
            era,
            sending_valid: Atomic::new(true),
            receiving_valid: Atomic::new(true),
            is_heard: Atomic::new(false),
            sending_counter: Atomic::new(0),
            replay <- new_spinlock_bh!(ReplayWindow::new(), "wireguard::Keypair::replay"),
            _life: Life::begin(id, &**peer),
            peer: peer.clone(),
        });
        // The keys are derived where they are to stay, so that no copy of them is left behind.
        let init = init.pin_chain(|keypair| {
            if handshake.begin_session(keypair.project().session, now_ns) {
                Ok(())
            } else {
                Err(EINVAL)
            }
        });
        RcuArc::pin_init::<Error>(init, GFP_KERNEL)
    }

    /// The key for messages that are sent.
    pub(crate) fn sending_key(&self) -> &[u8; 32] {
        self.session.sending.as_bytes()
    }

    /// The key for messages that are received.
    pub(crate) fn receiving_key(&self) -> &[u8; 32] {
        self.session.receiving.as_bytes()
    }

    /// The index to send to.
    pub(crate) fn remote_index(&self) -> u32 {
        self.session.remote_index
    }

    /// Whether this side began the handshake, and so is to begin the next one.
    pub(crate) fn i_am_the_initiator(&self) -> bool {
        self.session.i_am_the_initiator
    }

    /// When the keys were made: `ktime_get_coarse_boottime_ns()`.
    pub(crate) fn birthdate(&self) -> u64 {
        self.session.birthdate
    }

    /// The counter of the next message to send.
    pub(crate) fn sending_counter(&self) -> u64 {
        self.sending_counter.load(Relaxed) as u64
    }

    /// Whether messages may be sent with it, as far as is known: its age is not looked at.
    pub(crate) fn is_sending_valid(&self) -> bool {
        self.sending_valid.load(Relaxed) && self.era.lasts()
    }

    /// Ends sending with it.
    pub(crate) fn expire_sending(&self) {
        self.sending_valid.store(false, Relaxed);
    }

    /// Whether messages may be sent with it.
    pub(crate) fn may_send(&self, now_ns: u64) -> bool {
        self.is_sending_valid() && !key_has_expired(self.birthdate(), now_ns)
    }

    /// Reserves the counters of `n` messages and returns the first; `None` if the keypair must not
    /// be used for them.
    pub(crate) fn reserve(&self, n: u32, now_ns: u64) -> Option<u64> {
        if !self.is_sending_valid() {
            return None;
        }
        if !key_has_expired(self.birthdate(), now_ns) {
            // The limit is far enough from the wrap-around for all callers that reserve
            // concurrently.
            let first = self.sending_counter.fetch_add(i64::from(n), Relaxed) as u64;
            if nonces_may_be_used(first, n) {
                return Some(first);
            }
        }
        self.expire_sending();
        None
    }

    /// Whether messages may be received with it.
    pub(crate) fn may_receive(&self, now_ns: u64) -> bool {
        if !self.receiving_valid.load(Relaxed) {
            return false;
        }
        if key_has_expired(self.birthdate(), now_ns) {
            self.expire_receiving();
            return false;
        }
        true
    }

    /// Ends receiving with it.
    pub(crate) fn expire_receiving(&self) {
        self.receiving_valid.store(false, Relaxed);
    }

    /// The counters of authentic messages so far, with their lock held.
    pub(crate) fn replay(&self) -> SpinLockBhGuard<'_, ReplayWindow> {
        self.replay.lock()
    }
}

/// A place for a keypair. The numbers are part of the netlink interface.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Slot {
    /// The keypair before the current one.
    Previous = 1,
    /// The keypair that messages are sent with.
    Current = 2,
    /// The keypair that waits for the initiator's first message.
    Next = 3,
}

/// The keypairs of a peer.
#[pin_data]
pub(crate) struct Keypairs<P: Owner> {
    /// Covers the slots, and changes of `current` and `next`.
    #[pin]
    slots: SpinLockBh<Slots<RcuArc<Keypair<P>>>>,
    /// `slots.current`, for readers under RCU.
    current: RcuPtr<Keypair<P>>,
    /// `slots.next`, likewise.
    next: RcuPtr<Keypair<P>>,
}

impl<P: Owner> Keypairs<P> {
    /// No keypairs.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            slots <- new_spinlock_bh!(Slots::new(), "wireguard::Keypairs::slots"),
            current: RcuPtr::none(),
            next: RcuPtr::none(),
        })
    }

    /// The keypair to send with.
    pub(crate) fn current(&self) -> &RcuPtr<Keypair<P>> {
        &self.current
    }

    /// Lets readers under RCU see the slots as they are now.
    fn publish(&self, slots: &Slots<RcuArc<Keypair<P>>>) {
        self.current.replace(slots.current().cloned());
        self.next.replace(slots.next().cloned());
    }

    /// Forgets all keypairs, and takes them out of `table`.
    pub(crate) fn clear(&self, table: &IndexTable<IndexEntry<P>>) {
        let displaced = {
            let mut slots = self.slots.lock();
            let displaced = slots.clear();
            self.publish(&slots);
            displaced
        };
        retire(table, displaced);
    }

    /// Calls `f` with each keypair and its place, until `f` returns an error. `f` may not sleep.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(Slot, &Keypair<P>) -> Result) -> Result {
        let slots = self.slots.lock();
        let places = [
            (Slot::Previous, slots.previous()),
            (Slot::Current, slots.current()),
            (Slot::Next, slots.next()),
        ];
        for (slot, keypair) in places {
            if let Some(keypair) = keypair {
                f(slot, keypair)?;
            }
        }
        Ok(())
    }

    /// Ends sending with the present keypairs.
    pub(crate) fn expire(&self) {
        let slots = self.slots.lock();
        for keypair in [slots.current(), slots.next()].into_iter().flatten() {
            keypair.expire_sending();
        }
    }

    /// Whether a response to an initiation of this order comes too late to begin a session.
    pub(crate) fn have_overtaken(&self, order: u64) -> bool {
        self.slots.lock().have_overtaken(order)
    }

    /// Takes in a keypair that a handshake has just made. `wins` says whether this side wins an
    /// election.
    pub(crate) fn insert(
        &self,
        table: &IndexTable<IndexEntry<P>>,
        keypair: RcuArc<Keypair<P>>,
        wins: bool,
    ) {
        trace::begun(
            keypair.peer.device_handle(),
            keypair.peer.id(),
            keypair.i_am_the_initiator(),
            keypair.index,
        );
        let displaced = {
            let mut slots = self.slots.lock();
            let displaced = if keypair.i_am_the_initiator() {
                slots.insert_as_initiator(keypair, wins)
            } else {
                let [next] = slots.insert_as_responder(keypair);
                [next, None]
            };
            self.publish(&slots);
            displaced
        };
        retire(table, displaced);
    }

    /// To be called for each authentic message. The first one with the next keypair makes that the
    /// current one, or the previous one if it has lost an election.
    ///
    /// Returns the order of the keypair if this was that message, and whether it is the current one
    /// now: the handshake is confirmed.
    pub(crate) fn received_with(
        &self,
        table: &IndexTable<IndexEntry<P>>,
        keypair: &RcuArc<Keypair<P>>,
    ) -> Option<(u64, bool)> {
        if !self.next.holds(keypair) {
            return None;
        }
        let confirmed = {
            let mut slots = self.slots.lock();
            let confirmed = slots.confirm(|next| RcuArc::ptr_eq(next, keypair))?;
            self.publish(&slots);
            confirmed
        };
        retire(table, confirmed.displaced);
        Some((keypair.order(), confirmed.is_current))
    }

    /// Notes a message that was received with `keypair`, after [`Keypairs::received_with`]. Returns
    /// whether the peer may still send with it: nothing was received yet with the keypair that has
    /// taken its place.
    pub(crate) fn is_latest(&self, keypair: &RcuArc<Keypair<P>>, guard: &rcu::Guard) -> bool {
        if !keypair.is_heard.load(Relaxed) {
            keypair.is_heard.store(true, Relaxed);
        }
        self.current.holds(keypair)
            || self
                .current
                .load(guard)
                .is_none_or(|current| !current.is_heard.load(Relaxed))
    }
}

/// Takes keypairs that have no slot any more out of the table, so that nothing is received with
/// them.
///
/// The entry gives up its keypair now, not when RCU drops the entry. If no packet is under way with
/// the keypair, it is then dropped after one grace period, not after two. A reader that still finds
/// the entry takes it for that of a handshake, which the peer does not know any more.
fn retire<P: Owner, const N: usize>(
    table: &IndexTable<IndexEntry<P>>,
    displaced: [Option<RcuArc<Keypair<P>>>; N],
) {
    for keypair in displaced.into_iter().flatten() {
        trace::ended(
            keypair.peer.device_handle(),
            keypair.peer.id(),
            keypair.i_am_the_initiator(),
            keypair.index,
        );
        table.remove_if(keypair.index, |entry| {
            let found = entry.keypair.holds(&keypair);
            if found {
                drop(entry.keypair.replace(None));
            }
            found
        });
    }
}
