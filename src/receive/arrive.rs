// SPDX-License-Identifier: GPL-2.0

//! Arriving: a datagram is sorted by the type of its message.

use zerocopy::IntoBytes;

use super::handshake::consume_handshake;
use crate::{
    events::Event,
    linux::{
        bottom_half::BhGuard,
        netdevice::Stat,
        skbuff::SkBuff,
        udp_tunnel::EncapReceive, //
    },
    packet::PacketCb,
    protocol::messages::{
        DataHeader,
        MessageType, //
    },
    state::device::Device, //
};

/// Bytes of a UDP header.
const UDP_HEADER_LEN: usize = 8;

impl EncapReceive for Device {
    fn receive(&self, skb: SkBuff, bh: &BhGuard) {
        receive_packet(self, skb, bh);
    }

    fn may_aggregate(&self) -> bool {
        self.settings.aggregates_rx()
    }
}

/// Sorts a datagram from the socket. Softirq context.
fn receive_packet(device: &Device, mut skb: SkBuff, bh: &BhGuard) {
    match prepare_header(&mut skb) {
        Some((MessageType::Data, header)) => consume_data(device, skb, &header, bh),
        Some((kind, _)) if skb.may_pull(kind.header_len()) => consume_handshake(device, kind, skb),
        _ => {
            device.refused(Event::DatagramMalformed, 1, None);
            skb.discard(Event::DatagramMalformed.drop_reason());
        }
    }
}

/// Leaves a data message to the NAPI of this CPU. The NAPI has its turn when the messages that
/// arrive together with this one are there, too.
fn consume_data(device: &Device, mut skb: SkBuff, header: &DataHeader, bh: &BhGuard) {
    let ds = skb.dsfield();
    *skb.cb() = PacketCb::received(header.counter.get(), header.key_idx.get(), ds);
    let index = device.netdev.napi_index_local(bh);
    let Some(queue) = device.rx_queues.get(index as usize) else {
        return;
    };
    if queue.arrive(skb).is_err() {
        device.stats_add(Stat::RxDropped, 1);
        device.count(Event::ArrivalQueueFull, 1);
    }
    device.netdev.napi_schedule_local(bh);
}

/// Checks a datagram as the UDP layer delivers it and moves its data to the start of the message.
/// Returns the type of the message and its first bytes, which are the header of a data message.
fn prepare_header(skb: &mut SkBuff) -> Option<(MessageType, DataHeader)> {
    skb.ip_header()?;
    let udp_offset = usize::try_from(skb.transport_offset()).ok()?;
    let udp = skb.transport_header().first_chunk::<UDP_HEADER_LEN>()?;
    let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if udp_len < UDP_HEADER_LEN || udp_len > skb.len().checked_sub(udp_offset)? {
        return None;
    }
    let len = udp_len.checked_sub(UDP_HEADER_LEN)?;
    let offset = udp_offset.checked_add(UDP_HEADER_LEN)?;
    skb.trim(offset.checked_add(len)?).ok()?;
    skb.pull(offset).ok()?;
    // No message is shorter than that.
    let header: DataHeader = skb.read()?;
    Some((
        MessageType::classify(*header.as_bytes().first_chunk()?, skb.len())?,
        header,
    ))
}
