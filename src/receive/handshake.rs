// SPDX-License-Identifier: GPL-2.0

//! Receiving handshake messages: they wait in a bounded ring of their device, and workers read
//! them.

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
        random,
        rcu::{
            self,
            RcuArc, //
        },
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
            CookieSecret,
            Source, //
        },
        limits::MAX_QUEUED_INCOMING_HANDSHAKES,
        macs::MessageWithMacs,
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
    /// Whether the device is under load: so many handshake messages wait that their senders have to
    /// show that they receive at their address.
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

    /// Has a worker read a handshake message whose header is in the linear part of `skb`. Softirq
    /// context.
    ///
    /// A message that a stranger makes up without knowing the public key ends here: no worker is
    /// woken for it, and it takes no place in the queue, whose length tells that the device is
    /// under load.
    pub(super) fn consume_handshake(&self, kind: MessageType, skb: SkBuff) {
        if !self.is_addressee(kind, &skb) {
            match (kind, Endpoint::from_skb(&skb)) {
                (_, None) => {}
                (MessageType::HandshakeCookie, Some(endpoint)) => {
                    dev_dbg_ratelimited!(self, "Receiving cookie response from {}\n", endpoint);
                }
                (_, Some(endpoint)) => {
                    dev_dbg_ratelimited!(
                        self,
                        "Invalid MAC of handshake, dropping packet from {}\n",
                        endpoint
                    );
                }
            }
            return;
        }
        // Without random numbers no handshake can be answered.
        let refused = if random::rng_is_initialized() {
            self.handshakes.enqueue(skb, &self.handshake_receive_wq)
        } else {
            Err(skb)
        };
        if let Err(skb) = refused {
            if let Some(endpoint) = Endpoint::from_skb(&skb) {
                dev_dbg_ratelimited!(self, "Dropping handshake packet from {}\n", endpoint);
            }
        }
    }

    /// Whether a handshake message is for this device: its `mac1` is made with the device's public
    /// key, or it is a cookie reply to an index of the device.
    fn is_addressee(&self, kind: MessageType, skb: &SkBuff) -> bool {
        let guard = rcu::Guard::new();
        let head = skb.head();
        let identity = self.identity.load(&guard);
        let keys = identity.as_ref().and_then(|identity| identity.mac_keys());
        match kind {
            MessageType::HandshakeInitiation => keys
                .zip(HandshakeInitiation::ref_from_prefix(head).ok())
                .is_some_and(|(keys, (message, _))| keys.has_valid_mac1(message)),
            MessageType::HandshakeResponse => keys
                .zip(HandshakeResponse::ref_from_prefix(head).ok())
                .is_some_and(|(keys, (message, _))| keys.has_valid_mac1(message)),
            MessageType::HandshakeCookie => {
                CookieReply::ref_from_prefix(head).is_ok_and(|(reply, _)| {
                    let index = reply.receiver_index.get();
                    self.index_table.lookup(index, &guard).is_some()
                })
            }
            MessageType::Data => false,
        }
    }

    /// Whether a handshake message whose `mac1` is right is to be processed.
    ///
    /// Under load the sender must have shown with a cookie that it receives at its address, and
    /// must not exceed the rate limit. A sender without a valid cookie is sent one.
    fn admit<M: MessageWithMacs>(
        &self,
        message: &M,
        sender_index: u32,
        source: &Source,
        endpoint: &Endpoint,
    ) -> bool {
        let now_ns = ktime::coarse_boottime_ns();
        if !self.is_under_load(now_ns) {
            return true;
        }
        let Some(secret) = self.cookie_secret(now_ns) else {
            return false;
        };
        if !secret.has_valid_mac2(message, source) {
            send_handshake_cookie(
                self,
                &secret,
                endpoint,
                source,
                message.macs(),
                sender_index,
            );
            return false;
        }
        let allowed = self.allow_handshake(source, now_ns);
        if !allowed {
            dev_dbg_ratelimited!(
                self,
                "Too many handshakes, dropping packet from {}\n",
                endpoint
            );
        }
        allowed
    }

    /// The secret to make and check cookies with: a new one if there is none or it is too old.
    /// `None` if there is no memory. Process context.
    fn cookie_secret(&self, now_ns: u64) -> Option<RcuArc<CookieSecret>> {
        loop {
            let old = self.cookie_secret.get();
            if let Some(secret) = &old {
                if !secret.has_expired(now_ns) {
                    return old;
                }
            }
            let init = Init::<CookieSecret>::chain(CookieSecret::zeroed(), |secret| {
                secret.randomize(now_ns);
                Ok(())
            });
            let new: RcuArc<CookieSecret> = RcuArc::pin_init(init, GFP_KERNEL).ok()?;
            // If another worker was first, cookies are made with that worker's secret.
            if self.cookie_secret.replace_if(old.as_ref(), new.clone()) {
                return Some(new);
            }
        }
    }
}

/// The outer source of a datagram.
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
            let Some((peer, response)) = Peer::consume_initiation(device, message) else {
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
            peer.send_handshake_response(response);
            peer
        }
        MessageType::HandshakeResponse => {
            let Ok((message, _)) = HandshakeResponse::ref_from_prefix(skb.head()) else {
                return;
            };
            if !device.admit(message, message.sender_index.get(), &source, &endpoint) {
                return;
            }
            let Some((peer, begins)) = Peer::consume_response(device, message, &endpoint) else {
                dev_dbg_ratelimited!(device, "Invalid handshake response from {}\n", endpoint);
                return;
            };
            dev_dbg_ratelimited!(
                device,
                "Receiving handshake response from peer {} ({})\n",
                peer.id,
                endpoint
            );
            if begins {
                peer.timers_session_derived();
                peer.timers_handshake_complete();
                // The first message that is sent confirms the session to the other side.
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
    /// The device that the messages are for, from its registration to its destruction.
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

    /// Makes `device` the one that the messages are for.
    pub(crate) fn attach(&self, device: Arc<Device>) {
        *self.ring.device.lock() = Some(device);
    }

    /// Drops the messages, and lets no worker begin to read. A worker that is reading goes on for
    /// now. Process context.
    pub(crate) fn detach(&self) {
        let device = self.ring.device.lock().take();
        drop(device);
        self.purge();
    }

    /// The number of messages in the ring or being read.
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
        // A ring that is half full is being flooded: drop the message rather than wait for another
        // producer.
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
