// SPDX-License-Identifier: GPL-2.0

//! Sending.
//!
//! A packet's way through this file, from the device's transmit function:
//!
//! 1. [`Peer::stage`]: the packet joins those that wait with the peer. A packet of many TCP
//!    segments stays one.
//! 2. [`Peer::send_staged_packets`]: the packets that wait get counters and become a batch. That is
//!    done inline, or by a worker, which takes along all packets that have come until its turn.
//!    Without a key they go on waiting, and a handshake is asked for.
//! 3. [`encrypt`]: the batch is encrypted, by the caller if it is small, otherwise by a worker.
//!    Packets that can walk the stack together become one aggregate.
//! 4. [`Peer::transmit`]: the batches of a peer go to the socket in order, all of them on one CPU.
//!
//! # Order
//!
//! The packets of a peer leave in the order in which they were staged. [`Peer::staged`] is locked
//! from when packets get counters until their batch is in [`Peer::tx_queue`], which gives batches
//! back in that order. Below, the network stack keeps what one CPU sends in order, but not what
//! several do: a CPU may have a transmit queue of the network card to itself (XPS), and has a
//! backlog of its own for what devices like veth pass on. So a peer has a [`TransmitCpu`], and
//! [`Peer::transmit`] sends on that one alone. Which CPU encrypts does not matter: if it is another
//! one, [`Peer::TRANSMIT_WORK`] has the right one send.
//!
//! If the transmit CPU goes offline another one takes its place. Only then may packets overtake:
//! the kernel passes the backlog of the old CPU to some other one.

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
        bottom_half,
        cpumask,
        ktime,
        netdevice::{
            xmit_recursion_level,
            Stat, //
        },
        rcu::{
            self,
            RcuArc, //
        },
        skbuff::SkBuff, //
    },
    noise::Keypair,
    peer::Peer,
    protocol::{
        cookie::{
            CookieSecret,
            Source, //
        },
        limits::MAX_STAGED_PACKETS,
        messages::{
            message_data_len,
            DataHeader,
            HandshakeResponse,
            Macs,
            HANDSHAKE_DSCP,
            MESSAGE_MINIMUM_LENGTH, //
        },
        timers::rekey_after_sending, //
    },
    queueing::{
        Batch,
        PacketCb,
        Staged, //
    },
    socket::{
        Endpoint,
        SKB_HEADER_LEN, //
    },
};

mod encrypt;
mod pace;

pub(crate) use encrypt::encrypt;
pub(crate) use pace::{
    Pace,
    TransmitCpu, //
};

/// Bytes in front of a packet for all headers that encapsulation puts there.
pub(crate) const DATA_PACKET_HEAD_ROOM: usize =
    (size_of::<DataHeader>() + SKB_HEADER_LEN).next_multiple_of(4);

/// From this many packets on it is worth waking up another CPU.
const MIN_SHARED: usize = 32;
/// Most messages of a batch, unless they are segments of one packet. While a batch is on its way
/// the next one is encrypted, and the packets of the first no longer count against their sockets,
/// which may only have so much under way.
const MAX_BATCH: usize = 16;
/// Most packets that are encrypted inline, by the thread that sends them.
const MAX_INLINE: usize = 2;
/// Batches that are sent in a row, before other work of the CPU has its turn.
const MAX_BATCHES_IN_TURN: usize = 16;

/// Where a batch is encrypted.
enum Queued {
    /// Inline, by the caller.
    Here(Arc<Batch>),
    ForWorkers,
    /// Nowhere: there is no key.
    Not,
}

impl Peer {
    /// Appends packets from inside the tunnel to those that wait.
    ///
    /// If more than [`MAX_STAGED_PACKETS`] messages wait already, the oldest are dropped to make
    /// room.
    pub(crate) fn stage(&self, packets: Staged) {
        let mut dropped: usize = 0;
        {
            let mut staged = self.staged.lock();
            // Before adding: no segment of a packet just split may be lost immediately.
            while staged.messages() > MAX_STAGED_PACKETS as usize {
                if let Some(mut oldest) = staged.pop_front() {
                    dropped = dropped.wrapping_add(oldest.cb::<PacketCb>().messages());
                }
            }
            staged.append(packets);
        }
        if dropped != 0 {
            self.device.stats_add(Stat::TxDropped, dropped);
        }
    }

    /// Sends the packets that wait, if there is a key; asks for a handshake otherwise.
    ///
    /// Process and softirq context. A few packets are encrypted inline, so that a sender of little
    /// traffic need not wait for a worker. Many are left to the workers of all CPUs. Numbers in
    /// between, and a steady stream of few, wait for a worker of another CPU. Packets that come
    /// before it has its turn join them, and a sender of much traffic can go on meanwhile.
    pub(crate) fn send_staged_packets(self: &Arc<Self>) {
        let waiting = self.staged.lock().messages();
        if waiting == 0 {
            return;
        }
        self.pace.note();
        if !self.has_key() {
            // Inline: a packet must not count against its socket until a worker has its turn.
            if self.encrypt_staged_packets(true) {
                self.queue_tx_work(self.transmit_cpu.worker());
            }
            return;
        }
        if waiting >= MIN_SHARED {
            while self.encrypt_staged_packets(false) {}
            return;
        }
        let bh = bottom_half::disable();
        // Inside of other tunnels' transmit functions there may not be much stack left.
        if waiting <= MAX_INLINE
            && self.tx_queue.is_idle()
            && xmit_recursion_level(&bh) <= 1
            && self.pace.step()
        {
            let _ = self.encrypt_staged_packets(true);
        } else {
            // If the peer is being removed, its removal drops the packets.
            self.queue_tx_work(self.transmit_cpu.worker());
        }
    }

    /// Whether there is a key to send with. Another sender may concurrently find it used up.
    fn has_key(&self) -> bool {
        let guard = rcu::Guard::new();
        self.keypairs
            .current()
            .load(&guard)
            .is_some_and(|keypair| keypair.may_send(ktime::coarse_boottime_ns()))
    }

    /// Has the worker of `cpu` encrypt the packets that wait, unless the peer is being removed.
    fn queue_tx_work(self: &Arc<Self>, cpu: u32) {
        let _guard = rcu::Guard::new();
        if !self.is_dead() {
            // A work item that is queued already will do.
            let _ = self
                .device
                .packet_crypt_wq
                .enqueue_on::<_, { Peer::TX_WORK }>(cpu, self.clone());
        }
    }

    /// Has the transmit CPU send the encrypted batches. Does nothing, and returns `false`, if the
    /// peer is being removed.
    fn queue_transmit_work(self: &Arc<Self>) -> bool {
        let _guard = rcu::Guard::new();
        if self.is_dead() {
            return false;
        }
        // A work item that is queued already will do.
        let _ = self
            .device
            .transmit_wq
            .enqueue_on::<_, { Peer::TRANSMIT_WORK }>(self.transmit_cpu.get(), self.clone());
        true
    }

    /// Makes a batch of packets that wait. With `here` it is encrypted inline, otherwise it is left
    /// to the workers. Returns whether more packets wait.
    fn encrypt_staged_packets(self: &Arc<Self>, here: bool) -> bool {
        let more;
        let queued = {
            // Hold the lock until the batch is queued: numbering order must be queue order.
            let mut staged = self.staged.lock();
            let mut packets = staged.take_some(MAX_BATCH);
            let messages = packets.messages();
            if messages == 0 {
                return false;
            }
            more = staged.messages() != 0;
            match self.number(&mut packets) {
                Some(keypair) => self.queue(keypair, packets, here).map_err(|_| messages),
                None => {
                    packets.append(staged.take());
                    // They must not count against their sockets during the handshake.
                    for mut skb in packets.iter_mut() {
                        skb.orphan();
                    }
                    *staged = packets;
                    Ok(Queued::Not)
                }
            }
        };
        match queued {
            Ok(Queued::Here(batch)) => encrypt(&batch),
            Ok(Queued::ForWorkers) => {}
            Ok(Queued::Not) => {
                self.send_queued_handshake_initiation(false);
                return false;
            }
            Err(dropped) => self.device.stats_add(Stat::TxDropped, dropped),
        }
        more
    }

    /// Gives counters to packets. Returns the keypair to encrypt them with, if there is one.
    fn number(&self, packets: &mut Staged) -> Option<RcuArc<Keypair>> {
        let guard = rcu::Guard::new();
        let keypair = self.keypairs.current().load(&guard)?.try_get()?;
        let mut nonce = keypair.reserve(packets.messages() as u32, ktime::coarse_boottime_ns())?;
        for mut skb in packets.iter_mut() {
            let cb: &mut PacketCb = skb.cb();
            cb.nonce = nonce;
            nonce = nonce.wrapping_add(cb.messages() as u64);
        }
        Some(keypair)
    }

    /// Puts a batch into the queue of the peer, to be encrypted by the caller or by workers.
    fn queue(&self, keypair: RcuArc<Keypair>, packets: Staged, here: bool) -> Result<Queued> {
        let _guard = rcu::Guard::new();
        let batch = Batch::new(keypair, packets)?;
        if self.is_dead() {
            return Err(ENOENT);
        }
        if here {
            return Ok(Queued::Here(self.tx_queue.append(batch)?));
        }
        let device = &self.device;
        device
            .encrypt_queue
            .enqueue(&self.tx_queue, batch, &device.packet_crypt_wq)?;
        Ok(Queued::ForWorkers)
    }

    /// Sends a keepalive, which is an empty data message. If packets wait, they are sent instead.
    pub(crate) fn send_keepalive(self: &Arc<Self>) {
        if self.staged.lock().messages() == 0 {
            let Ok(mut skb) = SkBuff::alloc(DATA_PACKET_HEAD_ROOM, MESSAGE_MINIMUM_LENGTH) else {
                return;
            };
            let cb: &mut PacketCb = skb.cb();
            *cb = PacketCb::default();
            let mut packets = Staged::new();
            packets.push_back(skb);
            // Unlike a packet from the stack, a keepalive may come when the device is down already.
            let guard = rcu::Guard::new();
            if !self.may_begin(&guard) {
                return;
            }
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

    /// Asks for a handshake. It begins unless a handshake message was sent lately.
    ///
    /// May be called from any context. `is_retry`: the last one went unanswered.
    pub(crate) fn send_queued_handshake_initiation(self: &Arc<Self>, is_retry: bool) {
        self.timers_handshake_requested(is_retry);
        let guard = rcu::Guard::new();
        if !self.handshake_may_be_sent() {
            if is_retry {
                // A response was sent meanwhile, or the clocks differ by a tick. Nothing else would
                // retry.
                self.timers_handshake_put_off();
            }
            return;
        }
        if !self.may_begin(&guard) {
            return;
        }
        // A work item that is queued already will do.
        let _ = self
            .device
            .handshake_send_wq
            .enqueue::<_, { Peer::HANDSHAKE_WORK }>(self.clone());
    }

    fn send_handshake_initiation(self: &Arc<Self>) {
        if !self.handshake_may_be_sent() {
            // A response was sent since the handshake was asked for. The session that it begins may
            // never be confirmed.
            self.timers_handshake_put_off();
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
                // Treat it as an initiation that got lost: nothing else would retry for the packets
                // that wait.
                if error == ENOMEM || error == EAGAIN {
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
        // Before the message leaves: the response, which stops the timer, may be here before this
        // function goes on.
        self.timers_handshake_initiated();
        self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
    }

    /// Sends the answer to a handshake initiation that has just been consumed. Process context.
    pub(crate) fn send_handshake_response(self: &Arc<Self>, mut message: HandshakeResponse) {
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake response to peer {} ({})\n",
            self.id,
            self.endpoint.shown()
        );
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        self.timers_session_derived();
        self.timers_any_authenticated_packet_traversal();
        self.timers_any_authenticated_packet_sent();
        self.handshake_is_sent();
        self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
    }

    /// Sends the encrypted batches in order, on the transmit CPU: inline if this is that CPU,
    /// otherwise by [`Peer::TRANSMIT_WORK`]. Process and softirq context.
    fn transmit(self: &Arc<Self>) {
        loop {
            let more = {
                let bh = bottom_half::disable();
                if self.is_dead() || self.transmit_cpu.is_here(&bh) {
                    self.transmit_some()
                } else {
                    // If the first batch is not done, the thread that encrypts it comes here later,
                    // and sees to the batches behind it, too.
                    self.tx_queue.is_first_done()
                }
            };
            // A peer that is being removed sends nothing: its batches are dropped inline, which
            // takes no time.
            if !more || self.queue_transmit_work() {
                return;
            }
        }
    }

    /// Sends some of the encrypted batches. Returns whether there are more.
    fn transmit_some(self: &Arc<Self>) -> bool {
        self.tx_queue.drain(MAX_BATCHES_IN_TURN, |batch| {
            let packets = batch.take();
            if packets.is_empty() {
                return;
            }
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.send_packets(packets);
            self.keep_key_fresh();
        })
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

impl WorkItem<{ Peer::TX_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.encrypt_staged_packets(true) {
            this.queue_tx_work(cpumask::current());
        }
    }
}

impl WorkItem<{ Peer::TRANSMIT_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.transmit();
    }
}

impl WorkItem<{ Peer::HANDSHAKE_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.send_handshake_initiation();
    }
}

/// Sends a cookie, made with `secret`, in answer to a handshake message that is not processed under
/// load. Process context.
pub(crate) fn send_handshake_cookie(
    device: &Device,
    secret: &CookieSecret,
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
    let identity = device.identity.get();
    let reply = identity
        .as_ref()
        .and_then(|identity| identity.mac_keys())
        .and_then(|keys| secret.create_reply(keys, sender_index, macs, source));
    if let Some(reply) = reply {
        device.send_buffer_as_reply(endpoint, reply.as_bytes());
    }
}

/// Whether a data message of `len` bytes has no contents.
pub(crate) fn is_keepalive(len: usize) -> bool {
    len == message_data_len(0)
}

/// The congestion bits for the outer header, given the TOS or traffic class of the inner one: the
/// full-functionality option of RFC 3168, section 9.1.1.
pub(crate) fn ecn_encapsulate(inner: u8) -> u8 {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match inner & 3 {
        CE => ECT_0,
        ecn => ecn,
    }
}
