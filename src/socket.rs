// SPDX-License-Identifier: GPL-2.0

//! The outside of the tunnel: the device's UDP sockets, the far ends they talk to, and sending.
//!
//! A sender holds the lock of the [`PeerEndpoint`] while it looks up a route, not while datagrams
//! walk the IP stack. The route is looked up once for all datagrams that are sent together.

use kernel::{
    fmt::{
        self,
        Display, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    }, //
};

use crate::{
    debug::{
        dev_dbg,
        dev_dbg_ratelimited, //
    },
    device::Device,
    linux::{
        bottom_half::{
            self,
            BhGuard, //
        },
        dst_cache::DstCache,
        ip::ipv6_mod_enabled,
        net_namespace::Net,
        netdevice::{
            NetDevice,
            Stat, //
        },
        rcu,
        rcu_box::{
            RcuBox,
            Taken, //
        },
        route::{
            Flow4,
            Flow6,
            Route4,
            Route6, //
        },
        skbuff::{
            SkBuff,
            SkbList,
            NET_SKB_PAD, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        udp_tunnel::{
            LiveSocket,
            Outer,
            UdpTunnelSocket, //
        },
    },
    peer::Peer,
    queueing::PacketCb,
    send::is_keepalive, //
};

mod endpoint;

pub(crate) use endpoint::Endpoint;

/// Bytes in front of a message for the outer IP and UDP headers, and for the networking core.
pub(crate) const SKB_HEADER_LEN: usize = 40 + 8 + NET_SKB_PAD;
/// How often another free port is tried when the port of the IPv4 socket is taken for IPv6: as
/// often as the C module does.
const MAX_PORT_RETRIES: u32 = 100;

/// The outer address of a peer, and the routes to it.
///
/// The lock is taken in process and softirq context; below it are only locks of the routing core.
#[pin_data]
pub(crate) struct PeerEndpoint {
    #[pin]
    inner: SpinLockBh<Inner>,
    /// The endpoint as it is now or lately was, to be read without the lock: see
    /// [`Endpoint::words`].
    published: [Atomic<u64>; Endpoint::WORDS],
}

struct Inner {
    endpoint: Option<Endpoint>,
    cache: DstCache,
    device: Arc<Device>,
    peer_id: u64,
}

impl Drop for Inner {
    /// Logs that a peer is gone, and where it was.
    fn drop(&mut self) {
        dev_dbg!(
            self.device,
            "Peer {} ({}) destroyed\n",
            self.peer_id,
            Shown(self.endpoint)
        );
    }
}

impl PeerEndpoint {
    /// An endpoint that is not known yet, of the peer with the number `peer_id`. Process context.
    pub(crate) fn new(device: Arc<Device>, peer_id: u64) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let inner = Inner {
                endpoint: None,
                cache: DstCache::new()?,
                device,
                peer_id,
            };
            Ok(try_pin_init!(Self {
                inner <- new_spinlock_bh!(inner, "wireguard::PeerEndpoint::inner"),
                published: [const { Atomic::new(0) }; Endpoint::WORDS],
            }? Error))
        })
    }

    /// Whether the endpoint is known.
    pub(crate) fn is_set(&self) -> bool {
        // The first word holds the family, which is not 0.
        self.published
            .first()
            .is_some_and(|word| word.load(Relaxed) != 0)
    }

    /// The endpoint, if it is known.
    pub(crate) fn get(&self) -> Option<Endpoint> {
        self.inner.lock().endpoint
    }

    /// The endpoint for log messages. It is read here, not where the message is put together: that
    /// is done with interrupts off.
    pub(crate) fn shown(&self) -> impl Display {
        Shown(self.get())
    }

    /// Sets the endpoint, if it differs from the present one.
    ///
    /// It seldom differs, so the two are compared without the lock. If another CPU is just changing
    /// the endpoint, either change may come first: it does not matter which.
    pub(crate) fn set(&self, endpoint: &Endpoint) {
        let words = endpoint.words();
        if self
            .published
            .iter()
            .zip(&words)
            .all(|(published, word)| published.load(Relaxed) == *word)
        {
            return;
        }
        let mut inner = self.inner.lock();
        inner.endpoint = Some(*endpoint);
        inner.cache.reset();
        self.publish(endpoint);
    }

    /// Forgets the sticky source address, and the routes that go with it.
    pub(crate) fn clear_src(&self) {
        let mut inner = self.inner.lock();
        let Inner {
            endpoint, cache, ..
        } = &mut *inner;
        cache.reset_now();
        if let Some(endpoint) = endpoint {
            endpoint.clear_src();
            self.publish(endpoint);
        }
    }

    /// To be called with the lock held.
    fn publish(&self, endpoint: &Endpoint) {
        for (published, word) in self.published.iter().zip(endpoint.words()) {
            published.store(word, Relaxed);
        }
    }

    /// Looks up the route to the endpoint.
    fn path(&self, sender: &Sender<'_>) -> Result<Path> {
        let mut inner = self.inner.lock();
        let Inner {
            endpoint, cache, ..
        } = &mut *inner;
        let endpoint = endpoint.as_mut().ok_or(EAFNOSUPPORT)?;
        let before = endpoint.words();
        let path = sender.path(endpoint, Some(cache));
        if endpoint.words() != before {
            self.publish(endpoint);
        }
        let endpoint = *endpoint;
        drop(inner);
        path.inspect_err(|error| sender.no_route(&endpoint, error))
    }
}

/// See [`PeerEndpoint::shown`].
struct Shown(Option<Endpoint>);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(endpoint) => endpoint.fmt(f),
            None => f.write_str("(einval)"),
        }
    }
}

/// The route to an endpoint, and the addresses to use with it.
enum Path {
    V4 {
        route: Route4,
        saddr: [u8; 4],
        daddr: [u8; 4],
        dport: u16,
    },
    V6 {
        route: Route6,
        saddr: [u8; 16],
        daddr: [u8; 16],
        dport: u16,
    },
}

/// The two sockets of a device that is up.
struct Pair {
    v4: UdpTunnelSocket<Device>,
    /// `None` if the kernel was booted without IPv6.
    v6: Option<UdpTunnelSocket<Device>>,
}

/// Sockets that are unpublished and receive nothing more. Dropping the value closes them. Process
/// context; it sleeps for a grace period, if none has passed since they were unpublished.
pub(crate) struct Closing(Option<Taken<Pair>>);

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(pair) = self.0.take() {
            KBox::into_inner(pair.wait()).release();
        }
    }
}

impl Pair {
    /// Closes both, waiting once. Process context.
    fn release(self) {
        let Self { v4, v6 } = self;
        let v4 = v4.release();
        let v6 = v6.map(UdpTunnelSocket::release);
        drop((v4, v6));
    }
}

/// The sockets of a device, if it is up and the namespace that it was created in is still there.
///
/// Open sockets refer to their device: it is not freed before they are closed.
pub(crate) struct Sockets {
    pair: RcuBox<Pair>,
}

impl Sockets {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            pair: RcuBox::new(),
        }
    }

    /// Opens both sockets in `net` on `port`, or on a free port if it is 0, and closes the old
    /// ones.
    ///
    /// Datagrams go to `receiver`, whose name for messages is `name`. Returns the port. Process
    /// context; it sleeps. On error the old sockets stay: `EADDRINUSE` if the port is taken, or
    /// another error of creating a socket.
    pub(crate) fn open(
        &self,
        net: &Net,
        port: u16,
        receiver: Arc<Device>,
        name: &impl Display,
    ) -> Result<u16> {
        let mut retries: u32 = 0;
        let pair = loop {
            let v4 = UdpTunnelSocket::new_ip4(net, port, receiver.clone()).inspect_err(|_| {
                pr_err!("{}: Could not create IPv4 socket\n", name);
            })?;
            if !ipv6_mod_enabled() {
                break Pair { v4, v6: None };
            }
            match UdpTunnelSocket::new_ip6(net, v4.port(), receiver.clone()) {
                Ok(v6) => break Pair { v4, v6: Some(v6) },
                Err(error) if error == EADDRINUSE && port == 0 && retries < MAX_PORT_RETRIES => {
                    retries = retries.wrapping_add(1);
                }
                Err(error) => {
                    pr_err!("{}: Could not create IPv6 socket\n", name);
                    return Err(error);
                }
            }
        };
        let port = pair.v4.port();
        drop(self.exchange(Some(KBox::new(pair, GFP_KERNEL)?)));
        Ok(port)
    }

    /// Takes out the sockets, if they are open. From the return on they begin neither to send nor
    /// to receive. Datagrams under way in either direction are done with a grace period later.
    /// Process context.
    pub(crate) fn unpublish(&self) -> Option<Closing> {
        self.exchange(None)
    }

    fn exchange(&self, pair: Option<KBox<Pair>>) -> Option<Closing> {
        let old = self.pair.exchange(pair)?;
        // Now, so that one grace period serves senders and receivers.
        old.v4.deafen();
        if let Some(v6) = &old.v6 {
            v6.deafen();
        }
        Some(Closing(Some(old)))
    }
}

impl Peer {
    /// Sends messages with data to the peer, in order, each with the congestion bits that its
    /// control block says.
    ///
    /// Any context but hard interrupts. Messages that cannot be sent are dropped. `ip -s link`
    /// shows those that the networking core dropped and those to a removed peer, but not those to a
    /// peer without a route.
    pub(crate) fn send_packets(self: &Arc<Self>, mut packets: SkbList) {
        // Errors are in the log already.
        let _ = self.device.with_sender(|sender| {
            if self.is_dead() {
                while let Some(skb) = packets.pop_front() {
                    sender.dev.stats_add(Stat::TxDropped, skb.segments());
                }
                return Err(ENOENT);
            }
            let path = self.endpoint.path(sender)?;
            // Before they leave: the answer stops the timer, and may be here before this returns.
            if packets.iter_mut().any(|skb| !is_keepalive(skb.len())) {
                self.timers_data_sent();
            }
            while let Some(mut skb) = packets.pop_front() {
                let (len, ds) = (skb.len(), skb.cb::<PacketCb>().ds);
                if sender.xmit(&path, skb, ds).is_ok() {
                    self.tx_bytes.add(len as u64, Relaxed);
                }
            }
            Ok(())
        });
    }

    /// Sends a handshake message to the peer, with TOS byte or traffic class `ds`.
    ///
    /// Any context but hard interrupts. A loss is not reported.
    pub(crate) fn send_buffer(&self, message: &[u8], ds: u8) {
        // Errors are in the log already.
        let _ = self.device.with_sender(|sender| {
            if self.is_dead() {
                return Err(ENOENT);
            }
            let skb = skb_from_bytes(message)?;
            sender.xmit(&self.endpoint.path(sender)?, skb, ds)?;
            self.tx_bytes.add(message.len() as u64, Relaxed);
            Ok(())
        });
    }
}

impl Device {
    /// Sends a message to the endpoint that another one came from. As [`Peer::send_buffer`].
    pub(crate) fn send_buffer_as_reply(&self, endpoint: &Endpoint, message: &[u8]) {
        let mut endpoint = *endpoint;
        let _ = self.with_sender(|sender| {
            let skb = skb_from_bytes(message)?;
            let path = sender
                .path(&mut endpoint, None)
                .inspect_err(|error| sender.no_route(&endpoint, error))?;
            sender.xmit(&path, skb, 0)
        });
    }

    /// Runs `f` with the means to send, in an RCU read-side critical section. If `f` finds that a
    /// peer is not [dead](Peer::is_dead), its sending is over before the removal of the peer is.
    fn with_sender<T>(&self, f: impl FnOnce(&Sender<'_>) -> Result<T>) -> Result<T> {
        let rcu = rcu::Guard::new();
        let bh = bottom_half::disable();
        let dev = self.netdev.get(&rcu).ok_or(ENODEV)?;
        let pair = self.sockets.pair.load(&rcu);
        f(&Sender {
            device: self,
            dev,
            fwmark: self.fwmark.load(Relaxed),
            v4: pair.and_then(|pair| pair.v4.live(&rcu, &bh)),
            v6: pair.and_then(|pair| pair.v6.as_ref()?.live(&rcu, &bh)),
            rcu: &rcu,
            bh: &bh,
        })
    }
}

/// An skb with the bytes of `message`, and room for the outer headers in front.
fn skb_from_bytes(message: &[u8]) -> Result<SkBuff> {
    let mut skb = SkBuff::alloc(SKB_HEADER_LEN, message.len())?;
    skb.set_inner_network_header();
    skb.put(message)?;
    Ok(skb)
}

/// The means to send, for the time of an RCU read-side critical section with bottom halves off.
struct Sender<'a> {
    device: &'a Device,
    dev: &'a NetDevice,
    fwmark: u32,
    v4: Option<LiveSocket<'a>>,
    v6: Option<LiveSocket<'a>>,
    rcu: &'a rcu::Guard,
    bh: &'a BhGuard,
}

impl Sender<'_> {
    /// Looks up the route to `endpoint`, and clears its sticky source if that will not do.
    fn path(&self, endpoint: &mut Endpoint, cache: Option<&DstCache>) -> Result<Path> {
        match endpoint {
            Endpoint::V4 {
                addr,
                port,
                src,
                src_if,
                ..
            } => {
                let (route, saddr, daddr) = self.path4((*addr, *port), src, src_if, cache)?;
                Ok(Path::V4 {
                    route,
                    saddr,
                    daddr,
                    dport: *port,
                })
            }
            Endpoint::V6 {
                addr,
                port,
                scope_id,
                src,
                ..
            } => {
                let (route, saddr) = self.path6((*addr, *port), *scope_id, src, cache)?;
                Ok(Path::V6 {
                    route,
                    saddr,
                    daddr: *addr,
                    dport: *port,
                })
            }
        }
    }

    /// Returns a route, and the source and the destination address to use with it.
    fn path4(
        &self,
        to: ([u8; 4], u16),
        src: &mut [u8; 4],
        src_if: &mut i32,
        cache: Option<&DstCache>,
    ) -> Result<(Route4, [u8; 4], [u8; 4])> {
        let socket = self.v4.ok_or(ENONET)?;
        if let Some((route, saddr)) = cache.and_then(|cache| cache.get(self.bh)) {
            return Ok((route, saddr, to.0));
        }
        let mut flow = Flow4::new(self.fwmark, 0, (*src, socket.port()), to);
        let mut want_if = *src_if;
        let mut clear_src = |flow: &mut Flow4| {
            *src = [0; 4];
            *src_if = 0;
            flow.set_saddr([0; 4]);
            if let Some(cache) = cache {
                cache.reset();
            }
            0
        };
        socket.classify(&mut flow);
        // The sticky source is not an address of ours any more.
        if !socket.has_saddr(&flow) {
            want_if = clear_src(&mut flow);
        }
        let mut route = socket.route(&mut flow);
        // Datagrams must leave by the interface that the peer's datagrams came in by.
        let elsewhere = match &route {
            Ok(route) => route.ifindex(self.rcu) != want_if,
            Err(error) => *error == EINVAL,
        };
        if want_if != 0 && elsewhere {
            clear_src(&mut flow);
            route = socket.route(&mut flow);
        }
        let route = route?;
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr(), flow.daddr()))
    }

    /// Returns a route, and the source address to use with it.
    fn path6(
        &self,
        to: ([u8; 16], u16),
        scope_id: u32,
        src: &mut [u8; 16],
        cache: Option<&DstCache>,
    ) -> Result<(Route6, [u8; 16])> {
        let socket = self.v6.ok_or(ENONET)?;
        if let Some(found) = cache.and_then(|cache| cache.get(self.bh)) {
            return Ok(found);
        }
        let mut flow = Flow6::new(self.fwmark, scope_id, (*src, socket.port()), to);
        socket.classify(&mut flow);
        // The sticky source is not an address of ours any more.
        if *src != [0; 16] && !socket.has_saddr(&flow) {
            *src = [0; 16];
            flow.set_saddr([0; 16]);
            if let Some(cache) = cache {
                cache.reset();
            }
        }
        let route = socket.route(&mut flow)?;
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr()))
    }

    fn xmit(&self, path: &Path, skb: SkBuff, ds: u8) -> Result {
        match path {
            Path::V4 {
                route,
                saddr,
                daddr,
                dport,
            } => self.v4.ok_or(ENONET)?.xmit(
                route,
                skb,
                &Outer {
                    dev: self.dev,
                    mark: self.fwmark,
                    ds,
                    saddr: *saddr,
                    daddr: *daddr,
                    dport: *dport,
                },
            ),
            Path::V6 {
                route,
                saddr,
                daddr,
                dport,
            } => self.v6.ok_or(ENONET)?.xmit(
                route,
                skb,
                &Outer {
                    dev: self.dev,
                    mark: self.fwmark,
                    ds,
                    saddr: *saddr,
                    daddr: *daddr,
                    dport: *dport,
                },
            ),
        }
    }

    /// Logs why there is no route to `endpoint`. Without a socket, `ENONET`, nothing is logged.
    fn no_route(&self, endpoint: &Endpoint, error: &Error) {
        if *error != ENONET {
            dev_dbg_ratelimited!(
                self.device,
                "No route to {}, error {}\n",
                endpoint,
                error.to_errno()
            );
        }
    }
}
