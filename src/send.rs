// SPDX-License-Identifier: GPL-2.0

//! Sending.
//!
//! A packet's way through this file, from the device's transmit function:
//!
//! 1. [`Peer::stage`]: it waits with the peer, with what else there is.
//! 2. [`Peer::send_staged_packets`]: all of it gets counters and becomes one batch, or goes on waiting while a handshake is
//!    asked for.
//! 3. [`encrypt`]: a worker encrypts the batch.
//! 4. [`Peer::transmit`]: the batches of a peer go to the socket in order.

use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};
use zerocopy::IntoBytes;

use crate::{
    debug::dev_dbg_ratelimited,
    device::Device,
    linux::{
        ktime,
        netdevice::Stat,
        rcu,
        sched,
        skbuff::{
            SkBuff,
            SkbList, //
        }, //
    },
    noise::Keypair,
    peer::Peer,
    protocol::{
        cookie::Source,
        limits::MAX_STAGED_PACKETS,
        messages::{
            message_data_len,
            padding,
            DataHeader,
            Macs,
            HANDSHAKE_DSCP,
            MESSAGE_MINIMUM_LENGTH, //
        },
        timers::rekey_after_sending, //
    },
    queueing::{
        Batch,
        PacketCb, //
    },
    socket::{
        Endpoint,
        SKB_HEADER_LEN, //
    },
};

/// Bytes in front of a packet for all headers that encapsulation puts there.
pub(crate) const DATA_PACKET_HEAD_ROOM: usize =
    (size_of::<DataHeader>() + SKB_HEADER_LEN).next_multiple_of(4);

impl Peer {
    /// Puts packets from inside the tunnel to those that wait.
    ///
    /// There is a bound on how many; the oldest make place.
    pub(crate) fn stage(&self, packets: SkbList) {
        let mut dropped: usize = 0;
        {
            let mut staged = self.staged.lock();
            // Before the new ones are added, so that none of a packet that was segmented is lost at once.
            while staged.len() > MAX_STAGED_PACKETS as usize {
                drop(staged.pop_front());
                dropped = dropped.wrapping_add(1);
            }
            staged.append(packets);
        }
        if dropped != 0 {
            self.device.stats_add(Stat::TxDropped, dropped);
        }
    }

    /// Sends the packets that wait, if there is a key; asks for a handshake otherwise.
    pub(crate) fn send_staged_packets(self: &Arc<Self>) {
        let mut packets = self.staged.lock().take();
        if packets.is_empty() {
            return;
        }
        let guard = rcu::Guard::new();
        let keypair = self
            .keypairs
            .current()
            .load(&guard)
            .and_then(|keypair| keypair.try_get());
        let reserved = keypair.and_then(|keypair| {
            let first = keypair.reserve(packets.len() as u32, ktime::coarse_boottime_ns())?;
            Some((keypair, first))
        });
        let Some((keypair, first)) = reserved else {
            drop(guard);
            // They are not to count against their sockets for as long as a handshake may take.
            for mut skb in packets.iter_mut() {
                skb.orphan();
            }
            {
                let mut staged = self.staged.lock();
                let newer = staged.take();
                packets.append(newer);
                *staged = packets;
            }
            self.send_queued_handshake_initiation(false);
            return;
        };
        let mut nonce = first;
        for mut skb in packets.iter_mut() {
            // Of the inner header's byte the outer one shows the congestion bits only.
            let ds = ecn_encapsulate(skb.dsfield());
            let cb: &mut PacketCb = skb.cb();
            cb.nonce = nonce;
            cb.ds = ds;
            nonce = nonce.wrapping_add(1);
        }
        let len = packets.len();
        let queued = Batch::new(keypair, packets).and_then(|batch| {
            if self.is_dead() {
                return Err(ENOENT);
            }
            let device = &self.device;
            device
                .encrypt_queue
                .enqueue(&self.tx_queue, batch, &device.packet_crypt_wq)
        });
        if queued.is_err() {
            self.device.stats_add(Stat::TxDropped, len);
        }
    }

    /// Sends a message without contents, if nothing waits to be sent that does as well.
    pub(crate) fn send_keepalive(self: &Arc<Self>) {
        if self.staged.lock().is_empty() {
            let Ok(mut skb) = SkBuff::alloc(DATA_PACKET_HEAD_ROOM, MESSAGE_MINIMUM_LENGTH) else {
                return;
            };
            let cb: &mut PacketCb = skb.cb();
            *cb = PacketCb::default();
            let mut packets = SkbList::new();
            packets.push_back(skb);
            self.stage(packets);
            dev_dbg_ratelimited!(
                self.device,
                "Sending keepalive packet to peer {} ({})\n",
                self.id,
                self.endpoint.shown()
            );
        }
        self.send_staged_packets();
    }

    /// Asks for a handshake, which is begun unless one was lately.
    ///
    /// May be called from any context. `is_retry`: the last one went unanswered.
    pub(crate) fn send_queued_handshake_initiation(self: &Arc<Self>, is_retry: bool) {
        self.timers_handshake_requested(is_retry);
        let _guard = rcu::Guard::new();
        if !self.handshake_may_be_sent() || self.is_dead() {
            return;
        }
        // If it is queued already, it will do.
        let _ = self
            .device
            .handshake_send_wq
            .enqueue::<_, { Peer::HANDSHAKE_WORK }>(self.clone());
    }

    fn send_handshake_initiation(self: &Arc<Self>) {
        if !self.handshake_may_be_sent() {
            return;
        }
        self.handshake_is_sent();
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake initiation to peer {} ({})\n",
            self.id,
            self.endpoint.shown()
        );
        let mut message = match self.create_initiation() {
            Ok(message) => message,
            Err(error) => {
                // It counts as one that got lost, or nobody would try again for what waits.
                if error == ENOMEM {
                    self.timers_handshake_initiated();
                }
                return;
            }
        };
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        self.timers_any_authenticated_packet_traversal();
        self.timers_any_authenticated_packet_sent();
        self.handshake_is_sent();
        // Before it leaves: the response may be here before this function goes on, and is what stops the timer.
        self.timers_handshake_initiated();
        self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
    }

    /// Answers a handshake initiation that has just been consumed. Process context.
    pub(crate) fn send_handshake_response(self: &Arc<Self>) {
        self.handshake_is_sent();
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake response to peer {} ({})\n",
            self.id,
            self.endpoint.shown()
        );
        let Some(mut message) = self.create_response() else {
            return;
        };
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        if self.begin_session() {
            self.timers_session_derived();
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.handshake_is_sent();
            self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
        }
    }

    /// Sends the batches that are encrypted, in order. Process context.
    fn transmit(self: &Arc<Self>) {
        self.tx_queue.drain(|batch| {
            let packets = batch.take();
            if packets.is_empty() {
                return;
            }
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.send_packets(packets);
            self.keep_key_fresh();
            sched::cond_resched();
        });
    }

    /// Asks for a handshake if the current key has been used for long enough.
    fn keep_key_fresh(self: &Arc<Self>) {
        let rekey = {
            let guard = rcu::Guard::new();
            self.keypairs.current().load(&guard).is_some_and(|keypair| {
                keypair.is_sending_valid()
                    && rekey_after_sending(
                        keypair.i_am_the_initiator(),
                        keypair.birthdate(),
                        keypair.sending_counter(),
                        ktime::coarse_boottime_ns(),
                    )
            })
        };
        if rekey {
            self.send_queued_handshake_initiation(false);
        }
    }
}

impl WorkItem<{ Peer::HANDSHAKE_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.send_handshake_initiation();
    }
}

/// Answers a handshake message that is not processed under load with a cookie. Process context.
pub(crate) fn send_handshake_cookie(
    device: &Device,
    endpoint: &Endpoint,
    source: &Source,
    macs: &Macs,
    sender_index: u32,
) {
    dev_dbg_ratelimited!(
        device,
        "Sending cookie response for denied handshake message for {}\n",
        endpoint
    );
    let now_ns = ktime::coarse_boottime_ns();
    let reply = {
        let mut checker = device.cookie_checker.lock();
        checker.rotate(now_ns);
        checker.create_reply(sender_index, macs, source, now_ns)
    };
    if let Some(reply) = reply {
        device.send_buffer_as_reply(endpoint, reply.as_bytes());
    }
}

/// Encrypts a batch, and sends what is encrypted of its peer. Process context.
pub(crate) fn encrypt(batch: &Batch) {
    let keypair = &batch.keypair;
    let mut encrypted = SkbList::new();
    let mut packets = batch.take();
    while let Some(mut skb) = packets.pop_front() {
        match encrypt_packet(&mut skb, keypair) {
            Ok(()) => encrypted.push_back(skb),
            Err(_) => keypair.peer.device.stats_add(Stat::TxDropped, 1),
        }
    }
    batch.finish(encrypted);
    keypair.peer.transmit();
}

fn encrypt_packet(skb: &mut SkBuff, keypair: &Keypair) -> Result {
    let cb: &mut PacketCb = skb.cb();
    let (nonce, mtu) = (cb.nonce, cb.mtu);
    let pad = padding(skb.len() as u32, mtu) as usize;
    skb.cow_head(DATA_PACKET_HEAD_ROOM)?;
    // Nobody can fill in the inner checksum later.
    skb.checksum_help()?;
    let header = DataHeader::new(keypair.remote_index(), nonce);
    skb.seal(header.as_bytes(), pad, nonce, keypair.sending_key())?;
    skb.reset(true);
    Ok(())
}

/// Whether a message of this length has no contents.
pub(crate) fn is_keepalive(len: usize) -> bool {
    len == message_data_len(0)
}

/// The congestion bits for the outer header, given the TOS or traffic class of the inner one: the full-functionality
/// option of RFC 3168, section 9.1.1.
fn ecn_encapsulate(inner: u8) -> u8 {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match inner & 3 {
        CE => ECT_0,
        ecn => ecn,
    }
}
