// SPDX-License-Identifier: GPL-2.0

//! The way out begins here: a packet finds its peer.

use kernel::prelude::*;

use crate::{
    class::{
        Class,
        Copied, //
    },
    debug::dev_dbg_ratelimited,
    events::Event,
    linux::{
        compat::code::{
            ENOKEY,
            EPROTONOSUPPORT, //
        },
        ip::Header,
        netdevice::NetDevice,
        rcu,
        skbuff::{
            DropReason,
            SkBuff,
            SkbList, //
        }, //
    },
    packet::{
        PacketCb,
        Staged, //
    },
    state::device::Device,
    tuning::MAX_SEGMENTS, //
};

/// Transmits a packet from inside the tunnel. Bottom halves are off and the caller is in an RCU
/// read-side critical section.
pub(super) fn transmit(device: &Device, dev: &NetDevice, mut skb: SkBuff) -> Result {
    let guard = rcu::Guard::new();
    let Some(destination) = skb.ip_header().map(Header::destination) else {
        device.count(Event::TxNotIp, 1);
        dev_dbg_ratelimited!(device, "Invalid IP packet\n");
        skb.discard(Event::TxNotIp.drop_reason());
        return Err(EPROTONOSUPPORT);
    };
    let Some(peer) = device.allowed_ips.lookup(destination, &guard) else {
        device.count(Event::TxNoPeer, 1);
        dev_dbg_ratelimited!(
            device,
            "No peer has allowed IPs matching {}\n",
            ::core::format_args!("{destination}")
        );
        dev.icmp_unreachable(&mut skb);
        skb.discard(Event::TxNoPeer.drop_reason());
        return Err(ENOKEY);
    };
    let peer = peer.get_ref();
    if !peer.endpoint.is_set() {
        let (event, error) = peer.refusal();
        peer.count(event, 1);
        if event == Event::NoEndpoint {
            dev_dbg_ratelimited!(
                device,
                "No valid endpoint has been configured or discovered for peer {}\n",
                peer.id
            );
        }
        dev.icmp_unreachable(&mut skb);
        skb.discard(event.drop_reason());
        return Err(error);
    }

    let staged = prepare(skb, dev, device.settings.copied())
        .inspect_err(|_| peer.count(Event::NoMemory, 1))?;
    peer.stage_and_send(staged);
    Ok(())
}

/// Splits a packet unless its segments are to stay together, and notes for each packet what is
/// needed from here on.
fn prepare(skb: SkBuff, dev: &NetDevice, copied: Option<Copied>) -> Result<Staged> {
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
                skb.discard(DropReason::no_room(&e, DropReason::Segments));
                return Err(e);
            }
        }
    };
    let mut staged = Staged::new();
    while let Some(mut skb) = packets.pop_front() {
        // The route was kept for ICMP errors. None is sent from here on.
        skb.dst_drop();
        // As a rule, the outer header shows the congestion bits of the inner one, not its DSCP.
        let inner = skb.dsfield();
        let mut class = Class::of(ecn_encapsulate(inner));
        if let Some(copied) = copied {
            class.copy_from(copied, inner, skb.network_header());
        }
        let cb: &mut PacketCb = skb.cb();
        *cb = PacketCb::default();
        cb.mtu = mtu;
        cb.class = class;
        cb.more = more as u16;
        staged.push_back(skb);
    }
    Ok(staged)
}

/// The congestion bits for the outer header, given the TOS or traffic class of the inner one: the
/// full-functionality option of RFC 3168, section 9.1.1.
fn ecn_encapsulate(inner: u8) -> u8 {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match inner & 3 {
        CE => ECT_0,
        ecn => ecn,
    }
}
