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
//! 7. the spinlocks: of a peer's keypairs, staged packets, endpoint and queues; of a device's rings
//!    and NAPI lists. They do not nest, with two exceptions: the lock of a peer's queue is taken
//!    under that of its staged packets, and `Keypair::replay` and a ring's own locks may be taken
//!    under any of them.
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
        ListArc,
        ListLinks,
        TryNewListArc, //
    },
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
};

use crate::{
    allowedips::AllowedIps,
    debug::dev_dbg,
    linux::{
        bottom_half::BhGuard,
        engine::link::{
            Driver,
            Handle, //
        },
        napi::NapiContext,
        net_namespace::{
            Net,
            WeakNet, //
        },
        netdevice::{
            Features,
            Name,
            NetDevice,
            Setup,
            Stat,
            GSO_MAX_SIZE, //
        },
        rcu::{
            self,
            AtomicDrop,
            RcuArc,
            RcuPtr, //
        },
        sched,
        skbuff::{
            SkBuff,
            SkbList,
            ETH_P_IP,
            ETH_P_IPV6, //
        },
        udp_tunnel::EncapReceive,
        workqueue::{
            Flags,
            OwnedQueue, //
        },
    },
    noise::IndexEntry,
    peer::Peer,
    peerlookup::{
        IndexTable,
        PubkeyTable, //
    },
    protocol::{
        cookie::{
            CookieSecret,
            Source, //
        },
        identity::StaticIdentity,
        messages::{
            noise_encrypted_len,
            MESSAGE_MINIMUM_LENGTH,
            MESSAGE_PADDING_MULTIPLE, //
        },
    },
    queueing::{
        CryptQueue,
        PacketCb,
        RxQueue,
        Staged, //
    },
    ratelimiter::RateLimiter,
    receive::{
        self,
        HandshakeQueue, //
    },
    send::{
        self,
        DATA_PACKET_HEAD_ROOM, //
    },
    socket::{
        Closing,
        Sockets, //
    }, //
};

mod registration;
mod residents;

pub(crate) use registration::Registration;
pub(crate) use residents::{
    Resident,
    Residents, //
};

/// Bytes that encapsulation adds to a packet: IPv6 and UDP header, header and tag of the data
/// message.
const OVERHEAD: u32 = 40 + 8 + MESSAGE_MINIMUM_LENGTH as u32;
/// A packet of up to this many segments is encrypted as one. A packet of more is split first.
const MAX_SEGMENTS: usize = 64;
/// The MTU of Ethernet.
const ETH_DATA_LEN: u32 = 1500;

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
    closing: Option<Closing>,
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
    fn for_each_disowned(&mut self, f: impl Fn(&Arc<Peer>)) {
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
    forgetting: Atomic<bool>,
    /// Cookie of that namespace (`net_gen_cookie`).
    net_cookie: u64,
    /// The UDP sockets, while the device is up.
    pub(crate) sockets: Sockets,
    /// The mark of outgoing datagrams; 0 is none.
    pub(crate) fwmark: Atomic<u32>,

    /// The static keys of the device.
    pub(crate) identity: RcuPtr<StaticIdentity>,
    /// The secret from which cookies are made. `None` until the device first needs it.
    pub(crate) cookie_secret: RcuPtr<CookieSecret>,
    limiter: Arc<RateLimiter>,
    /// Counts the peers, each until the last reference to it is gone.
    pub(crate) residents: Residents,
    /// When the device was last seen under load, `ktime_get_coarse_boottime_ns()`; 0: not lately.
    pub(crate) last_under_load: Atomic<i64>,

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
    pub(crate) encrypt_queue: CryptQueue,
    /// Batches to be decrypted.
    pub(crate) decrypt_queue: CryptQueue,
    /// Handshake messages to be read.
    pub(crate) handshakes: HandshakeQueue,
    /// The queues of the NAPIs, one for each possible CPU.
    pub(crate) rx_queues: KVec<Pin<KBox<RxQueue>>>,
    /// Runs the workers of the crypt queues, and [`Peer::TX_WORK`].
    pub(crate) packet_crypt_wq: OwnedQueue,
    /// Runs [`Peer::TRANSMIT_WORK`], in softirq context. All devices share it.
    pub(crate) transmit_wq: Arc<OwnedQueue>,
    /// Runs the workers that read handshake messages.
    pub(crate) handshake_receive_wq: OwnedQueue,
    /// Runs [`Peer::HANDSHAKE_WORK`] and [`Peer::CLEAR_WORK`].
    pub(crate) handshake_send_wq: OwnedQueue,

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

    /// Whether the rate limit lets a handshake message of `source` be processed. To be asked once
    /// the message has proven its source with a cookie.
    pub(crate) fn allow_handshake(&self, source: &Source, now_ns: u64) -> bool {
        let address = match source {
            Source::V4 { addr, .. } => IpAddr::V4((*addr).into()),
            Source::V6 { addr, .. } => IpAddr::V6((*addr).into()),
        };
        self.limiter.allow(address, self.net_cookie, now_ns)
    }

    fn create(netdev: Handle, name: &Name, net: &Net) -> Result<Arc<Self>> {
        let shared = registration::devices().ok_or(ENODEV)?;
        let count = kernel::cpu::nr_cpu_ids();
        let mut rx_queues = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            rx_queues
                .push_within_capacity(KBox::pin_init(RxQueue::new(), GFP_KERNEL)?)
                .map_err(|_| ENOMEM)?;
        }
        let identity = RcuArc::new(StaticIdentity::none(), GFP_KERNEL)?;
        let handshake_receive_wq = OwnedQueue::new(
            fmt!("wg-kex-{}", name),
            Flags::CPU_INTENSIVE | Flags::FREEZABLE | Flags::PERCPU,
            0,
        )?;
        let handshake_send_wq = OwnedQueue::new(
            fmt!("wg-kex-{}", name),
            Flags::UNBOUND | Flags::FREEZABLE,
            0,
        )?;
        // One work item at a time on a CPU: more would only take the CPU from one another.
        let packet_crypt_wq = OwnedQueue::new(
            fmt!("wg-crypt-{}", name),
            Flags::CPU_INTENSIVE | Flags::MEM_RECLAIM | Flags::PERCPU,
            1,
        )?;
        Arc::pin_init(
            try_pin_init!(Self {
                netdev,
                creating_net <- new_mutex!(Some(WeakNet::from(net)), "wireguard::Device::creating_net"),
                forgetting: Atomic::new(false),
                net_cookie: net.cookie(),
                sockets: Sockets::new(),
                fwmark: Atomic::new(0),
                identity: RcuPtr::new(Some(identity)),
                cookie_secret: RcuPtr::none(),
                limiter: shared.limiter.clone(),
                residents: Residents::new()?,
                last_under_load: Atomic::new(0),
                peers_by_key <- PubkeyTable::new(),
                index_table <- IndexTable::new(),
                allowed_ips <- AllowedIps::new(),
                update <- new_mutex!(Config::new(), "wireguard::Device::update"),
                encrypt_queue: CryptQueue::new(send::encrypt)?,
                decrypt_queue: CryptQueue::new(receive::decrypt)?,
                handshakes: HandshakeQueue::new()?,
                rx_queues,
                packet_crypt_wq,
                transmit_wq: shared.transmit_wq.clone(),
                handshake_receive_wq,
                handshake_send_wq,
                links <- ListLinks::new(),
                tracker <- AtomicTracker::new(),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Opens the sockets on `port`, or on a free port if it is 0, and closes the old ones.
    ///
    /// Process context; it sleeps. On error the old sockets stay: `ENONET` if the creating
    /// namespace has gone, `EADDRINUSE` if the port is taken, or another error of creating a
    /// socket.
    pub(crate) fn open_sockets(self: &Arc<Self>, config: &mut Config, port: u16) -> Result {
        let net = self
            .creating_net
            .lock()
            .as_ref()
            .and_then(WeakNet::upgrade)
            .ok_or(ENONET)?;
        config.incoming_port = self.sockets.open(&net, port, self.clone(), &self.name())?;
        Ok(())
    }

    /// Unpublishes the sockets, because the creating namespace is going away.
    /// [`Device::finish_forgetting`] closes them.
    fn forget_creating_net(&self) {
        dev_dbg!(self, "Creating namespace exiting\n");
        {
            let guard = rcu::Guard::new();
            if let Some(dev) = self.netdev.get(&guard) {
                dev.carrier_off();
            }
        }
        let mut config = self.update.lock();
        *self.creating_net.lock() = None;
        config.closing = self.sockets.unpublish();
        self.forgetting.store(true, Relaxed);
        for peer in config.peers() {
            peer.endpoint.clear_src();
        }
    }

    /// Closes the sockets that [`Device::forget_creating_net`] has unpublished, after a grace
    /// period.
    fn finish_forgetting(&self) {
        if self.forgetting.xchg(false, Relaxed) {
            self.update.lock().closing = None;
        }
    }

    /// Drops the packets that no NAPI has delivered.
    fn purge_rx_queues(&self) {
        for queue in &self.rx_queues {
            queue.purge();
        }
    }
}

impl EncapReceive for Device {
    fn receive(&self, skb: SkBuff, bh: &BhGuard) {
        self.receive_packet(skb, bh);
    }

    fn may_aggregate(&self) -> bool {
        crate::AGGREGATE_RX.get()
    }
}

impl Driver for Device {
    const KIND: &'static CStr = c"wireguard";
    const NO_NEIGHBOURS: bool = true;

    fn setup(dev: &mut Setup<'_>) {
        const MAX_MTU: u32 = (i32::MAX as u32 & !(MESSAGE_PADDING_MULTIPLE - 1)) - OVERHEAD;

        dev.no_link_layer();
        dev.needed_room(
            DATA_PACKET_HEAD_ROOM as u16,
            noise_encrypted_len(MESSAGE_PADDING_MULTIPLE as usize) as u16,
        );
        dev.mtu(ETH_DATA_LEN - OVERHEAD, MAX_MTU);
        dev.features(
            Features::HW_CSUM
                | Features::RXCSUM
                | Features::SG
                | Features::GSO
                | Features::GSO_SOFTWARE
                | Features::HIGHDMA,
        );
        dev.tso_max_size(GSO_MAX_SIZE);
        dev.no_queue();
        dev.lltx();
        dev.keep_dst();
    }

    fn new(handle: Handle, name: &Name, net: &Net) -> Result<Arc<Self>> {
        Device::create(handle, name, net)
    }

    fn registered(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        this.handshakes.attach(this.into());
        if let (Some(shared), Some(device)) =
            (registration::devices(), ListArc::try_from_arc_borrow(this))
        {
            shared.list.lock().push_back(device);
        }
        dev_dbg!(this, "Interface created\n");
    }

    fn open(this: ArcBorrow<'_, Self>, _dev: &NetDevice) -> Result {
        let device: Arc<Self> = this.into();
        let mut config = device.update.lock();
        let port = config.incoming_port;
        device.open_sockets(&mut config, port)?;
        for peer in config.peers() {
            peer.send_staged_packets();
            if peer.persistent_keepalive_interval() != 0 {
                peer.send_keepalive();
            }
            sched::cond_resched();
        }
        Ok(())
    }

    fn closing(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        config.closing = this.sockets.unpublish();
    }

    fn stop(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        // A grace period has passed since `closing()`: the sockets close without another one.
        config.closing = None;
        for queue in &this.rx_queues {
            drop(queue.take_arrived());
        }
        this.handshakes.purge();
        for peer in config.peers() {
            peer.stop();
            sched::cond_resched();
        }
    }

    fn unregistering(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        *this.creating_net.lock() = None;
        config.incoming_port = 0;
        // The device is down: it does not matter which prefixes a late reader still finds.
        drop(this.allowed_ips.write().clear());
        config.for_each_disowned(|peer| {
            peer.disappear();
            sched::cond_resched();
        });
    }

    fn start_xmit(this: ArcBorrow<'_, Self>, dev: &NetDevice, skb: SkBuff) -> Result {
        xmit(&this, dev, skb).inspect_err(|_| dev.stats_add(Stat::TxErrors, 1))
    }

    fn poll(
        this: ArcBorrow<'_, Self>,
        dev: &NetDevice,
        cpu: u32,
        napi: &NapiContext<'_>,
        budget: usize,
    ) -> usize {
        receive::poll(&this, dev, cpu, napi, budget)
    }

    fn destroy(this: Arc<Self>, _dev: &NetDevice) {
        if let Some(shared) = registration::devices() {
            let mut list = shared.list.lock();
            let mut cursor = list.cursor_front();
            while let Some(next) = cursor.peek_next() {
                if core::ptr::eq(&*next.arc(), &*this) {
                    next.remove();
                    break;
                }
                cursor.move_next();
            }
        }
        {
            // A grace period has passed since `Peer::disappear()`.
            let mut config = this.update.lock();
            while let Some(peer) = config.take_first_peer() {
                peer.finish();
                sched::cond_resched();
            }
        }
        // Nothing begins any more, and no NAPI runs. Work that is under way is flushed in this
        // order: handshakes, then packets. Decrypted packets are dropped last, as no NAPI takes
        // them.
        this.handshakes.detach();
        this.handshake_receive_wq.flush();
        this.handshake_send_wq.flush();
        this.packet_crypt_wq.flush();
        this.transmit_wq.flush();
        this.purge_rx_queues();
        // Each peer goes with the last reference to it, and gives up its reference to the device.
        // In most cases all have gone already: RCU has had their keys and handles since the device
        // began to be unregistered.
        this.residents.wait();
        dev_dbg!(this, "Interface destroyed\n");
    }
}

/// Transmits a packet from inside the tunnel. Bottom halves are off and the caller is in an RCU
/// read-side critical section.
fn xmit(device: &Device, dev: &NetDevice, mut skb: SkBuff) -> Result {
    let guard = rcu::Guard::new();
    let protocol = skb.protocol();
    if skb.ip_version_protocol() != Some(protocol) {
        crate::debug::dev_dbg_ratelimited!(device, "Invalid IP packet\n");
        return Err(EPROTONOSUPPORT);
    }
    let Some(destination) = destination_of(&skb) else {
        return Err(EPROTONOSUPPORT);
    };
    let Some(peer) = device.allowed_ips.lookup(destination, &guard) else {
        crate::debug::dev_dbg_ratelimited!(
            device,
            "No peer has allowed IPs matching {}\n",
            ::core::format_args!("{destination}")
        );
        dev.icmp_unreachable(&mut skb);
        return Err(ENOKEY);
    };
    let peer = peer.get_ref();
    if !peer.endpoint.is_set() {
        crate::debug::dev_dbg_ratelimited!(
            device,
            "No valid endpoint has been configured or discovered for peer {}\n",
            peer.id
        );
        dev.icmp_unreachable(&mut skb);
        return Err(EDESTADDRREQ);
    }

    let mtu = skb.dst_mtu().unwrap_or_else(|| dev.mtu());
    let segments = skb.tcp_gso().map_or(1, |gso| gso.count());
    let (mut packets, more) = if (2..=MAX_SEGMENTS).contains(&segments) {
        let mut whole = SkbList::new();
        whole.push_back(skb);
        (whole, segments.wrapping_sub(1))
    } else {
        match skb.gso_segment(dev) {
            Ok(packets) => (packets, 0),
            Err((e, mut skb)) => {
                dev.icmp_unreachable(&mut skb);
                return Err(e);
            }
        }
    };
    let mut staged = Staged::new();
    while let Some(mut skb) = packets.pop_front() {
        // The route was kept for ICMP errors. None is sent from here on.
        skb.dst_drop();
        // The outer header shows the congestion bits of the inner one, not its DSCP.
        let ds = send::ecn_encapsulate(skb.dsfield());
        let cb: &mut PacketCb = skb.cb();
        *cb = PacketCb::default();
        cb.mtu = mtu;
        cb.ds = ds;
        cb.more = more as u16;
        staged.push_back(skb);
    }
    peer.stage(staged);
    peer.send_staged_packets();
    Ok(())
}

/// The inner destination address of a packet.
fn destination_of(skb: &SkBuff) -> Option<IpAddr> {
    let header = skb.network_header();
    match skb.protocol() {
        ETH_P_IP => Some(IpAddr::V4(
            (*header.get(16..20)?.first_chunk::<4>()?).into(),
        )),
        ETH_P_IPV6 => Some(IpAddr::V6(
            (*header.get(24..40)?.first_chunk::<16>()?).into(),
        )),
        _ => None,
    }
}
