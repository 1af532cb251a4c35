// SPDX-License-Identifier: GPL-2.0

//! Queues of batches.
//!
//! A [`Batch`] of packets goes into two queues together: the [`CryptQueue`] of its device, from
//! which the workers of all CPUs take batches in any order, and the [`OrderQueue`] of its peer,
//! which gives them back in the order in which they came once they are done.
//!
//! # Words
//!
//! All of the module uses these words in this one sense:
//!
//! * *packet*: an inner IP packet.
//! * *message*: one WireGuard message. A data message holds one packet, or none: a keepalive.
//! * *datagram*: one outer UDP datagram. It holds one message.
//! * *segment*: one of the packets that a GSO packet stands for.
//! * *aggregate*: an skb that stands for several datagrams.
//! * *batch*: packets of one keypair that take one place in each queue.
//! * *run*: packets of a batch that leave as one aggregate.
//! * *inline*: done by the caller, before the call returns.
//! * *concurrently*: on several CPUs during the same time. *Together*: as one unit.

use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        List,
        ListArc,
        ListLinks, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        barrier,
        Arc,
        UniqueArc, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        RawWorkItem,
        Work,
        WorkItem, //
    },
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use crate::{
    linux::{
        cpumask,
        ptr_ring::PtrRing,
        rcu::{
            self,
            RcuArc, //
        },
        sched,
        skbuff::{
            SkBuff,
            SkBuffMut,
            SkbList, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        workqueue::OwnedQueue, //
    },
    noise::Keypair,
    peer::Peer,
    protocol::limits::MAX_QUEUED_PACKETS, //
};

/// A worker encrypts or decrypts this many batches before other work of its CPU has its turn.
const MAX_BATCHES_IN_TURN: usize = 4;

/// The module's notes about a packet, in the packet's control block.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct PacketCb {
    /// The counter of the data message.
    pub(crate) nonce: u64,
    /// The index that a received data message names.
    pub(crate) receiver: u32,
    /// MTU of the route inside the tunnel, which padding does not exceed; zero: no limit.
    pub(crate) mtu: u32,
    /// Segments besides the first. Their messages have the counters that follow `nonce`.
    pub(crate) more: u16,
    /// TOS or traffic class of the outer header.
    pub(crate) ds: u8,
    /// Not zero: the message is authentic, but the replay window refuses its counter.
    pub(crate) replayed: u8,
    reserved: u32,
}

impl PacketCb {
    /// The notes about a data message that has arrived.
    pub(crate) fn received(nonce: u64, receiver: u32, ds: u8) -> Self {
        Self {
            nonce,
            receiver,
            ds,
            ..Self::default()
        }
    }

    /// The notes about segment `index`, counted from 0, once it is a packet of its own.
    pub(crate) fn of_segment(&self, index: usize) -> Self {
        Self {
            nonce: self.nonce.wrapping_add(index as u64),
            more: 0,
            ..*self
        }
    }

    /// The number of messages that the packet becomes.
    pub(crate) fn messages(&self) -> usize {
        usize::from(self.more).wrapping_add(1)
    }
}

/// Packets that wait. Some may have several segments.
pub(crate) struct Staged {
    packets: SkbList,
    messages: usize,
}

impl Staged {
    /// No packets.
    pub(crate) const fn new() -> Self {
        Self {
            packets: SkbList::new(),
            messages: 0,
        }
    }

    /// The number of messages that the packets become.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Appends a packet whose control block is set.
    pub(crate) fn push_back(&mut self, mut skb: SkBuff) {
        self.messages = self.messages.wrapping_add(skb.cb::<PacketCb>().messages());
        self.packets.push_back(skb);
    }

    /// Takes the first packet.
    pub(crate) fn pop_front(&mut self) -> Option<SkBuff> {
        let mut skb = self.packets.pop_front()?;
        self.messages = self.messages.wrapping_sub(skb.cb::<PacketCb>().messages());
        Some(skb)
    }

    /// Appends other packets.
    pub(crate) fn append(&mut self, other: Self) {
        self.messages = self.messages.wrapping_add(other.messages);
        self.packets.append(other.packets);
    }

    /// Takes all of them.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// The packets alone.
    pub(crate) fn into_packets(self) -> SkbList {
        self.packets
    }

    /// Takes packets from the front until they make `most` messages. The last one is not split, so
    /// they may make more.
    pub(crate) fn take_some(&mut self, most: usize) -> Self {
        if self.messages <= most {
            return self.take();
        }
        let mut some = Self::new();
        while some.messages < most {
            let Some(skb) = self.pop_front() else {
                break;
            };
            some.push_back(skb);
        }
        some
    }

    /// The packets, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = SkBuffMut<'_>> {
        self.packets.iter_mut()
    }
}

/// Packets of one keypair that stay together from one end of the module to the other.
#[pin_data]
pub(crate) struct Batch {
    /// The keypair that encrypts or decrypts the packets.
    pub(crate) keypair: RcuArc<Keypair>,
    /// The number of messages that the packets make.
    len: i32,
    /// Set once the packets are encrypted or decrypted.
    done: Atomic<bool>,
    /// The packets. A worker takes them out, and puts back those that came through.
    #[pin]
    packets: SpinLockBh<SkbList>,
    #[pin]
    links: ListLinks,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Batch { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Batch { using ListLinks { self.links }; }
}

impl Batch {
    /// Makes a batch. If there is no memory it fails with `ENOMEM` and drops the packets.
    ///
    /// May be called from any context.
    pub(crate) fn new(keypair: RcuArc<Keypair>, packets: Staged) -> Result<ListArc<Self>> {
        let Staged { packets, messages } = packets;
        let batch = UniqueArc::pin_init(
            pin_init!(Self {
                keypair,
                len: messages as i32,
                done: Atomic::new(false),
                packets <- new_spinlock_bh!(packets, "wireguard::Batch::packets"),
                links <- ListLinks::new(),
            }),
            GFP_ATOMIC,
        )?;
        Ok(ListArc::from(batch))
    }

    /// Takes the packets out.
    pub(crate) fn take(&self) -> SkbList {
        self.packets.lock().take()
    }

    /// Gives the packets that came through to the consumer of the [`OrderQueue`].
    pub(crate) fn finish(&self, packets: SkbList) {
        self.packets.lock().append(packets);
        self.done.store(true, Release);
    }
}

/// The batches of one peer in one direction, in the order in which they came.
#[pin_data]
pub(crate) struct OrderQueue {
    /// Covers the list, and changes of `packets`.
    #[pin]
    batches: SpinLockBh<List<Batch>>,
    /// Messages in `batches`. Read without the lock.
    packets: Atomic<i32>,
    /// Set while a caller of [`OrderQueue::drain`] takes batches out.
    draining: Atomic<bool>,
}

impl OrderQueue {
    /// An empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            batches <- new_spinlock_bh!(List::new(), "wireguard::OrderQueue::batches"),
            packets: Atomic::new(0),
            draining: Atomic::new(false),
        })
    }

    /// Calls `and` with a batch and then appends it, both under the lock of the queue. If `and`
    /// fails, the batch is dropped.
    fn push(&self, batch: ListArc<Batch>, and: impl FnOnce(&ListArc<Batch>) -> Result) -> Result {
        let mut batches = self.batches.lock();
        if self.packets.load(Relaxed) >= MAX_QUEUED_PACKETS as i32 {
            return Err(ENOSPC);
        }
        // Count before publishing: `is_empty()` is read without the lock, and no worker may have a
        // batch of a queue that looks empty.
        self.packets.add(batch.len, Relaxed);
        if let Err(error) = and(&batch) {
            self.packets.add(batch.len.wrapping_neg(), Relaxed);
            return Err(error);
        }
        batches.push_back(batch);
        Ok(())
    }

    /// Appends a batch that the caller encrypts or decrypts inline. If the queue is full it fails
    /// with `ENOSPC` and drops the packets.
    ///
    /// May be called from any context.
    pub(crate) fn append(&self, batch: ListArc<Batch>) -> Result<Arc<Batch>> {
        let shared = batch.clone_arc();
        self.push(batch, |_| Ok(()))?;
        Ok(shared)
    }

    /// Takes the first batch if it is done.
    pub(crate) fn pop_done(&self) -> Option<ListArc<Batch>> {
        if self.is_empty() {
            return None;
        }
        let mut batches = self.batches.lock();
        if !batches.iter().next()?.done.load(Acquire) {
            return None;
        }
        let batch = batches.pop_front()?;
        // Subtract under the lock: a push must not count this batch any more.
        self.packets.add(batch.len.wrapping_neg(), Relaxed);
        Some(batch)
    }

    /// Whether the queue is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.load(Relaxed) == 0
    }

    /// Whether the queue is empty, and no caller of [`OrderQueue::drain`] has a batch.
    ///
    /// Only a hint: the two are read without an order between them. A batch that is pushed keeps
    /// its place whatever this returns.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && !self.draining.load(Relaxed)
    }

    /// Whether the first batch is done.
    pub(crate) fn is_first_done(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let batches = self.batches.lock();
        batches
            .iter()
            .next()
            .is_some_and(|batch| batch.done.load(Acquire))
    }

    /// Calls `consume` with the batches that are done, in order and at most `limit` of them.
    /// Returns whether more are done: nothing sees to those unless the caller does.
    ///
    /// One caller at a time takes batches out. A second caller returns immediately: the first one
    /// sees to the batches that the second one has added.
    pub(crate) fn drain(&self, limit: usize, mut consume: impl FnMut(&Batch)) -> bool {
        let mut left = limit;
        loop {
            // A full barrier between the caller's `finish()` and its look at the flag. Pairs with
            // smp_mb() below, in another caller's drain(): that caller sees the batch if this one
            // sees the flag.
            if self.draining.xchg(true, Full) {
                return false;
            }
            while left != 0 {
                let Some(batch) = self.pop_done() else {
                    break;
                };
                consume(&batch);
                left = left.wrapping_sub(1);
            }
            self.draining.store(false, Release);
            // Pairs with xchg() above, in another caller's drain(): finds a batch that became done
            // after the last look, and whose worker still saw the flag set.
            barrier::smp_mb(barrier::Full);
            if !self.is_first_done() {
                return false;
            }
            if left == 0 {
                return true;
            }
        }
    }
}

/// The queue of the NAPI of one CPU.
#[pin_data]
pub(crate) struct RxQueue {
    /// Data messages that arrived on the CPU, in that order.
    #[pin]
    arrived: SpinLockBh<SkbList>,
    /// Peers whose decrypted packets this NAPI is to deliver.
    #[pin]
    pub(crate) peers: SpinLockBh<List<Peer>>,
}

impl RxQueue {
    /// An empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            arrived <- new_spinlock_bh!(SkbList::new(), "wireguard::RxQueue::arrived"),
            peers <- new_spinlock_bh!(List::new(), "wireguard::RxQueue::peers"),
        })
    }

    /// Adds a message. If [`MAX_QUEUED_PACKETS`] are there already, it fails with `ENOSPC` and
    /// drops the message.
    pub(crate) fn arrive(&self, message: SkBuff) -> Result {
        let mut arrived = self.arrived.lock();
        if arrived.len() >= MAX_QUEUED_PACKETS as usize {
            drop(arrived);
            return Err(ENOSPC);
        }
        arrived.push_back(message);
        Ok(())
    }

    /// Takes the messages that have arrived.
    pub(crate) fn take_arrived(&self) -> SkbList {
        self.arrived.lock().take()
    }

    /// Drops all messages and decrypted packets.
    pub(crate) fn purge(&self) {
        drop(self.take_arrived());
        loop {
            let Some(peer) = self.peers.lock().pop_front() else {
                break;
            };
            while peer.rx_queue.pop_done().is_some() {}
        }
    }
}

/// The workers of a ring, one for each possible CPU.
pub(crate) struct Workers<W> {
    workers: KVec<Arc<W>>,
    last_cpu: Atomic<u32>,
}

impl<W> Workers<W>
where
    Arc<W>: RawWorkItem<0> + Send + 'static,
{
    /// Has `make` make each worker. Process context.
    pub(crate) fn new(make: impl Fn() -> Result<Arc<W>>) -> Result<Self> {
        let count = kernel::cpu::nr_cpu_ids();
        let mut workers = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for _ in 0..count {
            workers.push_within_capacity(make()?).map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            workers,
            last_cpu: Atomic::new(0),
        })
    }

    /// Wakes up a worker: round robin over the online CPUs, this one included. A thread of this CPU
    /// may be about to wait until the ring has been emptied. Any context.
    pub(crate) fn wake(&self, wq: &OwnedQueue) {
        // Two callers may get the same CPU; that does no harm.
        let cpu = cpumask::next_online_after(self.last_cpu.load(Relaxed));
        self.last_cpu.store(cpu, Relaxed);
        if let Some(worker) = self.workers.get(cpu as usize) {
            // A worker that is queued already will see the new entry.
            let _ = wq.enqueue_on(cpu, worker.clone());
        }
    }
}

/// The batches of all peers of a device in one direction, which workers of all CPUs encrypt or
/// decrypt.
pub(crate) struct CryptQueue {
    ring: Arc<CryptRing>,
    workers: Workers<CryptWorker>,
}

#[pin_data]
struct CryptRing {
    #[pin]
    ring: PtrRing<Arc<Batch>>,
}

#[pin_data]
struct CryptWorker {
    ring: Arc<CryptRing>,
    crypt: fn(&Batch),
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl HasWork<Self> for CryptWorker { self.work }
}

impl WorkItem for CryptWorker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let mut left = MAX_BATCHES_IN_TURN;
        while let Some(batch) = this.ring.ring.consume() {
            (this.crypt)(&batch);
            left = left.saturating_sub(1);
            if left == 0 {
                let peer = &batch.keypair.peer;
                // Under RCU: the removal of a peer waits for a grace period, and then for queued
                // work.
                let _guard = rcu::Guard::new();
                if !peer.is_dead() {
                    // A work item that is queued already will do.
                    let _ = peer
                        .device
                        .packet_crypt_wq
                        .enqueue_on(cpumask::current(), this);
                    return;
                }
            }
            sched::cond_resched();
        }
    }
}

impl CryptQueue {
    /// A queue whose workers call `crypt` with each batch. Process context.
    pub(crate) fn new(crypt: fn(&Batch)) -> Result<Self> {
        let ring = Arc::pin_init(
            try_pin_init!(CryptRing {
                ring <- PtrRing::new(MAX_QUEUED_PACKETS as usize),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let ring = ring.clone();
            Arc::pin_init(
                pin_init!(CryptWorker {
                    ring,
                    crypt,
                    work <- new_work!("wireguard::CryptWorker"),
                }),
                GFP_KERNEL,
            )
        })?;
        Ok(Self { ring, workers })
    }

    /// Puts a batch into the queue of its peer and into this one, and wakes up a worker.
    ///
    /// May be called from any context. If one of the queues is full it fails with `ENOSPC` and
    /// drops the packets. The peer's queue is full from [`MAX_QUEUED_PACKETS`] packets on, whatever
    /// the size of the batch that comes on top.
    pub(crate) fn enqueue(
        &self,
        order: &OrderQueue,
        batch: ListArc<Batch>,
        wq: &OwnedQueue,
    ) -> Result {
        // Both under the lock of the peer's queue: the ring gets the batches in the queue's order,
        // and a worker that is done with the batch immediately has to wait for the lock before it
        // looks for the batch in the queue.
        order.push(batch, |batch| {
            self.ring
                .ring
                .produce(batch.clone_arc())
                .map_err(|_| ENOSPC)
        })?;
        self.workers.wake(wq);
        Ok(())
    }
}
