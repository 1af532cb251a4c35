// SPDX-License-Identifier: GPL-2.0

//! Peers.
//!
//! A peer is data: the workers, NAPIs and queues of its device do its work.
//!
//! A peer lives for as long as there are references to it. These hold one:
//! - until the peer is removed: the configuration, the table of public keys and the allowed IPs of
//!   the device;
//! - until they are cleared: its handshake and its keypairs;
//! - until it is over: each armed timer, queued work item and packet under way.
//!
//! No such reference is taken for a peer that is [dead](Peer::is_dead): what is left of it goes
//! away by itself.

use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        AtomicTracker,
        ListLinks,
        TryNewListArc, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        Mutex, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work, //
    },
};

use super::{
    device::Device,
    handshake::HandshakeState,
    residents::Resident,
    settings::Settings,
    timers::Timers, //
};
use crate::{
    allowedips::AllowedIpList,
    events::{
        Event,
        PeerRecord, //
    },
    keypair::{
        self,
        Keypairs,
        Owner, //
    },
    linux::{
        engine::link::Handle,
        ktime,
        rcu::{
            self,
            AtomicDrop,
            RcuArc,
            RcuPtr, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        wipe::Wiped,
        workqueue::OwnedQueue, //
    },
    pace::{
        Pace,
        TransmitCpu, //
    },
    packet::Waiting,
    protocol::{
        cookie::Cookie,
        identity::PublicKey,
        timers::{
            handshake_may_be_sent,
            last_sent_long_ago, //
        },
    },
    queueing::OrderQueue,
    socket::PeerEndpoint,
    trace, //
};

/// The keys of one session of a peer.
pub(crate) type Keypair = keypair::Keypair<Peer>;
/// The value of an index that a peer sends to.
pub(crate) type IndexEntry = keypair::IndexEntry<Peer>;

/// The job of a batch on its way out.
pub(crate) struct Encryption {
    /// The keypair that encrypts the packets.
    pub(crate) keypair: RcuArc<Keypair>,
}

/// The job of a batch on its way in.
pub(crate) struct Decryption {
    /// The keypair that decrypts the packets.
    pub(crate) keypair: RcuArc<Keypair>,
}

/// Of [`Peer`]'s flags: the peer is being removed.
const DEAD: u32 = 1;
/// The administrator has disabled the peer.
const DISABLED: u32 = 2;
/// There is no handshake without a preshared key.
const REQUIRES_PRESHARED_KEY: u32 = 4;
/// The preshared key is never given out.
const SEALED: u32 = 8;

/// A peer of a device.
///
/// When its memory is freed nothing in it tells of the peer any more: fields that would are
/// [`Wiped`], or of types that wipe themselves.
#[pin_data]
pub(crate) struct Peer {
    /// The device that the peer belongs to.
    pub(crate) device: Arc<Device>,
    /// The number of the peer in the log. A peer that is created later has a higher one.
    pub(crate) id: u64,
    /// The static key by which the peer is known.
    pub(crate) public_key: PublicKey,
    /// What holds for the peer: `DEAD`, `DISABLED`, `REQUIRES_PRESHARED_KEY`, `SEALED`.
    flags: Atomic<u32>,
    /// What few peers have set. Changed with the configuration locked.
    pub(crate) settings: RcuPtr<Settings>,

    /// Covers the handshake. Taken in process context, while no other lock of the peer is held.
    #[pin]
    pub(crate) handshake: Mutex<Wiped<HandshakeState>>,
    /// Covers the latest cookie from the peer.
    #[pin]
    pub(crate) cookie: Mutex<Wiped<Cookie>>,
    /// When a handshake message was last sent: `ktime_get_coarse_boottime_ns()`.
    last_sent_handshake: Atomic<i64>,
    #[pin]
    pub(crate) keypairs: Keypairs<Peer>,

    /// Covers what waits for a key, or to be sent together. The lock is held from when packets get
    /// counters until their batch is in `tx_queue`.
    #[pin]
    pub(crate) staged: SpinLockBh<Waiting>,
    /// Decides whether a packet is encrypted by its sender or left to a worker.
    pub(crate) pace: Pace,
    /// The CPU on which messages with data are handed to the network stack.
    pub(crate) transmit_cpu: TransmitCpu,
    /// Packets on their way out, from when they have a counter until they are sent.
    #[pin]
    pub(crate) tx_queue: OrderQueue<Encryption>,
    /// Packets on their way in, from the socket until they are delivered.
    #[pin]
    pub(crate) rx_queue: OrderQueue<Decryption>,
    #[pin]
    rx_links: ListLinks,
    #[pin]
    rx_tracker: AtomicTracker,

    /// The outer address of the peer, and the routes to it.
    #[pin]
    pub(crate) endpoint: Wiped<PeerEndpoint>,
    /// Bytes received, of messages of all kinds and with their headers.
    pub(crate) rx_bytes: Wiped<Atomic<u64>>,
    /// Bytes sent likewise.
    pub(crate) tx_bytes: Wiped<Atomic<u64>>,
    /// When the last handshake was complete, nanoseconds since 1970; zero: never.
    pub(crate) last_handshake_ns: Wiped<Atomic<i64>>,
    /// What has happened with the peer.
    pub(crate) record: Wiped<PeerRecord>,

    #[pin]
    pub(crate) timers: Timers,
    persistent_keepalive_interval: Atomic<u32>,
    #[pin]
    handshake_work: Work<Peer, { Peer::HANDSHAKE_WORK }>,
    #[pin]
    clear_work: Work<Peer, { Peer::CLEAR_WORK }>,
    #[pin]
    tx_work: Work<Peer, { Peer::TX_WORK }>,
    #[pin]
    transmit_work: Work<Peer, { Peer::TRANSMIT_WORK }>,

    /// The prefixes that are routed to the peer and that it may send from, in the order they are
    /// listed in.
    ///
    /// Changed with the configuration locked. The trie's own lock is taken inside this one.
    #[pin]
    pub(crate) allowed_ips: Mutex<Wiped<AllowedIpList>>,

    /// The last field, so that it is dropped after every reference to the device.
    _resident: Resident,
}

/// Dropping a peer drops a reference to its device, but never the last one: the end of the device
/// waits for its peers before it drops its own reference, see [`Resident`]. No other field sleeps
/// when it is dropped.
impl AtomicDrop for Peer {}

impl Owner for Peer {
    fn id(&self) -> u64 {
        self.id
    }

    fn device_handle(&self) -> &Handle {
        &self.device.netdev
    }
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Peer { tracked_by rx_tracker: AtomicTracker; }
}

impl_list_item! {
    impl ListItem<0> for Peer { using ListLinks { self.rx_links }; }
}

impl_has_work! {
    impl HasWork<Peer, { Peer::HANDSHAKE_WORK }> for Peer { self.handshake_work }
    impl HasWork<Peer, { Peer::CLEAR_WORK }> for Peer { self.clear_work }
    impl HasWork<Peer, { Peer::TX_WORK }> for Peer { self.tx_work }
    impl HasWork<Peer, { Peer::TRANSMIT_WORK }> for Peer { self.transmit_work }
}

impl Peer {
    /// Work item that sends a handshake initiation.
    pub(crate) const HANDSHAKE_WORK: u64 = 0;
    /// Work item that forgets all keys.
    pub(crate) const CLEAR_WORK: u64 = 1;
    /// Work item that encrypts packets that wait.
    pub(crate) const TX_WORK: u64 = 2;
    /// Work item that hands encrypted packets to the network stack.
    pub(crate) const TRANSMIT_WORK: u64 = 3;

    /// Peer number `id` of `device`, which does not know of it yet. Process context. `ENOMEM` if
    /// there is no memory.
    pub(crate) fn new(device: &Arc<Device>, id: u64, public_key: &PublicKey) -> Result<Arc<Self>> {
        let now_ns = ktime::coarse_boottime_ns();
        Arc::pin_init(
            try_pin_init!(Self {
                device: device.clone(),
                id,
                public_key <- Init::<PublicKey>::chain(PublicKey::zeroed(), |key| {
                    key.copy_from(public_key);
                    Ok(())
                }),
                flags: Atomic::new(0),
                settings: RcuPtr::none(),
                handshake <- HandshakeState::new(public_key),
                cookie <- new_mutex!(
                    Wiped::pin_init(Init::<Cookie>::chain(Cookie::zeroed(), |cookie| {
                        cookie.set_remote_static(public_key);
                        Ok(())
                    })),
                    "wireguard::Peer::cookie"
                ),
                last_sent_handshake: Atomic::new(last_sent_long_ago(now_ns) as i64),
                keypairs <- Keypairs::new(),
                pace: Pace::new(),
                transmit_cpu: TransmitCpu::new(*id as u32),
                staged <- new_spinlock_bh!(Waiting::new(), "wireguard::Peer::staged"),
                tx_queue <- OrderQueue::new(),
                rx_queue <- OrderQueue::new(),
                rx_links <- ListLinks::new(),
                rx_tracker <- AtomicTracker::new(),
                endpoint <- Wiped::pin_init(PeerEndpoint::new(device.netdev.clone(), *id)),
                rx_bytes: Wiped::new(Atomic::new(0)),
                tx_bytes: Wiped::new(Atomic::new(0)),
                last_handshake_ns: Wiped::new(Atomic::new(0)),
                record: Wiped::new(PeerRecord::new()),
                timers <- Timers::new(),
                persistent_keepalive_interval: Atomic::new(0),
                handshake_work <- new_work!("wireguard::Peer::handshake_work"),
                clear_work <- new_work!("wireguard::Peer::clear_work"),
                tx_work <- new_work!("wireguard::Peer::tx_work"),
                transmit_work <- new_work!("wireguard::Peer::transmit_work"),
                allowed_ips <- new_mutex!(
                    Wiped::new(AllowedIpList::new()),
                    "wireguard::Peer::allowed_ips"
                ),
                _resident: device.residents.enter(),
            }),
            GFP_KERNEL,
        )
    }

    /// Marks the peer as being removed: see [`Peer::is_dead`].
    pub(crate) fn mark_dead(&self) {
        self.change_flags(DEAD, true);
    }

    /// Whether the peer is being removed.
    ///
    /// To be asked under RCU, in the critical section that then arms a timer, queues a work item or
    /// installs a keypair: the removal waits for a grace period after the answer has changed.
    pub(crate) fn is_dead(&self) -> bool {
        self.has(DEAD)
    }

    fn has(&self, flags: u32) -> bool {
        self.flags.load(Relaxed) & flags != 0
    }

    fn change_flags(&self, flags: u32, set: bool) {
        let mut old = self.flags.load(Relaxed);
        loop {
            let new = if set { old | flags } else { old & !flags };
            match self.flags.cmpxchg(old, new, Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Whether the administrator has disabled the peer: it is sent nothing, and nothing of it is
    /// taken.
    pub(crate) fn is_disabled(&self) -> bool {
        self.has(DISABLED)
    }

    /// Notes whether the peer is disabled. What goes on with it is ended elsewhere.
    pub(crate) fn set_disabled(&self, disabled: bool) {
        self.change_flags(DISABLED, disabled);
    }

    /// Whether nothing may be sent to the peer nor taken from it: it is being removed, or disabled.
    ///
    /// To be asked as [`Peer::is_dead`].
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.has(DEAD | DISABLED)
    }

    /// Whether there is no handshake with the peer without a preshared key.
    pub(crate) fn requires_preshared_key(&self) -> bool {
        self.has(REQUIRES_PRESHARED_KEY)
    }

    /// Sets that. To be called with the handshake locked.
    pub(crate) fn set_requires_preshared_key(&self, requires: bool) {
        self.change_flags(REQUIRES_PRESHARED_KEY, requires);
    }

    /// Whether the preshared key is not given out.
    pub(crate) fn is_sealed(&self) -> bool {
        self.has(SEALED) || self.device.settings.is_sealed()
    }

    /// Has the preshared key never given out again, for as long as there is the peer.
    pub(crate) fn seal(&self) {
        self.change_flags(SEALED, true);
    }

    /// Counts that `event` has happened `n` times, and remembers the last failure. Any context.
    pub(crate) fn count(&self, event: Event, n: usize) {
        trace::happened(&self.device.netdev, self.id, event, n);
        if event.is_of_settings() {
            let guard = rcu::Guard::new();
            if let Some(settings) = self.settings.load(&guard) {
                settings.counters.add(event, n);
            }
        } else {
            self.record.counters.add(event, n);
        }
        if event.is_failure() {
            self.record.failed(event, ktime::coarse_boottime_ns());
        }
    }

    /// The work queue for encryption and decryption. `None` once the peer is being removed. The
    /// caller queues in the critical section of `guard`, see [`Peer::is_dead`].
    pub(crate) fn crypt_wq<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a OwnedQueue> {
        (!self.is_dead()).then_some(&self.device.work_queues.packet_crypt)
    }

    /// Whether something may begin for the peer: it is neither being removed nor disabled, and its
    /// device is up.
    ///
    /// To be asked under RCU, in the critical section in which the caller then begins. The removal
    /// of the peer waits for that section, see [`Peer::is_dead`], and
    /// [`Driver::stop`](crate::linux::engine::link::Driver::stop) comes a grace period after the
    /// device has ceased to run.
    #[inline]
    pub(crate) fn may_begin(&self, guard: &rcu::Guard) -> bool {
        !self.is_stopped() && self.device.netdev.is_running(guard)
    }

    /// Seconds of silence after which the peer is sent a keepalive; zero: never.
    pub(crate) fn persistent_keepalive_interval(&self) -> u16 {
        self.persistent_keepalive_interval.load(Relaxed) as u16
    }

    /// Sets the persistent keepalive interval, in seconds; zero: never.
    pub(crate) fn set_persistent_keepalive_interval(&self, seconds: u16) {
        self.persistent_keepalive_interval
            .store(seconds.into(), Relaxed);
    }

    /// Whether enough time has passed since the last handshake message to send an initiation.
    pub(crate) fn handshake_may_be_sent(&self) -> bool {
        handshake_may_be_sent(self.last_sent_handshake_ns(), ktime::coarse_boottime_ns())
    }

    /// When a handshake message was last sent: `ktime_get_coarse_boottime_ns()`.
    pub(crate) fn last_sent_handshake_ns(&self) -> u64 {
        self.last_sent_handshake.load(Relaxed) as u64
    }

    /// Notes that a handshake message is being sent.
    pub(crate) fn handshake_is_sent(&self) {
        self.last_sent_handshake
            .store(ktime::coarse_boottime_ns() as i64, Relaxed);
    }

    /// Lets the next initiation be sent immediately.
    pub(crate) fn reset_last_sent_handshake(&self) {
        self.last_sent_handshake.store(
            last_sent_long_ago(ktime::coarse_boottime_ns()) as i64,
            Relaxed,
        );
    }
}
