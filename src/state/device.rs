// SPDX-License-Identifier: GPL-2.0

//! Devices: the interfaces that the module makes.
//!
//! # Lock order
//!
//! 1. the RTNL
//! 2. `Devices::list`, the list of all devices
//! 3. [`Device::update`], the configuration of one
//! 4. [`Peer::allowed_ips`] of one peer, then `AllowedIps::writers`, the trie's own
//! 5. [`Peer::handshake`]
//! 6. [`Peer::cookie`]
//! 7. the spinlocks: of a peer's keypairs, staged packets, endpoint and queues; of a device's
//!    queues and NAPI lists. They do not nest, with two exceptions: the lock of a peer's queue is
//!    taken under that of its staged packets, and `Keypair::replay` and the lock of a crypt queue
//!    may be taken under any of them.
//!
//! Locks 1 to 6 are mutexes, for process context. The locks of 7 disable bottom halves.

use core::{
    net::IpAddr,
    ops::ControlFlow, //
};

use kernel::{
    fmt,
    list::{
        impl_list_arc_safe,
        impl_list_item,
        AtomicTracker,
        ListLinks,
        TryNewListArc, //
    },
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::Atomic,
        Arc,
        Mutex, //
    },
};

use super::{
    peer::{
        Decryption,
        Encryption,
        IndexEntry,
        Peer, //
    },
    residents::Residents,
    settings::DeviceSettings, //
};
use crate::{
    allowedips::AllowedIps,
    events::{
        DeviceCounters,
        Event,
        TellingLimit, //
    },
    linux::{
        engine::link::Handle,
        net_namespace::{
            Net,
            WeakNet, //
        },
        netdevice::Stat,
        rcu::{
            self,
            AtomicDrop,
            RcuArc,
            RcuPtr, //
        },
    },
    memory::Memory,
    peerlookup::{
        IndexTable,
        PubkeyTable, //
    },
    protocol::{
        cookie::{
            CookieSecret,
            Source, //
        },
        identity::StaticIdentity, //
    },
    queueing::{
        CryptQueue,
        Inbox,
        RxQueue,
        WorkQueues, //
    },
    ratelimiter::RateLimiter,
    socket::{
        Closing,
        Sockets, //
    },
    trace, //
};

/// A peer in the configuration.
struct Member {
    peer: Arc<Peer>,
    /// The reference to the peer that its allowed IPs hold. `None` once the device is being
    /// unregistered.
    handle: Option<RcuArc<Arc<Peer>>>,
}

/// The configuration of a device, except for what has a field of its own in [`Device`] or [`Peer`].
pub(crate) struct Config {
    /// The peers by number, which is the order of their creation.
    peers: RBTree<u64, Member>,
    peer_count: usize,
    /// Sockets that are unpublished and not yet closed.
    pub(crate) closing: Option<Closing<Device>>,
    /// The UDP port: the one in use if the device is up, otherwise the one wanted; 0 is any.
    pub(crate) incoming_port: u16,
    /// Goes up with each change. A dump during which it changes does not show a single state.
    pub(crate) generation: u32,
}

impl Config {
    fn new() -> Self {
        Self {
            peers: RBTree::new(),
            peer_count: 0,
            closing: None,
            incoming_port: 0,
            generation: 1,
        }
    }

    /// Notes that a dump shows something else from here on.
    pub(crate) fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
    }

    /// The number of peers.
    pub(crate) fn peer_count(&self) -> usize {
        self.peer_count
    }

    /// The peers, in the order in which they were created.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values().map(|member| &member.peer)
    }

    /// Calls `f` with each peer that was created after peer `id`, in the order of their creation,
    /// until `f` returns [`ControlFlow::Break`]. With `id` 0 these are all peers.
    pub(crate) fn try_for_each_peer_after<B>(
        &mut self,
        id: u64,
        mut f: impl FnMut(&Arc<Peer>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Numbers begin with 1.
        let mut next = id
            .checked_add(1)
            .and_then(|first| self.peers.cursor_lower_bound_mut(&first));
        while let Some(cursor) = next {
            f(&cursor.current().1.peer)?;
            next = cursor.move_next();
        }
        ControlFlow::Continue(())
    }

    /// The handle of peer `id`, for its allowed IPs. `None` if there is no such peer, or the device
    /// is being unregistered.
    pub(crate) fn handle(&self, id: u64) -> Option<RcuArc<Arc<Peer>>> {
        self.peers.get(&id)?.handle.clone()
    }

    /// Adds a peer. `ENOMEM` if there is no memory.
    pub(crate) fn add_peer(&mut self, id: u64, handle: RcuArc<Arc<Peer>>) -> Result {
        let member = Member {
            peer: (*handle).clone(),
            handle: Some(handle),
        };
        self.peers.try_create_and_insert(id, member, GFP_KERNEL)?;
        self.peer_count = self.peer_count.saturating_add(1);
        Ok(())
    }

    /// Takes out a peer.
    pub(crate) fn remove_peer(&mut self, id: u64) {
        if self.peers.remove(&id).is_some() {
            self.peer_count = self.peer_count.saturating_sub(1);
        }
    }

    /// Drops the handle of each peer and calls `f` with the peer. To be called once no allowed IPs
    /// are left.
    pub(crate) fn for_each_disowned(&mut self, f: impl Fn(&Arc<Peer>)) {
        for member in self.peers.values_mut() {
            member.handle = None;
            f(&member.peer);
        }
    }

    /// Takes out the first peer.
    pub(crate) fn take_first_peer(&mut self) -> Option<Arc<Peer>> {
        let peer = self.peers().next()?.clone();
        self.remove_peer(peer.id);
        Some(peer)
    }
}

impl AtomicDrop for StaticIdentity {}
impl AtomicDrop for CookieSecret {}

/// A WireGuard interface.
#[pin_data]
pub(crate) struct Device {
    /// The network device, for as long as there is one.
    pub(crate) netdev: Handle,
    /// The namespace in which the interface was created and in which its sockets are. `None` once
    /// that namespace is going away or the device is being unregistered.
    #[pin]
    pub(crate) creating_net: Mutex<Option<WeakNet>>,
    /// Set when that namespace has gone and the sockets are yet to be closed.
    pub(crate) forgetting: Atomic<bool>,
    /// Cookie of that namespace (`net_gen_cookie`).
    net_cookie: u64,
    /// The UDP sockets, while the device is up.
    pub(crate) sockets: Sockets<Device>,
    /// The mark of outgoing datagrams; 0 is none.
    pub(crate) fwmark: Atomic<u32>,

    /// What the family `wireguard_ext` has set, except for the binding of the sockets.
    pub(crate) settings: DeviceSettings,

    /// The static keys of the device.
    pub(crate) identity: RcuPtr<StaticIdentity>,
    /// The secret from which cookies are made. `None` until the device first needs it.
    pub(crate) cookie_secret: RcuPtr<CookieSecret>,
    limiter: Arc<RateLimiter>,
    /// Counts the peers, each until the last reference to it is gone.
    pub(crate) residents: Residents,
    /// When the device was last seen under load, `ktime_get_coarse_boottime_ns()`; 0: not lately.
    pub(crate) last_under_load: Atomic<i64>,

    /// What has happened that cannot be ascribed to a peer.
    pub(crate) counters: DeviceCounters,
    /// Limits the messages about what anybody can cause.
    pub(crate) telling: TellingLimit,

    /// The peers by public key.
    #[pin]
    pub(crate) peers_by_key: PubkeyTable<Arc<Peer>>,
    /// The handshakes and keypairs by the index that peers send to.
    #[pin]
    pub(crate) index_table: IndexTable<IndexEntry>,
    /// The peers by their allowed IPs.
    #[pin]
    pub(crate) allowed_ips: AllowedIps<Arc<Peer>>,
    /// Covers the configuration. The C module's name for it is `device_update_lock`.
    #[pin]
    pub(crate) update: Mutex<Config>,

    /// Batches to be encrypted.
    pub(crate) encrypt_queue: CryptQueue<Encryption>,
    /// Batches to be decrypted.
    pub(crate) decrypt_queue: CryptQueue<Decryption>,
    /// Handshake messages to be read.
    pub(crate) handshakes: Inbox<Device>,
    /// The queues of the NAPIs, one for each possible CPU.
    pub(crate) rx_queues: KVec<Pin<KBox<RxQueue<Peer>>>>,
    /// Where the work of all devices runs.
    pub(crate) work_queues: Arc<WorkQueues>,
    /// Memory of all devices for packets.
    pub(crate) memory: Arc<Memory>,

    #[pin]
    links: ListLinks,
    #[pin]
    tracker: AtomicTracker,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Device { tracked_by tracker: AtomicTracker; }
}

impl_list_item! {
    impl ListItem<0> for Device { using ListLinks { self.links }; }
}

impl Device {
    /// The name of the interface, for messages.
    pub(crate) fn name(&self) -> impl fmt::Display + '_ {
        self.netdev.name()
    }

    /// Adds to a counter of `ip -s link`.
    pub(crate) fn stats_add(&self, stat: Stat, n: usize) {
        let guard = rcu::Guard::new();
        if let Some(dev) = self.netdev.get(&guard) {
            dev.stats_add(stat, n);
        }
    }

    /// Whether the interface is up. It stays as it is for as long as the RTNL is held. Any context.
    pub(crate) fn is_running(&self) -> bool {
        let guard = rcu::Guard::new();
        self.netdev
            .get(&guard)
            .is_some_and(|netdev| netdev.is_running())
    }

    /// Counts that `event` has happened `n` times. Any context.
    pub(crate) fn count(&self, event: Event, n: usize) {
        trace::happened(&self.netdev, 0, event, n);
        self.counters.add(event, n);
    }

    /// Whether the rate limit lets a handshake message of `source` be processed. To be asked once
    /// the message has proven its source with a cookie.
    pub(crate) fn allow_handshake(&self, source: &Source, now_ns: u64) -> bool {
        let address = match source {
            Source::V4 { addr, .. } => IpAddr::V4((*addr).into()),
            Source::V6 { addr, .. } => IpAddr::V6((*addr).into()),
        };
        self.limiter.allow(address, self.net_cookie, now_ns)
    }

    /// A device that has no peers yet, in the namespace `net`. It is not on the list of devices.
    ///
    /// All devices share `limiter`, `work_queues` and `memory`. Process context. `ENOMEM` if
    /// there is no memory.
    pub(crate) fn new(
        netdev: Handle,
        net: &Net,
        limiter: Arc<RateLimiter>,
        work_queues: Arc<WorkQueues>,
        memory: Arc<Memory>,
    ) -> Result<Arc<Self>> {
        let rx_queues = rx_queues()?;
        let identity = RcuArc::new(StaticIdentity::none(), GFP_KERNEL)?;
        Arc::pin_init(
            try_pin_init!(Self {
                netdev,
                creating_net <- new_mutex!(Some(WeakNet::from(net)), "wireguard::Device::creating_net"),
                forgetting: Atomic::new(false),
                net_cookie: net.cookie(),
                sockets: Sockets::new(),
                fwmark: Atomic::new(0),
                settings: DeviceSettings::new(),
                identity: RcuPtr::new(Some(identity)),
                cookie_secret: RcuPtr::none(),
                limiter,
                residents: Residents::new()?,
                last_under_load: Atomic::new(0),
                counters: DeviceCounters::new(),
                telling: TellingLimit::new(),
                peers_by_key <- PubkeyTable::new(),
                index_table <- IndexTable::new(),
                allowed_ips <- AllowedIps::new(),
                update <- new_mutex!(Config::new(), "wireguard::Device::update"),
                encrypt_queue: CryptQueue::new()?,
                decrypt_queue: CryptQueue::new()?,
                handshakes: Inbox::new()?,
                rx_queues,
                work_queues,
                memory,
                links <- ListLinks::new(),
                tracker <- AtomicTracker::new(),
            }? Error),
            GFP_KERNEL,
        )
    }
}

/// The queues of the NAPIs, one for each possible CPU.
fn rx_queues() -> Result<KVec<Pin<KBox<RxQueue<Peer>>>>> {
    let count = kernel::cpu::nr_cpu_ids();
    let mut rx_queues = KVec::with_capacity(count as usize, GFP_KERNEL)?;
    for _ in 0..count {
        rx_queues
            .push_within_capacity(KBox::pin_init(RxQueue::new(), GFP_KERNEL)?)
            .map_err(|_| ENOMEM)?;
    }
    Ok(rx_queues)
}
