// SPDX-License-Identifier: GPL-2.0

//! Delivering: decrypted packets are checked and handed to the network stack, in order.

use core::net::IpAddr;

use kernel::{
    list::{
        List,
        ListArc, //
    },
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
};

use crate::{
    debug::dev_dbg_ratelimited,
    events::Event,
    linux::{
        compat::barrier,
        ip::IPV4_HEADER_LEN,
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
            DropReason,
            SkBuff,
            SkbList, //
        }, //
    },
    packet::PacketCb,
    protocol::messages::message_data_len,
    queueing::RxQueue,
    socket::{
        Endpoint,
        Proof, //
    },
    state::peer::{
        Keypair,
        Peer, //
    },
};

/// Delivers the decrypted packets of the peers on the list of a NAPI, and lets go of the `served`
/// peers as well. Returns how many packets were handled, `done` before included, at most `budget`.
pub(super) fn deliver_listed(
    queue: &RxQueue<Peer>,
    mut served: List<Peer>,
    mut done: usize,
    dev: &NetDevice,
    napi: &NapiContext<'_>,
    budget: usize,
) -> usize {
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
                // list: the device may be about to go, too. Take none of a disabled peer.
                if peer.is_stopped() {
                    continue;
                }
                let count = deliver(peer.as_arc(), &batch.job.keypair, batch.take(), dev, napi);
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
        let_go(queue, &mut served, napi);
    }
}

/// Lets other NAPIs claim the `served` peers. One that has got another batch meanwhile goes on the
/// list of this NAPI again.
fn let_go(queue: &RxQueue<Peer>, served: &mut List<Peer>, napi: &NapiContext<'_>) {
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

/// Counts messages and their bytes in all, for the device and for the peer. Bottom halves are off.
pub(super) fn count_received(dev: &NetDevice, peer: &Peer, messages: usize, bytes: usize) {
    dev.rx_add(messages, bytes);
    peer.rx_bytes.add(bytes as u64, Relaxed);
}

/// Delivers decrypted packets of one keypair, and returns how many there were.
pub(super) fn deliver(
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
            let taken = replay.validate(cb.nonce);
            cb.replayed = (!taken).into();
            cb.newest = (taken && replay.is_highest(cb.nonce)).into();
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
        may_move: false,
        with_data: 0,
        source: None,
        messages: 0,
        bytes: 0,
    };
    while let Some(mut skb) = packets.pop_front() {
        let cb: PacketCb = *skb.cb();
        if cb.replayed != 0 {
            peer.refused(Event::RxReplayed, 1, None);
            dev_dbg_ratelimited!(
                peer.device,
                "Packet has invalid nonce {} (max {})\n",
                cb.nonce,
                keypair.replay().next()
            );
            skb.discard(Event::RxReplayed.drop_reason());
            continue;
        }
        let Some(endpoint) = Endpoint::from_skb(&skb) else {
            skb.discard(DropReason::Protocol);
            continue;
        };
        skb.reset(false);
        delivery.consume_data_done(&endpoint, &cb, skb);
    }
    count_received(dev, peer, delivery.messages, delivery.bytes);
    peer.probe_if_due();
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
    /// Whether the newest of these messages may move the endpoint: nothing was received with a
    /// newer keypair.
    may_move: bool,
    /// How many messages with contents there were, counted up to two.
    with_data: u8,
    /// The last inner source address that was found to be the peer's.
    source: Option<IpAddr>,
    /// Messages to be counted as received, and their bytes.
    messages: usize,
    bytes: usize,
}

impl Delivery<'_> {
    /// Notes an authentic message, which came from `endpoint` with `len` bytes of contents. It
    /// moves the endpoint if it is the newest that the peer has sent.
    fn authentic(&mut self, endpoint: &Endpoint, newest: bool, len: usize) {
        let peer = self.peer;
        let is_first = !core::mem::replace(&mut self.is_authentic, true);
        let (mut complete, mut proof) = (false, None);
        if is_first {
            let begun = peer
                .keypairs
                .received_with(&peer.device.index_table, self.keypair);
            if let Some((order, is_current)) = begun {
                proof = Some(Proof::FirstMessage(order));
                complete = is_current;
            }
            self.may_move = peer.keypairs.is_latest(self.keypair, self.guard);
            if peer.settings.load(self.guard).is_some() {
                peer.endpoint.note_heard(endpoint);
            }
        }
        let newest = newest && self.may_move;
        peer.heard(endpoint, proof, newest, message_data_len(len));
        if !is_first {
            return;
        }
        if complete {
            peer.timers_handshake_complete();
            peer.happened(Event::HandshakeCompleted);
            // Not before the endpoint has moved: they go there.
            peer.send_staged_packets();
        }
        // In time, so that a flow that only comes in is not cut off.
        peer.keep_key_fresh(self.guard, |keypair, now_ns| {
            peer.timers_rekey_after_receiving(
                keypair.i_am_the_initiator(),
                keypair.birthdate(),
                now_ns,
            )
        });
        peer.timers_any_authenticated_packet_received();
        peer.timers_any_authenticated_packet_traversal();
    }

    /// Notes a message that has contents.
    fn data(&mut self) {
        if self.with_data == 0 {
            self.peer.pace.answered();
        }
        // The timer distinguishes between one and several, as if they had come one by one.
        if self.with_data < 2 {
            self.with_data = self.with_data.wrapping_add(1);
            self.peer.timers_data_received();
        }
    }

    /// Counts a message whose contents have `len` bytes.
    fn count(&mut self, len: usize) {
        self.messages = self.messages.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(message_data_len(len));
    }

    fn consume_data_done(&mut self, endpoint: &Endpoint, cb: &PacketCb, mut skb: SkBuff) {
        let peer = self.peer;
        let len = skb.len();
        self.authentic(endpoint, cb.newest != 0, len);

        if len == 0 {
            self.count(len);
            peer.count(Event::KeepaliveReceived, 1);
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

        match self.check_inner(&mut skb, cb.class.ds) {
            Ok(()) => {
                self.napi.gro_receive(skb);
                self.count(len);
            }
            Err(None) => {
                peer.count(Event::NoMemory, 1);
                skb.discard(Event::NoMemory.drop_reason());
            }
            Err(Some(dishonest)) => skb.discard(self.refuse(dishonest, endpoint).drop_reason()),
        }
    }

    /// Counts a packet that is not delivered, and says why. Returns as what it is counted.
    fn refuse(&self, dishonest: Dishonest, endpoint: &Endpoint) -> Event {
        let (peer, dev) = (self.peer, self.dev);
        dev.stats_add(Stat::RxErrors, 1);
        let event = match dishonest {
            Dishonest::Peer(_) => Event::RxWrongSource,
            Dishonest::Size | Dishonest::Type => Event::RxMalformed,
        };
        peer.count(event, 1);
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
        event
    }

    /// Checks the packet inside a data message, cuts off the padding and makes the packet ready for
    /// the stack. The error is `None` if there was no memory.
    fn check_inner(
        &mut self,
        skb: &mut SkBuff,
        ds: u8,
    ) -> core::result::Result<(), Option<Dishonest>> {
        let header = skb.pull_ip_header().ok_or(Some(Dishonest::Type))?;
        let (protocol, source, inner) = (header.protocol(), header.source(), header.dsfield());
        let len = header.packet_len();
        skb.set_protocol(protocol);
        // The tag was right, so nothing was changed on the way: no checksum of any layer has to be
        // checked.
        skb.set_checksum_verified();
        if len < IPV4_HEADER_LEN {
            return Err(Some(Dishonest::Size));
        }
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
