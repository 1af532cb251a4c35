// SPDX-License-Identifier: GPL-2.0

//! Staging: packets wait with their peer, get counters, and become batches.

use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};

use super::encrypt::encrypt;
use crate::{
    debug::dev_dbg_ratelimited,
    events::Event,
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
        skbuff::SkBuff,
        workqueue::is_queued, //
    },
    packet::{
        PacketCb,
        Staged,
        Waiting,
        DATA_PACKET_HEAD_ROOM, //
    },
    protocol::{
        limits::MAX_STAGED_PACKETS,
        messages::MESSAGE_MINIMUM_LENGTH, //
    },
    queueing::{
        Batch,
        NewBatch, //
    },
    state::peer::{
        Encryption,
        Keypair,
        Peer, //
    },
    tuning::{
        MAX_INLINE,
        MAX_SENT_BATCH,
        MIN_SHARED, //
    }, //
};

/// Where a batch is encrypted.
enum Queued {
    /// Inline, by the caller.
    Here(Arc<Batch<Encryption>>),
    ForWorkers,
    /// Nowhere: there is no key.
    Not,
}

impl Peer {
    /// Sends packets from inside the tunnel after those that wait, or has them wait: see
    /// [`Peer::send_staged_packets`].
    pub(crate) fn stage_and_send(self: &Arc<Self>, packets: Staged) {
        let waiting = self.stage(packets);
        self.send_waiting(waiting);
    }

    /// Appends packets from inside the tunnel to those that wait. Returns how many messages wait
    /// then.
    ///
    /// If more than [`MAX_STAGED_PACKETS`] messages wait already, the oldest are dropped to make
    /// room.
    fn stage(&self, packets: Staged) -> usize {
        let mut dropped: usize = 0;
        let waiting = {
            let mut staged = self.staged.lock();
            // Before adding: no segment of a packet just split may be lost immediately.
            while staged.packets.messages() > MAX_STAGED_PACKETS as usize {
                if let Some(mut oldest) = staged.packets.pop_front() {
                    dropped = dropped.wrapping_add(oldest.cb::<PacketCb>().messages());
                    oldest.discard(Event::TxQueueFull.drop_reason());
                }
            }
            staged.packets.append(packets);
            staged.keepalive = false;
            staged.packets.messages()
        };
        if dropped != 0 {
            self.device.stats_add(Stat::TxDropped, dropped);
            self.count(
                if self.has_key() {
                    Event::TxQueueFull
                } else {
                    Event::TxNoKey
                },
                dropped,
            );
        }
        waiting
    }

    /// Drops what waits for a key.
    pub(crate) fn purge_staged_packets(&self) {
        let staged = core::mem::replace(&mut *self.staged.lock(), Waiting::new());
        let messages = staged.messages();
        if messages != 0 {
            self.device.stats_add(Stat::TxDropped, messages);
            self.count(Event::TxNoKey, messages);
            let packets = staged.packets.into_packets();
            packets.discard(Event::TxNoKey.drop_reason());
        }
    }

    /// Sends what waits, if there is a key; asks for a handshake otherwise.
    ///
    /// Process and softirq context. A few packets are encrypted inline, so that a sender of little
    /// traffic need not wait for a worker. Many are left to the workers of all CPUs. Numbers in
    /// between, and a steady stream of few, wait for a worker of another CPU. Packets that come
    /// before it has its turn join them, and a sender of much traffic can go on meanwhile.
    pub(crate) fn send_staged_packets(self: &Arc<Self>) {
        let (waiting, keepalive) = {
            let mut staged = self.staged.lock();
            let keepalive = core::mem::take(&mut staged.keepalive);
            (staged.packets.messages(), keepalive)
        };
        if keepalive {
            self.send_keepalive();
        } else {
            self.send_waiting(waiting);
        }
    }

    /// [`Peer::send_staged_packets`], when packets of `waiting` messages wait.
    fn send_waiting(self: &Arc<Self>, waiting: usize) {
        if waiting == 0 {
            return;
        }
        self.pace.note();
        // That worker takes all of them along: it takes the lock under which they were staged.
        if waiting < MIN_SHARED && is_queued::<_, { Peer::TX_WORK }>(&**self) {
            return;
        }
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
    pub(super) fn has_key(&self) -> bool {
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
                .work_queues
                .packet_crypt
                .enqueue_on::<_, { Peer::TX_WORK }>(cpu, self.clone());
        }
    }

    /// Makes a batch of packets that wait. With `here` it is encrypted inline, otherwise it is left
    /// to the workers. Returns whether more packets wait.
    fn encrypt_staged_packets(self: &Arc<Self>, here: bool) -> bool {
        let more;
        let queued = {
            // Hold the lock until the batch is queued: numbering order must be queue order.
            let mut staged = self.staged.lock();
            let mut packets = staged.packets.take_some(MAX_SENT_BATCH);
            let messages = packets.messages();
            if messages == 0 {
                return false;
            }
            more = staged.packets.messages() != 0;
            match self.number(&mut packets) {
                Some(keypair) => self
                    .queue(keypair, packets, here)
                    .map_err(|error| (error, messages)),
                None => {
                    packets.append(staged.packets.take());
                    // They must not count against their sockets during the handshake.
                    for mut skb in packets.iter_mut() {
                        skb.orphan();
                    }
                    staged.packets = packets;
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
            Err((error, dropped)) => {
                self.device.stats_add(Stat::TxDropped, dropped);
                self.count(Event::no_room(&error, Event::TxQueueFull), dropped);
            }
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
        let batch = NewBatch::new(Encryption { keypair }, packets)?;
        if self.is_dead() {
            return Err(ENOENT);
        }
        if here {
            return Ok(Queued::Here(self.tx_queue.append(batch)?));
        }
        let device = &self.device;
        device
            .encrypt_queue
            .enqueue(&self.tx_queue, batch, &device.work_queues.packet_crypt)?;
        Ok(Queued::ForWorkers)
    }

    /// Sends a keepalive, which is an empty data message, or has it wait for a key. If packets
    /// wait, they are sent instead.
    pub(crate) fn send_keepalive(self: &Arc<Self>) {
        let mut waiting = self.staged.lock().packets.messages();
        if waiting == 0 {
            // Unlike a packet from the stack, a keepalive may come when the device is down already.
            let guard = rcu::Guard::new();
            if !self.may_begin(&guard) {
                return;
            }
            if self.has_keepalive_wait() {
                self.send_queued_handshake_initiation(false);
                return;
            }
            let Ok(mut skb) = SkBuff::alloc(DATA_PACKET_HEAD_ROOM, MESSAGE_MINIMUM_LENGTH) else {
                return;
            };
            let cb: &mut PacketCb = skb.cb();
            *cb = PacketCb::default();
            let mut packets = Staged::new();
            packets.push_back(skb);
            waiting = self.stage(packets);
            dev_dbg_ratelimited!(
                self.device,
                "Sending keepalive packet to peer {} ({})\n",
                self.id,
                self.endpoint.shown()
            );
        }
        self.send_waiting(waiting);
    }

    /// Has a keepalive wait if there is no key to send it with. Returns whether it waits.
    fn has_keepalive_wait(&self) -> bool {
        let mut staged = self.staged.lock();
        // Under the lock: either this finds the key, or the key's maker finds the keepalive.
        staged.keepalive = staged.packets.messages() == 0 && !self.has_key();
        staged.keepalive
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
