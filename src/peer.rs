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

use crate::{
    allowedips::{
        AllowedIp,
        AllowedIpList, //
    },
    debug::dev_dbg,
    device::{
        Config,
        Device,
        Resident, //
    },
    linux::{
        crypto::Secret,
        ktime,
        netdevice::Stat,
        rcu::{
            self,
            AtomicDrop,
            RcuArc, //
        },
        sched,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        wipe::Wiped,
    },
    noise::{
        HandshakeState,
        Keypairs, //
    },
    protocol::{
        cookie::Cookie,
        identity::PublicKey,
        limits::MAX_PEERS_PER_DEVICE,
        timers::{
            handshake_may_be_sent,
            last_sent_long_ago, //
        },
    },
    queueing::{
        OrderQueue,
        Staged, //
    },
    send::{
        Pace,
        TransmitCpu, //
    },
    socket::PeerEndpoint,
    timers::Timers, //
};

/// The number of the peer that was created last.
static PEER_COUNTER: Atomic<i64> = Atomic::new(0);

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
    /// Set once the peer is being removed.
    dead: Atomic<bool>,

    /// Covers the handshake. Taken in process context, while no other lock of the peer is held.
    #[pin]
    pub(crate) handshake: Mutex<Wiped<HandshakeState>>,
    /// Covers the latest cookie from the peer.
    #[pin]
    pub(crate) cookie: Mutex<Wiped<Cookie>>,
    /// When a handshake message was last sent: `ktime_get_coarse_boottime_ns()`.
    last_sent_handshake: Atomic<i64>,
    #[pin]
    pub(crate) keypairs: Keypairs,

    /// Packets that wait for a key, or to be sent together. The lock is held from when packets get
    /// counters until their batch is in `tx_queue`.
    #[pin]
    pub(crate) staged: SpinLockBh<Staged>,
    /// Decides whether a packet is encrypted by its sender or left to a worker.
    pub(crate) pace: Pace,
    /// The CPU on which messages with data are handed to the network stack.
    pub(crate) transmit_cpu: TransmitCpu,
    /// Packets on their way out, from when they have a counter until they are sent.
    #[pin]
    pub(crate) tx_queue: OrderQueue,
    /// Packets on their way in, from the socket until they are delivered.
    #[pin]
    pub(crate) rx_queue: OrderQueue,
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
    pub(crate) allowed_ips: Mutex<AllowedIpList>,

    /// The last field, so that it is dropped after every reference to the device.
    _resident: Resident,
}

/// Dropping a peer drops a reference to its device, but never the last one: the end of the device
/// waits for its peers before it drops its own reference, see [`Resident`]. No other field sleeps
/// when it is dropped.
impl AtomicDrop for Peer {}

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

    /// Creates a peer of `device`.
    ///
    /// Process context. `ENOMEM` if there is no memory, or there are [`MAX_PEERS_PER_DEVICE`]
    /// already.
    pub(crate) fn create(
        device: &Arc<Device>,
        config: &mut Config,
        public_key: &PublicKey,
        preshared_key: Option<&Secret<32>>,
    ) -> Result<Arc<Self>> {
        if config.peer_count() >= MAX_PEERS_PER_DEVICE as usize {
            return Err(ENOMEM);
        }
        let now_ns = ktime::coarse_boottime_ns();
        let id = PEER_COUNTER.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        let peer = Arc::pin_init(
            try_pin_init!(Self {
                device: device.clone(),
                id,
                public_key <- Init::<PublicKey>::chain(PublicKey::zeroed(), |key| {
                    key.copy_from(public_key);
                    Ok(())
                }),
                dead: Atomic::new(false),
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
                staged <- new_spinlock_bh!(Staged::new(), "wireguard::Peer::staged"),
                tx_queue <- OrderQueue::new(),
                rx_queue <- OrderQueue::new(),
                rx_links <- ListLinks::new(),
                rx_tracker <- AtomicTracker::new(),
                endpoint <- Wiped::pin_init(PeerEndpoint::new(device.clone(), *id)),
                rx_bytes: Wiped::new(Atomic::new(0)),
                tx_bytes: Wiped::new(Atomic::new(0)),
                last_handshake_ns: Wiped::new(Atomic::new(0)),
                timers <- Timers::new(),
                persistent_keepalive_interval: Atomic::new(0),
                handshake_work <- new_work!("wireguard::Peer::handshake_work"),
                clear_work <- new_work!("wireguard::Peer::clear_work"),
                tx_work <- new_work!("wireguard::Peer::tx_work"),
                transmit_work <- new_work!("wireguard::Peer::transmit_work"),
                allowed_ips <- new_mutex!(AllowedIpList::new(), "wireguard::Peer::allowed_ips"),
                _resident: device.residents.enter(),
            }),
            GFP_KERNEL,
        )?;
        // Before anything can fail: the end of the peer is logged in any case.
        dev_dbg!(device, "Peer {} created\n", id);
        if let Some(key) = preshared_key {
            peer.set_preshared_key(key);
        }
        if let Some(identity) = device.identity.get() {
            peer.precompute_static_static(&identity);
        }
        let handle = RcuArc::new(peer.clone(), GFP_KERNEL)?;
        config.add_peer(id, handle)?;
        if let Err(e) =
            device
                .peers_by_key
                .insert(peer.public_key.as_bytes(), peer.clone(), GFP_KERNEL)
        {
            config.remove_peer(id);
            return Err(e);
        }
        Ok(peer)
    }

    /// Whether the peer is being removed.
    ///
    /// To be asked under RCU, in the critical section that then arms a timer, queues a work item or
    /// installs a keypair: the removal waits for a grace period after the answer has changed.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Whether something may begin for the peer: it is not being removed, and its device is up.
    ///
    /// To be asked under RCU, in the critical section in which the caller then begins. The removal
    /// of the peer waits for that section, see [`Peer::is_dead`], and
    /// [`Driver::stop`](crate::linux::netdevice::Driver::stop) comes a grace period after the
    /// device has ceased to run.
    #[inline]
    pub(crate) fn may_begin(&self, guard: &rcu::Guard) -> bool {
        !self.is_dead() && self.device.netdev.is_running(guard)
    }

    /// Takes the peer out of the table of public keys, and lets nothing new begin for it.
    fn make_dead(&self) {
        self.device
            .peers_by_key
            .remove_if(self.public_key.as_bytes(), |peer| peer.id == self.id);
        self.dead.store(true, Relaxed);
    }

    /// Ends all that goes on with the peer, a grace period after [`Peer::make_dead`]. By then every
    /// CPU sees that the peer is dead: no timer is armed, no work item queued and no keypair
    /// installed any more.
    pub(crate) fn finish(self: &Arc<Self>) {
        self.timers_stop();
        self.let_go();
    }

    /// Clears the handshake and the keypairs, which refer to the peer, and drops the packets that
    /// wait.
    fn let_go(&self) {
        self.clear_handshake();
        self.keypairs.clear(&self.device);
        self.purge_staged_packets();
    }

    /// The first half of the end of a peer whose device is down, is being unregistered and has no
    /// allowed IPs any more. The other half is [`Peer::finish`], a grace period later: it ends what
    /// has begun in between, which is next to nothing, so in most cases it leaves nothing to RCU.
    /// Process context.
    pub(crate) fn disappear(&self) {
        drop(self.allowed_ips.lock().take());
        self.make_dead();
        self.let_go();
    }

    /// Removes `peers`, with a single grace period for all of them.
    ///
    /// Process context; it sleeps.
    pub(crate) fn remove(config: &mut Config, peers: &[Arc<Peer>]) {
        for peer in peers {
            peer.detach(config);
        }
        Self::finish_all(peers);
    }

    /// The first half of a removal: takes the peer out of all tables, and lets nothing new begin
    /// for it. Process context.
    pub(crate) fn detach(&self, config: &mut Config) {
        self.remove_allowed_ips(config, |_| true);
        self.make_dead();
        config.remove_peer(self.id);
    }

    /// The second half of a removal, for peers that were [detached](Peer::detach), with a single
    /// grace period for all of them. Process context; it sleeps.
    pub(crate) fn finish_all<'a>(peers: impl IntoIterator<Item = &'a Arc<Peer>>) {
        let mut peers = peers.into_iter().peekable();
        if peers.peek().is_none() {
            return;
        }
        rcu::synchronize_net();
        for peer in peers {
            peer.finish();
            sched::cond_resched();
        }
    }

    /// Removes all peers of `device`, with a single grace period for all of them.
    ///
    /// Process context; it sleeps.
    pub(crate) fn remove_all(device: &Device, config: &mut Config) {
        // Without peers there are no allowed IPs either, and nothing to wait for.
        if config.peer_count() == 0 {
            return;
        }
        // Clear the tries as a whole, not prefix by prefix.
        let detached = device.allowed_ips.write().clear();
        for peer in config.peers() {
            peer.make_dead();
            sched::cond_resched();
        }
        rcu::synchronize_net();
        while let Some(peer) = config.take_first_peer() {
            drop(peer.allowed_ips.lock().take());
            peer.finish();
            sched::cond_resched();
        }
        drop(detached);
    }

    /// Stops all that goes on with the peer, a grace period after its device has gone down: by then
    /// every CPU sees that, and nothing begins any more. Process context.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.timers_stop();
        self.let_go();
        self.reset_last_sent_handshake();
    }

    /// Drops the packets that wait for a key.
    pub(crate) fn purge_staged_packets(&self) {
        let packets = self.staged.lock().take();
        if packets.messages() != 0 {
            self.device.stats_add(Stat::TxDropped, packets.messages());
        }
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

    /// Gives `prefix` to this peer, and takes it from its previous owner. `handle` is this peer's
    /// [`Config::handle`].
    ///
    /// Process context. `ENOMEM`: nothing has changed.
    pub(crate) fn insert_allowed_ip(
        self: &Arc<Self>,
        _config: &Config,
        handle: &RcuArc<Arc<Self>>,
        prefix: AllowedIp,
    ) -> Result {
        let old = {
            let mut list = self.allowed_ips.lock();
            let room = list.reserve()?;
            let mut trie = self.device.allowed_ips.write();
            let old = trie.insert(prefix, handle.clone())?;
            let (ours, others) = match old {
                Some(old) if Arc::ptr_eq(&old, self) => (true, None),
                old => (false, old),
            };
            room.put(prefix, ours);
            others
        };
        if let Some(old) = old {
            old.allowed_ips.lock().remove(&prefix);
        }
        Ok(())
    }

    /// Removes `prefix` from this peer. If it is not this peer's, nothing happens.
    pub(crate) fn remove_allowed_ip(self: &Arc<Self>, _config: &Config, prefix: &AllowedIp) {
        let removed = self
            .device
            .allowed_ips
            .write()
            .remove(prefix, |owner| Arc::ptr_eq(owner, self));
        if removed.is_some() {
            self.allowed_ips.lock().remove(prefix);
        }
    }

    /// Removes from this peer the prefixes for which `which` returns true. Process context; `which`
    /// may not sleep.
    pub(crate) fn remove_allowed_ips(&self, _config: &Config, which: impl Fn(&AllowedIp) -> bool) {
        let mut prefixes = self.allowed_ips.lock();
        if prefixes.as_slice().is_empty() {
            return;
        }
        let mut trie = self.device.allowed_ips.write();
        prefixes.retain(|prefix| {
            let remove = which(prefix);
            if remove {
                trie.remove(prefix, |owner| owner.id == self.id);
            }
            !remove
        });
    }
}
