// SPDX-License-Identifier: GPL-2.0

//! The batches of a device that any CPU may encrypt or decrypt.

use kernel::{
    list::{
        List,
        ListArc, //
    },
    prelude::*,
    sync::Arc,
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};

use super::{
    workers::Workers,
    Batch,
    Job,
    NewBatch,
    OrderQueue,
    FOR_WORKERS, //
};
use crate::{
    linux::{
        cpumask,
        rcu,
        sched,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        workqueue::OwnedQueue, //
    },
    protocol::limits::MAX_QUEUED_PACKETS,
    tuning::MAX_CRYPT_IN_TURN, //
};

/// The batches of all peers of a device in one direction, which workers of all CPUs encrypt or
/// decrypt.
pub(crate) struct CryptQueue<J: Job> {
    waiting: Arc<Waiting<J>>,
    workers: Workers<CryptWorker<J>>,
}

/// Batches that wait for a worker, the oldest first.
struct Batches<J: Job> {
    list: List<Batch<J>, FOR_WORKERS>,
    /// Packets in the batches. Bounds what a device can hold, whatever the size of its batches.
    packets: i32,
}

/// What the queue and its workers share. The links of the batches are in the batches: most devices
/// have no traffic, and need no memory set aside for it.
#[pin_data]
struct Waiting<J: Job> {
    #[pin]
    batches: SpinLockBh<Batches<J>>,
}

impl<J: Job> Waiting<J> {
    /// Appends a batch. Fails with `ENOSPC` if [`MAX_QUEUED_PACKETS`] packets wait.
    fn append(&self, batch: ListArc<Batch<J>, FOR_WORKERS>) -> Result {
        let mut batches = self.batches.lock();
        if batches.packets >= MAX_QUEUED_PACKETS as i32 {
            return Err(ENOSPC);
        }
        batches.packets = batches.packets.wrapping_add(batch.len);
        batches.list.push_back(batch);
        Ok(())
    }

    /// Takes the oldest batch.
    fn take(&self) -> Option<Arc<Batch<J>>> {
        let mut batches = self.batches.lock();
        let batch = batches.list.pop_front()?;
        batches.packets = batches.packets.wrapping_sub(batch.len);
        Some(batch.into_arc())
    }
}

#[pin_data]
struct CryptWorker<J: Job> {
    waiting: Arc<Waiting<J>>,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl{J: Job} HasWork<Self> for CryptWorker<J> { self.work }
}

impl<J: Job> WorkItem for CryptWorker<J> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let mut left = MAX_CRYPT_IN_TURN;
        while let Some(batch) = this.waiting.take() {
            J::run(&batch);
            left = left.saturating_sub(1);
            if left == 0 {
                let guard = rcu::Guard::new();
                if let Some(wq) = batch.job.work_queue(&guard) {
                    // A work item that is queued already will do.
                    let _ = wq.enqueue_on(cpumask::current(), this);
                    return;
                }
            }
            sched::cond_resched();
        }
    }
}

impl<J: Job> CryptQueue<J> {
    /// A queue whose workers call [`Job::run`] with each batch. Process context.
    pub(crate) fn new() -> Result<Self> {
        let batches = Batches {
            list: List::new(),
            packets: 0,
        };
        let waiting = Arc::pin_init(
            pin_init!(Waiting {
                batches <- new_spinlock_bh!(batches, "wireguard::Waiting::batches"),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let waiting = waiting.clone();
            Arc::pin_init(
                pin_init!(CryptWorker {
                    waiting,
                    work <- new_work!("wireguard::CryptWorker"),
                }),
                GFP_KERNEL,
            )
        })?;
        Ok(Self { waiting, workers })
    }

    /// Puts a batch into the queue of its peer and into this one, and wakes up a worker.
    ///
    /// May be called from any context. If one of the queues is full it fails with `ENOSPC` and
    /// drops the packets. Each is full from [`MAX_QUEUED_PACKETS`] packets on, whatever the size
    /// of the batch that comes on top.
    pub(crate) fn enqueue(
        &self,
        order: &OrderQueue<J>,
        batch: NewBatch<J>,
        wq: &OwnedQueue,
    ) -> Result {
        let NewBatch {
            in_order,
            for_workers,
        } = batch;
        // Both under the lock of the peer's queue: this one gets the batches in that one's order,
        // and a worker that is done with the batch immediately has to wait for the lock before it
        // looks for the batch in the peer's queue.
        order.push(in_order, || self.waiting.append(for_workers))?;
        self.workers.wake_idle(wq);
        Ok(())
    }

    /// Waits for the workers that are queued or that run. Those that queue themselves again
    /// meanwhile are not waited for: the peers must be on their way out. Process context.
    pub(crate) fn flush(&self) {
        self.workers.flush();
    }
}
