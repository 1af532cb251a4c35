// SPDX-License-Identifier: GPL-2.0

//! The order in which the batches of a peer came, and in which they go on.

use kernel::{
    list::{
        List,
        ListArc, //
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
        Arc, //
    },
};

use super::{
    Batch,
    Job,
    NewBatch,
    IN_ORDER, //
};
use crate::{
    linux::{
        compat::barrier,
        skbuff::DropReason,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        }, //
    },
    protocol::limits::MAX_QUEUED_PACKETS, //
};

/// The batches of one peer in one direction, in the order in which they came.
#[pin_data]
pub(crate) struct OrderQueue<J: Job> {
    /// Covers the list, and changes of `packets`.
    #[pin]
    batches: SpinLockBh<List<Batch<J>, IN_ORDER>>,
    /// Packets in `batches`. Read without the lock.
    packets: Atomic<i32>,
    /// Set while a caller of [`OrderQueue::drain`] takes batches out.
    draining: Atomic<bool>,
}

impl<J: Job> OrderQueue<J> {
    /// An empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            batches <- new_spinlock_bh!(List::new(), "wireguard::OrderQueue::batches"),
            packets: Atomic::new(0),
            draining: Atomic::new(false),
        })
    }

    /// Calls `and` and then appends a batch, both under the lock of the queue. If `and` fails, the
    /// batch is dropped.
    pub(super) fn push(
        &self,
        batch: ListArc<Batch<J>, IN_ORDER>,
        and: impl FnOnce() -> Result,
    ) -> Result {
        let mut batches = self.batches.lock();
        if self.packets.load(Relaxed) >= MAX_QUEUED_PACKETS as i32 {
            drop(batches);
            batch.take().discard(DropReason::QueueFull);
            return Err(ENOSPC);
        }
        // Count before publishing: `is_empty()` is read without the lock, and no worker may have a
        // batch of a queue that looks empty.
        self.packets.add(batch.len, Relaxed);
        if let Err(error) = and() {
            self.packets.add(batch.len.wrapping_neg(), Relaxed);
            drop(batches);
            batch.take().discard(DropReason::QueueFull);
            return Err(error);
        }
        batches.push_back(batch);
        Ok(())
    }

    /// Appends a batch that the caller encrypts or decrypts inline. If the queue is full it fails
    /// with `ENOSPC` and drops the packets.
    ///
    /// May be called from any context.
    pub(crate) fn append(&self, batch: NewBatch<J>) -> Result<Arc<Batch<J>>> {
        self.push(batch.in_order, || Ok(()))?;
        Ok(batch.for_workers.into_arc())
    }

    /// Takes the first batch if it is done.
    pub(crate) fn pop_done(&self) -> Option<ListArc<Batch<J>, IN_ORDER>> {
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
    pub(crate) fn drain(&self, limit: usize, mut consume: impl FnMut(&Batch<J>)) -> bool {
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
