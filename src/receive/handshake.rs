// SPDX-License-Identifier: GPL-2.0

//! Receiving handshake messages: they wait in a bounded ring of their device, and workers read them.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};
use zerocopy::FromBytes;

use super::count_received;
use crate::{
    debug::dev_dbg_ratelimited,
    device::Device,
    linux::{
        bottom_half,
        ktime,
        ptr_ring::PtrRing,
        rcu,
        sched,
        skbuff::{
            SkBuff,
            ETH_P_IP,
            ETH_P_IPV6, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        workqueue::OwnedQueue, //
    },
    peer::Peer,
    protocol::{
        cookie::{
            MacState,
            MessageWithMacs,
            Source, //
        },
        limits::MAX_QUEUED_INCOMING_HANDSHAKES,
        messages::{
            CookieReply,
            HandshakeInitiation,
            HandshakeResponse,
            MessageType, //
        },
        timers::is_still_under_load, //
    },
    queueing::Workers,
    send::send_handshake_cookie,
    socket::Endpoint, //
};

impl Device {
    /// Whether there are so many handshake messages that their senders have to show that they receive at their address.
    fn is_under_load(&self, now_ns: u64) -> bool {
        if self.handshakes.len() >= MAX_QUEUED_INCOMING_HANDSHAKES / 8 {
            self.last_under_load.store(now_ns as i64, Relaxed);
            return true;
        }
        match self.last_under_load.load(Relaxed) {
            0 => false,
            last => {
                let still = is_still_under_load(last as u64, now_ns);
                if !still {
                    self.last_under_load.store(0, Relaxed);
                }
                still
            }
        }
    }

    /// Whether a handshake message is to be processed: its MACs are right and its sender has not sent too many.
    ///
    /// A sender that only has to show that it receives at its address is sent a cookie.
    fn admit<M: MessageWithMacs>(
        &self,
        message: &M,
        sender_index: u32,
        source: &Source,
        endpoint: &Endpoint,
    ) -> bool {
        let now_ns = ktime::coarse_boottime_ns();
        let under_load = self.is_under_load(now_ns);
        let state = {
            let mut checker = self.cookie_checker.lock();
            if under_load {
                checker.rotate(now_ns);
            }
            checker.validate(message, source, under_load, now_ns)
        };
        match state {
            MacState::ValidMacButNoCookie if !under_load => true,
            MacState::ValidMacButNoCookie => {
                send_handshake_cookie(self, endpoint, source, message.macs(), sender_index);
                false
            }
            MacState::ValidMacWithCookie if self.allow_handshake(source, now_ns) => true,
            MacState::ValidMacWithCookie | MacState::Invalid => {
                dev_dbg_ratelimited!(
                    self,
                    "Invalid MAC of handshake, dropping packet from {}\n",
                    endpoint
                );
                false
            }
        }
    }
}

/// Where a datagram came from.
fn source_of(skb: &SkBuff) -> Option<Source> {
    let port = *skb.transport_header().first_chunk::<2>()?;
    let ip = skb.network_header();
    match skb.protocol() {
        ETH_P_IP => Some(Source::V4 {
            addr: *ip.get(12..16)?.first_chunk()?,
            port,
        }),
        ETH_P_IPV6 => Some(Source::V6 {
            addr: *ip.get(8..24)?.first_chunk()?,
            port,
        }),
        _ => None,
    }
}

/// Reads a handshake message. Process context.
fn receive_handshake_packet(device: &Device, skb: SkBuff) {
    let len = skb.len();
    let (Some(source), Some(endpoint)) = (source_of(&skb), Endpoint::from_skb(&skb)) else {
        return;
    };
    let Some(kind) = skb
        .read_head()
        .and_then(|header| MessageType::classify(header, len))
    else {
        return;
    };
    let peer = match kind {
        MessageType::HandshakeCookie => {
            dev_dbg_ratelimited!(device, "Receiving cookie response from {}\n", endpoint);
            if let Some(reply) = skb.read_head::<CookieReply>() {
                consume_cookie(device, &reply);
            }
            skb.consume();
            return;
        }
        MessageType::HandshakeInitiation => {
            let Ok((message, _)) = HandshakeInitiation::ref_from_prefix(skb.head()) else {
                return;
            };
            if !device.admit(message, message.sender_index.get(), &source, &endpoint) {
                return;
            }
            let Some(peer) = Peer::consume_initiation(device, message) else {
                dev_dbg_ratelimited!(device, "Invalid handshake initiation from {}\n", endpoint);
                return;
            };
            peer.endpoint.set(&endpoint);
            dev_dbg_ratelimited!(
                device,
                "Receiving handshake initiation from peer {} ({})\n",
                peer.id,
                endpoint
            );
            peer.send_handshake_response();
            peer
        }
        MessageType::HandshakeResponse => {
            let Ok((message, _)) = HandshakeResponse::ref_from_prefix(skb.head()) else {
                return;
            };
            if !device.admit(message, message.sender_index.get(), &source, &endpoint) {
                return;
            }
            let Some(peer) = Peer::consume_response(device, message) else {
                dev_dbg_ratelimited!(device, "Invalid handshake response from {}\n", endpoint);
                return;
            };
            peer.endpoint.set(&endpoint);
            dev_dbg_ratelimited!(
                device,
                "Receiving handshake response from peer {} ({})\n",
                peer.id,
                endpoint
            );
            if peer.begin_session() {
                peer.timers_session_derived();
                peer.timers_handshake_complete();
                // Whatever is sent first confirms the session to the other side.
                peer.send_keepalive();
            }
            peer
        }
        MessageType::Data => return,
    };
    {
        let _bh = bottom_half::disable();
        let guard = rcu::Guard::new();
        if let Some(dev) = device.netdev.get(&guard) {
            count_received(dev, &peer, 1, len);
        }
    }
    peer.timers_any_authenticated_packet_received();
    peer.timers_any_authenticated_packet_traversal();
    skb.consume();
}

fn consume_cookie(device: &Device, reply: &CookieReply) {
    let peer = {
        let guard = rcu::Guard::new();
        device
            .index_table
            .lookup(reply.receiver_index.get(), &guard)
            .map(|entry| entry.peer.clone())
    };
    if let Some(peer) = peer {
        let now_ns = ktime::coarse_boottime_ns();
        let mut cookie = peer.cookie.lock();
        if cookie.is_expected() && !cookie.consume_reply(reply, now_ns) {
            dev_dbg_ratelimited!(device, "Could not decrypt invalid cookie response\n");
        }
    }
}

/// Handshake messages that wait to be read.
pub(crate) struct HandshakeQueue {
    ring: Arc<HandshakeRing>,
    workers: Workers<HandshakeWorker>,
}

#[pin_data]
struct HandshakeRing {
    #[pin]
    ring: PtrRing<SkBuff>,
    /// Messages in the ring or being read.
    len: Atomic<i32>,
    /// Whose messages these are, from registration to destruction of the device.
    #[pin]
    device: SpinLockBh<Option<Arc<Device>>>,
}

#[pin_data]
struct HandshakeWorker {
    ring: Arc<HandshakeRing>,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for HandshakeWorker { self.work }
}

impl WorkItem for HandshakeWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let Some(device) = this.ring.device.lock().clone() else {
            return;
        };
        while let Some(skb) = this.ring.ring.consume() {
            receive_handshake_packet(&device, skb);
            this.ring.len.add(-1, Relaxed);
            sched::cond_resched();
        }
    }
}

impl HandshakeQueue {
    /// An empty queue. Process context.
    pub(crate) fn new() -> Result<Self> {
        let ring = Arc::pin_init(
            try_pin_init!(HandshakeRing {
                ring <- PtrRing::new(MAX_QUEUED_INCOMING_HANDSHAKES as usize),
                len: Atomic::new(0),
                device <- new_spinlock_bh!(None, "wireguard::HandshakeRing::device"),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let ring = ring.clone();
            Arc::pin_init(
                pin_init!(HandshakeWorker {
                    ring,
                    work <- new_work!("wireguard::HandshakeWorker"),
                }),
                GFP_KERNEL,
            )
        })?;
        Ok(Self { ring, workers })
    }

    /// From now on the messages are for `device`.
    pub(crate) fn attach(&self, device: Arc<Device>) {
        *self.ring.device.lock() = Some(device);
    }

    /// No message is read any more. Process context; a worker that is reading goes on for now.
    pub(crate) fn detach(&self) {
        let device = self.ring.device.lock().take();
        drop(device);
        self.purge();
    }

    /// How many messages there are.
    fn len(&self) -> u32 {
        // A worker may have read a message before it was counted.
        u32::try_from(self.ring.len.load(Relaxed)).unwrap_or(0)
    }

    /// Drops the messages.
    pub(crate) fn purge(&self) {
        while self.ring.ring.consume().is_some() {
            self.ring.len.add(-1, Relaxed);
        }
    }

    /// Adds a message, or gives it back if there is no room. Softirq context.
    pub(crate) fn enqueue(&self, skb: SkBuff, wq: &OwnedQueue) -> core::result::Result<(), SkBuff> {
        // With the ring half full there are better things to do than to wait for others who flood it, too.
        if self.len() > MAX_QUEUED_INCOMING_HANDSHAKES / 2 {
            self.ring.ring.try_produce(skb)?;
        } else {
            self.ring.ring.produce(skb)?;
        }
        self.ring.len.add(1, Relaxed);
        self.workers.wake(wq);
        Ok(())
    }
}
