// SPDX-License-Identifier: GPL-2.0

//! Receiving.
//!
//! A packet's way through this file, from the UDP socket:
//!
//! 1. [`Device::receive_packet`]: a datagram is sorted by the type of the message. Handshake
//!    messages go to a [queue of their own](HandshakeQueue).
//! 2. [`Device::consume_data`]: a data message waits for the NAPI of the CPU, and for the messages
//!    right behind it.
//! 3. [`Device::sort`]: consecutive messages of one keypair become a batch.
//! 4. [`decrypt`]: the batch is decrypted, inline if there is little to do, otherwise by a worker.
//! 5. [`poll`]: the batches of a peer are delivered in order, by one of the device's NAPIs. A batch
//!    that was decrypted inline, with nothing before it, is delivered inline, too.

use core::net::IpAddr;

use crate::{
    debug::{
        dev_dbg_ratelimited, //
    },
    device::Device,
    linux::{
        bottom_half::{
            self,
            BhGuard, //
        },
        ktime,
        napi::NapiContext,
        netdevice::{
            NetDevice,
            Stat, //
        },
        rcu::{
            self,
            RcuArc, //
        },
        skbuff::{
            SkBuff,
            SkbList,
            ETH_P_IP,
            ETH_P_IPV6, //
        },
    },
    noise::Keypair,
    peer::Peer,
    protocol::messages::{
        message_data_len,
        DataHeader,
        MessageType, //
    },
    queueing::{
        Batch,
        PacketCb,
        Staged, //
    },
    socket::Endpoint, //
};
use kernel::{
    list::{
        List,
        ListArc, //
    },
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        barrier,
        Arc, //
    },
};
use zerocopy::IntoBytes;

mod handshake;

pub(crate) use handshake::HandshakeQueue;

/// Up to this many messages that arrive together are decrypted inline.
const MAX_DECRYPTED_INLINE: usize = 2;
/// A batch of up to this many bytes is decrypted inline, whatever else has arrived: handing it to a
/// worker costs more than decrypting it, as was measured with single datagrams of 64 bytes from
/// 1,000 peers in turn.
const MAX_BYTES_INLINE: usize = 512;
/// Most messages of a batch, so that other CPUs have something to do, too.
const MAX_BATCH: usize = 64;
/// Bytes of a UDP header.
const UDP_HEADER_LEN: usize = 8;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER_LEN: usize = 20;
/// Bytes of an IPv6 header.
const IPV6_HEADER_LEN: usize = 40;

/// Checks a datagram as the UDP layer delivers it and moves its data to the start of the message.
/// Returns the type of the message and its first bytes, which are the header of a data message.
fn prepare_header(skb: &mut SkBuff) -> Option<(MessageType, DataHeader)> {
    if skb.ip_version_protocol() != Some(skb.protocol()) {
        return None;
    }
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

impl Device {
    /// Sorts a datagram from the socket. Softirq context.
    pub(crate) fn receive_packet(&self, mut skb: SkBuff, bh: &BhGuard) {
        match prepare_header(&mut skb) {
            Some((MessageType::Data, header)) => self.consume_data(skb, &header, bh),
            Some((kind, _)) if skb.may_pull(kind.header_len()) => self.consume_handshake(kind, skb),
            _ => {}
        }
    }

    /// Leaves a data message to the NAPI of this CPU. The NAPI has its turn when the messages that
    /// arrive together with this one are there, too.
    fn consume_data(&self, mut skb: SkBuff, header: &DataHeader, bh: &BhGuard) {
        let ds = skb.dsfield();
        *skb.cb() = PacketCb::received(header.counter.get(), header.key_idx.get(), ds);
        let index = self.netdev.napi_index_local(bh);
        let Some(queue) = self.rx_queues.get(index as usize) else {
            return;
        };
        if queue.arrive(skb).is_err() {
            self.stats_add(Stat::RxDropped, 1);
        }
        self.netdev.napi_schedule_local(bh);
    }

    /// Makes batches of data messages that arrived together, one of each row that belongs to one
    /// keypair. Returns how many packets were handled inline. Their peers are added to `served`,
    /// for the caller to release. Softirq context.
    fn sort(
        &self,
        mut arrived: SkbList,
        dev: &NetDevice,
        napi: &NapiContext<'_>,
        served: &mut List<Peer>,
    ) -> usize {
        let mut done: usize = 0;
        // A few messages are decrypted inline. More are worth the help of other CPUs.
        let few = arrived.len() <= MAX_DECRYPTED_INLINE;
        let guard = rcu::Guard::new();
        while let Some(mut first) = arrived.pop_front() {
            let receiver = first.cb::<PacketCb>().receiver;
            let mut bytes = first.len();
            let mut packets = Staged::new();
            packets.push_back(first);
            while packets.messages() < MAX_BATCH
                && arrived
                    .front_mut()
                    .is_some_and(|mut next| next.cb::<PacketCb>().receiver == receiver)
            {
                if let Some(next) = arrived.pop_front() {
                    bytes = bytes.wrapping_add(next.len());
                    packets.push_back(next);
                }
            }
            let Some(entry) = self.index_table.lookup(receiver, &guard) else {
                continue;
            };
            let peer = &entry.peer;
            let Some(keypair) = entry
                .keypair
                .load(&guard)
                .and_then(|keypair| keypair.try_get())
            else {
                continue;
            };
            if peer.is_dead() {
                continue;
            }
            let inline = few || bytes <= MAX_BYTES_INLINE;
            if inline {
                if let Some(claimed) = claim_idle(peer) {
                    let packets = decrypt_packets(&keypair, packets.into_packets());
                    done = done.saturating_add(deliver(peer, &keypair, packets, dev, napi));
                    served.push_back(claimed);
                    continue;
                }
            }
            // If there is no memory or no room the packets are dropped, as on any full queue of a
            // router.
            let _ = Batch::new(keypair, packets).and_then(|batch| {
                if inline {
                    decrypt(&*peer.rx_queue.append(batch)?);
                    return Ok(());
                }
                self.decrypt_queue
                    .enqueue(&peer.rx_queue, batch, &self.packet_crypt_wq)
            });
        }
        done
    }
}

/// Counts messages and their bytes in all, for the device and for the peer. Bottom halves are off.
fn count_received(dev: &NetDevice, peer: &Peer, messages: usize, bytes: usize) {
    dev.rx_add(messages, bytes);
    peer.rx_bytes.add(bytes as u64, Relaxed);
}

/// Decrypts a batch and lets a NAPI deliver it. Process or softirq context.
pub(crate) fn decrypt(batch: &Batch) {
    let keypair = &batch.keypair;
    batch.finish(decrypt_packets(keypair, batch.take()));
    schedule(&keypair.peer);
}

/// Decrypts data messages, and returns those that are authentic.
fn decrypt_packets(keypair: &Keypair, mut packets: SkbList) -> SkbList {
    let mut decrypted = SkbList::new();
    if keypair.may_receive(ktime::coarse_boottime_ns()) {
        while let Some(mut skb) = packets.pop_front() {
            let cb: &mut PacketCb = skb.cb();
            let nonce = cb.nonce;
            if let Ok(skb) = skb.open(size_of::<DataHeader>(), nonce, keypair.receiving_key()) {
                decrypted.push_back(skb);
            }
        }
    }
    decrypted
}

/// Claims a peer of which nothing is on its way: until the claim is dropped no NAPI takes the peer,
/// and the caller may deliver inline.
fn claim_idle(peer: &Arc<Peer>) -> Option<ListArc<Peer>> {
    if !peer.rx_queue.is_empty() {
        return None;
    }
    // A NAPI that has taken a batch from the queue keeps its claim until the batch is delivered.
    ListArc::try_from_arc_or_drop(peer.clone())
}

/// Puts a peer on the list of this CPU's NAPI, unless it is on one already.
fn schedule(peer: &Arc<Peer>) {
    // Pairs with smp_mb() in poll(): either the NAPI that has just released the peer sees that the
    // batch is done, or the claim succeeds here.
    barrier::smp_mb(barrier::Full);
    let Some(claimed) = ListArc::try_from_arc_or_drop(peer.clone()) else {
        return;
    };
    let device = &peer.device;
    let bh = bottom_half::disable();
    let index = device.netdev.napi_index_local(&bh);
    if let Some(queue) = device.rx_queues.get(index as usize) {
        queue.peers.lock().push_back(claimed);
        device.netdev.napi_schedule_local(&bh);
    }
}

/// Sorts the messages that have arrived, and delivers the decrypted packets of the peers on the
/// list of the NAPI `cpu`. Returns how many packets were handled, at most `budget`. Softirq
/// context.
pub(crate) fn poll(
    device: &Device,
    dev: &NetDevice,
    cpu: u32,
    napi: &NapiContext<'_>,
    budget: usize,
) -> usize {
    let Some(queue) = device.rx_queues.get(cpu as usize) else {
        return 0;
    };
    let mut served = List::new();
    let mut done = device.sort(queue.take_arrived(), dev, napi, &mut served);
    loop {
        while done < budget {
            let Some(peer) = queue.peers.lock().pop_front() else {
                break;
            };
            while done < budget {
                let Some(batch) = peer.rx_queue.pop_done() else {
                    break;
                };
                // Drop the packets of a peer that is being removed, so that the peer leaves the
                // list: the device may be about to go, too.
                if peer.is_dead() {
                    continue;
                }
                let count = deliver(peer.as_arc(), &batch.keypair, batch.take(), dev, napi);
                done = done.saturating_add(count);
            }
            if done >= budget {
                queue.peers.lock().push_back(peer);
            } else {
                served.push_back(peer);
            }
        }
        if served.is_empty() {
            return done.min(budget);
        }
        // Other NAPIs may claim these peers from here on. Their packets must not overtake those
        // that this NAPI still keeps.
        napi.gro_flush();
        while let Some(peer) = served.pop_front() {
            let peer = peer.into_arc();
            // Pairs with smp_mb() in schedule(): finds a batch that was decrypted after the last
            // look, and whose worker still saw the peer claimed.
            barrier::smp_mb(barrier::Full);
            if peer.rx_queue.is_first_done() {
                if let Some(claimed) = ListArc::try_from_arc_or_drop(peer) {
                    queue.peers.lock().push_back(claimed);
                }
            }
        }
    }
}

/// Delivers decrypted packets of one keypair, and returns how many there were.
fn deliver(
    peer: &Arc<Peer>,
    keypair: &RcuArc<Keypair>,
    mut packets: SkbList,
    dev: &NetDevice,
    napi: &NapiContext<'_>,
) -> usize {
    let count = packets.len();
    let guard = rcu::Guard::new();
    {
        let mut replay = keypair.replay();
        for mut skb in packets.iter_mut() {
            let cb: &mut PacketCb = skb.cb();
            cb.replayed = (!replay.validate(cb.nonce)).into();
        }
        if replay.is_exhausted() {
            keypair.expire_receiving();
        }
    }
    let mut delivery = Delivery {
        peer,
        keypair,
        dev,
        napi,
        guard: &guard,
        is_authentic: false,
        has_data: false,
        source: None,
        messages: 0,
        bytes: 0,
    };
    while let Some(mut skb) = packets.pop_front() {
        let cb: PacketCb = *skb.cb();
        if cb.replayed != 0 {
            dev_dbg_ratelimited!(
                peer.device,
                "Packet has invalid nonce {} (max {})\n",
                cb.nonce,
                keypair.replay().next()
            );
            continue;
        }
        let Some(endpoint) = Endpoint::from_skb(&skb) else {
            continue;
        };
        skb.reset(false);
        delivery.consume_data_done(&endpoint, cb.ds, skb);
    }
    count_received(dev, peer, delivery.messages, delivery.bytes);
    // Messages of which none is authentic are work, too.
    count.max(1)
}

/// Why an authentic packet is not delivered.
enum Dishonest {
    /// Its length is impossible: less than a header, or more than there is.
    Size,
    /// It is not IP.
    Type,
    /// Its source address is not the peer's.
    Peer(IpAddr),
}

/// The delivery of a batch. Work that every message would repeat is done for the first one alone.
struct Delivery<'a> {
    peer: &'a Arc<Peer>,
    keypair: &'a RcuArc<Keypair>,
    dev: &'a NetDevice,
    napi: &'a NapiContext<'a>,
    guard: &'a rcu::Guard,
    /// Set once there was an authentic message.
    is_authentic: bool,
    /// Set once there was a message with contents.
    has_data: bool,
    /// The last inner source address that was found to be the peer's.
    source: Option<IpAddr>,
    /// Messages to be counted as received, and their bytes.
    messages: usize,
    bytes: usize,
}

impl Delivery<'_> {
    /// Notes an authentic message.
    fn authentic(&mut self) {
        if core::mem::replace(&mut self.is_authentic, true) {
            return;
        }
        let peer = self.peer;
        if peer.keypairs.received_with(&peer.device, self.keypair) {
            peer.timers_handshake_complete();
            peer.send_staged_packets();
        }
        keep_key_fresh(peer, self.guard);
        peer.timers_any_authenticated_packet_received();
        peer.timers_any_authenticated_packet_traversal();
    }

    /// Notes a message that has contents.
    fn data(&mut self) {
        if !core::mem::replace(&mut self.has_data, true) {
            self.peer.timers_data_received();
            self.peer.pace.answered();
        }
    }

    /// Counts a message whose contents have `len` bytes.
    fn count(&mut self, len: usize) {
        self.messages = self.messages.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(message_data_len(len));
    }

    fn consume_data_done(&mut self, endpoint: &Endpoint, ds: u8, mut skb: SkBuff) {
        let (peer, dev) = (self.peer, self.dev);
        peer.endpoint.set(endpoint);
        self.authentic();

        let len = skb.len();
        if len == 0 {
            self.count(len);
            dev_dbg_ratelimited!(
                peer.device,
                "Receiving keepalive packet from peer {} ({})\n",
                peer.id,
                endpoint
            );
            skb.consume();
            return;
        }
        self.data();

        match self.check_inner(&mut skb, ds) {
            Ok(()) => {
                self.napi.gro_receive(skb);
                self.count(len);
            }
            // There was no memory.
            Err(None) => {}
            Err(Some(dishonest)) => {
                dev.stats_add(Stat::RxErrors, 1);
                match dishonest {
                    Dishonest::Size => {
                        dev_dbg_ratelimited!(
                            peer.device,
                            "Packet has incorrect size from peer {} ({})\n",
                            peer.id,
                            endpoint
                        );
                        dev.stats_add(Stat::RxLengthErrors, 1);
                    }
                    Dishonest::Type => {
                        dev_dbg_ratelimited!(
                            peer.device,
                            "Packet is neither ipv4 nor ipv6 from peer {} ({})\n",
                            peer.id,
                            endpoint
                        );
                        dev.stats_add(Stat::RxFrameErrors, 1);
                    }
                    Dishonest::Peer(source) => {
                        dev_dbg_ratelimited!(
                            peer.device,
                            "Packet has unallowed src IP ({}) from peer {} ({})\n",
                            ::core::format_args!("{source}"),
                            peer.id,
                            endpoint
                        );
                        dev.stats_add(Stat::RxFrameErrors, 1);
                    }
                }
            }
        }
    }

    /// Checks the packet inside a data message, cuts off the padding and makes the packet ready for
    /// the stack. The error is `None` if there was no memory.
    fn check_inner(
        &mut self,
        skb: &mut SkBuff,
        ds: u8,
    ) -> core::result::Result<(), Option<Dishonest>> {
        if !skb.may_pull(IPV4_HEADER_LEN) {
            return Err(Some(Dishonest::Type));
        }
        let version = skb.head().first().map_or(0, |byte| byte >> 4);
        if version != 4 && !(version == 6 && skb.may_pull(IPV6_HEADER_LEN)) {
            return Err(Some(Dishonest::Type));
        }
        // The tag was right, so nothing was changed on the way: no checksum of any layer has to be
        // checked.
        skb.set_checksum_verified();

        let (len, source) = if version == 4 {
            skb.set_protocol(ETH_P_IP);
            let header = skb
                .head()
                .first_chunk::<IPV4_HEADER_LEN>()
                .ok_or(Some(Dishonest::Type))?;
            let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
            if len < IPV4_HEADER_LEN {
                return Err(Some(Dishonest::Size));
            }
            (
                len,
                IpAddr::V4([header[12], header[13], header[14], header[15]].into()),
            )
        } else {
            skb.set_protocol(ETH_P_IPV6);
            let header = skb
                .head()
                .first_chunk::<IPV6_HEADER_LEN>()
                .ok_or(Some(Dishonest::Type))?;
            let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let source = header
                .get(8..24)
                .and_then(|source| source.first_chunk::<16>())
                .ok_or(Some(Dishonest::Type))?;
            (
                len.saturating_add(IPV6_HEADER_LEN),
                IpAddr::V6((*source).into()),
            )
        };
        let inner = skb.dsfield();
        skb.ecn_decapsulate(ds, inner);
        if len > skb.len() {
            return Err(Some(Dishonest::Size));
        }
        skb.trim(len).map_err(|_| None)?;

        if self.source != Some(source) {
            let owner = self.peer.device.allowed_ips.lookup(source, self.guard);
            if !owner.is_some_and(|owner| Arc::ptr_eq(&owner, self.peer)) {
                return Err(Some(Dishonest::Peer(source)));
            }
            self.source = Some(source);
        }
        Ok(())
    }
}

/// Asks for a handshake while there is still time, so that a flow that only comes in is not cut
/// off.
fn keep_key_fresh(peer: &Arc<Peer>, guard: &rcu::Guard) {
    let rekey = peer.keypairs.current().load(guard).is_some_and(|keypair| {
        keypair.is_sending_valid()
            && peer.timers_rekey_after_receiving(
                keypair.i_am_the_initiator(),
                keypair.birthdate(),
                ktime::coarse_boottime_ns(),
            )
    });
    if rekey {
        peer.send_queued_handshake_initiation(false);
    }
}
