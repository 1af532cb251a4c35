// SPDX-License-Identifier: GPL-2.0

//! The batches of a device that any CPU may encrypt or decrypt.

use kernel::{
    list::ListArc,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
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
    OrderQueue, //
};
use crate::{
    linux::{
        cpumask,
        ptr_ring::PtrRing,
        rcu,
        sched,
        workqueue::OwnedQueue, //
    },
    protocol::limits::MAX_QUEUED_PACKETS,
    tuning::MAX_CRYPT_IN_TURN, //
};

/// The batches of all peers of a device in one direction, which workers of all CPUs encrypt or
/// decrypt.
pub(crate) struct CryptQueue<J: Job> {
    ring: Arc<CryptRing<J>>,
    workers: Workers<CryptWorker<J>>,
}

#[pin_data]
struct CryptRing<J: Job> {
    #[pin]
    ring: PtrRing<Arc<Batch<J>>>,
    /// Messages in the batches of the ring. Bounds what a device can hold, whatever the size of its
    /// batches.
    messages: Atomic<i32>,
}

impl<J: Job> CryptRing<J> {
    /// Appends a batch. Fails with `ENOSPC` if [`MAX_QUEUED_PACKETS`] messages are in the ring.
    fn produce(&self, batch: &ListArc<Batch<J>>) -> Result {
        // Producers that look concurrently may go beyond the bound by a batch each. A ring with
        // fewer messages than places has room.
        if self.messages.load(Relaxed) >= MAX_QUEUED_PACKETS as i32 {
            return Err(ENOSPC);
        }
        // Count before publishing: a worker may take the batch immediately.
        self.messages.add(batch.len, Relaxed);
        self.ring.produce(batch.clone_arc()).map_err(|_| {
            self.messages.add(batch.len.wrapping_neg(), Relaxed);
            ENOSPC
        })
    }

    /// Takes the oldest batch.
    fn consume(&self) -> Option<Arc<Batch<J>>> {
        let batch = self.ring.consume()?;
        self.messages.add(batch.len.wrapping_neg(), Relaxed);
        Some(batch)
    }
}

#[pin_data]
struct CryptWorker<J: Job> {
    ring: Arc<CryptRing<J>>,
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
        while let Some(batch) = this.ring.consume() {
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
        let ring = Arc::pin_init(
            try_pin_init!(CryptRing {
                ring <- PtrRing::new(MAX_QUEUED_PACKETS as usize),
                messages: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let ring = ring.clone();
            Arc::pin_init(
                pin_init!(CryptWorker {
                    ring,
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
    /// drops the packets. Each is full from [`MAX_QUEUED_PACKETS`] messages on, whatever the size of
    /// the batch that comes on top.
    pub(crate) fn enqueue(
        &self,
        order: &OrderQueue<J>,
        batch: ListArc<Batch<J>>,
        wq: &OwnedQueue,
    ) -> Result {
        // Both under the lock of the peer's queue: the ring gets the batches in the queue's order,
        // and a worker that is done with the batch immediately has to wait for the lock before it
        // looks for the batch in the queue.
        order.push(batch, |batch| self.ring.produce(batch))?;
        self.workers.wake(wq);
        Ok(())
    }

    /// Waits for the workers that are queued or that run. Those that queue themselves again
    /// meanwhile are not waited for: the peers must be on their way out. Process context.
    pub(crate) fn flush(&self) {
        self.workers.flush();
    }
}
