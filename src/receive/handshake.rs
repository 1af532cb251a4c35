// SPDX-License-Identifier: GPL-2.0

//! Receiving handshake messages: they wait in the [`Inbox`](crate::queueing::Inbox) of their
//! device, and workers read them.

use core::net::IpAddr;

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
};
use zerocopy::FromBytes;

use super::deliver::count_received;
use crate::{
    debug::dev_dbg_ratelimited,
    events::Event,
    linux::{
        bottom_half,
        ktime,
        random,
        rcu::{
            self,
            RcuArc, //
        },
        skbuff::{
            DropReason,
            SkBuff, //
        }, //
    },
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
    queueing::Reader,
    send::send_handshake_cookie,
    socket::Endpoint,
    state::{
        device::Device,
        peer::Peer, //
    },
    trace, //
};

/// Whether the device is under load: so many handshake messages wait that their senders have to
/// show that they receive at their address.
///
/// Each device is under load by itself, unlike in the C module. A flooded device asks for cookies,
/// which already bounds what the flood can cost the processors. A round with a cookie takes 5 s,
/// and the peers of other devices need not pay for that flood. The owner of a container may even
/// flood a device of that container on purpose.
fn is_under_load(device: &Device, now_ns: u64) -> bool {
    if device.handshakes.len() >= MAX_QUEUED_INCOMING_HANDSHAKES / 8 {
        device.last_under_load.store(now_ns as i64, Relaxed);
        return true;
    }
    match device.last_under_load.load(Relaxed) {
        0 => false,
        last => {
            let still = is_still_under_load(last as u64, now_ns);
            if !still {
                device.last_under_load.store(0, Relaxed);
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
pub(super) fn consume_handshake(device: &Device, kind: MessageType, skb: SkBuff) {
    trace::received(&device.netdev, kind, || Endpoint::from_skb(&skb));
    if !is_addressee(device, kind, &skb) {
        device.refused(not_addressed(kind), 1, Endpoint::from_skb(&skb).as_ref());
        match (kind, Endpoint::from_skb(&skb)) {
            (_, None) => {}
            (MessageType::HandshakeCookie, Some(endpoint)) => {
                dev_dbg_ratelimited!(device, "Receiving cookie response from {}\n", endpoint);
            }
            (_, Some(endpoint)) => {
                dev_dbg_ratelimited!(
                    device,
                    "Invalid MAC of handshake, dropping packet from {}\n",
                    endpoint
                );
            }
        }
        skb.discard(not_addressed(kind).drop_reason());
        return;
    }
    // Without random numbers no handshake can be answered.
    let refused = if random::rng_is_initialized() {
        device
            .handshakes
            .enqueue(skb, &device.work_queues.handshake_receive)
    } else {
        Err(skb)
    };
    if let Err(skb) = refused {
        device.refused(Event::HandshakeQueueFull, 1, None);
        if let Some(endpoint) = Endpoint::from_skb(&skb) {
            dev_dbg_ratelimited!(device, "Dropping handshake packet from {}\n", endpoint);
        }
        skb.discard(Event::HandshakeQueueFull.drop_reason());
    }
}

/// Why a handshake message is not for this device.
fn not_addressed(kind: MessageType) -> Event {
    match kind {
        MessageType::HandshakeCookie => Event::ResponseUnknown,
        _ => Event::WrongMac1,
    }
}

/// Whether a handshake message is for this device: its `mac1` is made with the device's public
/// key, or it is a cookie reply to an index of the device.
fn is_addressee(device: &Device, kind: MessageType, skb: &SkBuff) -> bool {
    let guard = rcu::Guard::new();
    let head = skb.head();
    let identity = device.identity.load(&guard);
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
                device.index_table.lookup(index, &guard).is_some()
            })
        }
        MessageType::Data => false,
    }
}

/// The handshake message in `skb`, whose `mac1` is right, if it is to be processed. Otherwise the
/// reason to drop it.
///
/// Under load the sender must have shown with a cookie that it receives at its address, and
/// must not exceed the rate limit. A sender without a valid cookie is sent one.
fn admit<'a, M: MessageWithMacs>(
    device: &Device,
    skb: &'a SkBuff,
    source: &Source,
    endpoint: &Endpoint,
) -> core::result::Result<&'a M, DropReason> {
    let (message, _) = M::ref_from_prefix(skb.head()).map_err(|_| DropReason::Protocol)?;
    let now_ns = ktime::coarse_boottime_ns();
    if !is_under_load(device, now_ns) {
        return Ok(message);
    }
    let secret = cookie_secret(device, now_ns).ok_or(DropReason::NoMemory)?;
    if !secret.has_valid_mac2(message, source) {
        send_handshake_cookie(
            device,
            &secret,
            endpoint,
            source,
            message.macs(),
            message.sender_index(),
        );
        device.refused(Event::CookieSent, 1, Some(endpoint));
        return Err(Event::CookieSent.drop_reason());
    }
    let allowed = device.allow_handshake(source, now_ns);
    if !allowed {
        device.refused(Event::RateLimited, 1, Some(endpoint));
        dev_dbg_ratelimited!(
            device,
            "Too many handshakes, dropping packet from {}\n",
            endpoint
        );
    }
    allowed
        .then_some(message)
        .ok_or(Event::RateLimited.drop_reason())
}

/// The secret to make and check cookies with: a new one if there is none or it is too old.
/// `None` if there is no memory. Process context.
fn cookie_secret(device: &Device, now_ns: u64) -> Option<RcuArc<CookieSecret>> {
    loop {
        let old = device.cookie_secret.get();
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
        if device.cookie_secret.replace_if(old.as_ref(), new.clone()) {
            return Some(new);
        }
    }
}

/// The outer source of a datagram.
fn source_of(skb: &SkBuff) -> Option<Source> {
    let port = *skb.transport_header().first_chunk::<2>()?;
    Some(match skb.ip_header()?.source() {
        IpAddr::V4(addr) => Source::V4 {
            addr: addr.octets(),
            port,
        },
        IpAddr::V6(addr) => Source::V6 {
            addr: addr.octets(),
            port,
        },
    })
}

impl Reader for Device {
    fn read(&self, message: SkBuff) {
        receive_handshake_packet(self, message);
    }
}

/// Reads a handshake message. Process context.
fn receive_handshake_packet(device: &Device, skb: SkBuff) {
    let len = skb.len();
    let (Some(source), Some(endpoint), Some(kind)) = (
        source_of(&skb),
        Endpoint::from_skb(&skb),
        skb.read_head()
            .and_then(|header| MessageType::classify(header, len)),
    ) else {
        skb.discard(DropReason::Protocol);
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
        MessageType::HandshakeInitiation => receive_initiation(device, &skb, &source, &endpoint),
        MessageType::HandshakeResponse => receive_response(device, &skb, &source, &endpoint),
        MessageType::Data => Err(DropReason::Protocol),
    };
    let peer = match peer {
        Ok(peer) => peer,
        Err(reason) => {
            skb.discard(reason);
            return;
        }
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

/// Reads an initiation, and answers it. Returns the peer that sent it, or the reason to drop it.
fn receive_initiation(
    device: &Device,
    skb: &SkBuff,
    source: &Source,
    endpoint: &Endpoint,
) -> core::result::Result<Arc<Peer>, DropReason> {
    let message = admit::<HandshakeInitiation>(device, skb, source, endpoint)?;
    let Some((peer, response)) = Peer::consume_initiation(device, message, endpoint) else {
        dev_dbg_ratelimited!(device, "Invalid handshake initiation from {}\n", endpoint);
        return Err(DropReason::DriverHeader);
    };
    dev_dbg_ratelimited!(
        device,
        "Receiving handshake initiation from peer {} ({})\n",
        peer.id,
        endpoint
    );
    peer.send_handshake_response(response, endpoint);
    Ok(peer)
}

/// Reads a response, and begins the session. Returns the peer that sent it, or the reason to drop
/// it.
fn receive_response(
    device: &Device,
    skb: &SkBuff,
    source: &Source,
    endpoint: &Endpoint,
) -> core::result::Result<Arc<Peer>, DropReason> {
    let message = admit::<HandshakeResponse>(device, skb, source, endpoint)?;
    let Some((peer, begins)) = Peer::consume_response(device, message, endpoint) else {
        dev_dbg_ratelimited!(device, "Invalid handshake response from {}\n", endpoint);
        return Err(DropReason::DriverHeader);
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
        peer.happened(Event::HandshakeCompleted);
        // The first message that is sent confirms the session to the other side.
        peer.send_keepalive();
    }
    Ok(peer)
}

fn consume_cookie(device: &Device, reply: &CookieReply) {
    let peer = {
        let guard = rcu::Guard::new();
        device
            .index_table
            .lookup(reply.receiver_index.get(), &guard)
            .map(|entry| entry.peer.clone())
    };
    let Some(peer) = peer else {
        return;
    };
    let now_ns = ktime::coarse_boottime_ns();
    {
        let mut cookie = peer.cookie.lock();
        if !cookie.is_expected() {
            return;
        }
        if !cookie.consume_reply(reply, now_ns) {
            dev_dbg_ratelimited!(device, "Could not decrypt invalid cookie response\n");
            return;
        }
    }
    peer.count(Event::CookieReceived, 1);
    peer.cookie_received(reply.receiver_index.get());
    peer.probe_if_due();
}
