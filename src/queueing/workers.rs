// SPDX-License-Identifier: GPL-2.0

//! Workers that empty a queue, one for each possible CPU.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    workqueue::{
        HasWork,
        RawWorkItem, //
    },
};

use crate::linux::{
    cpumask,
    workqueue::{
        flush_work,
        OwnedQueue, //
    },
};

/// The workers of a queue, one for each possible CPU.
pub(super) struct Workers<W> {
    workers: KVec<Arc<W>>,
    last_cpu: Atomic<u32>,
}

impl<W> Workers<W>
where
    Arc<W>: RawWorkItem<0> + Send + 'static,
{
    /// Has `make` make each worker. Process context.
    pub(super) fn new(make: impl Fn() -> Result<Arc<W>>) -> Result<Self> {
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
    /// may be about to wait until the queue has been emptied. Any context.
    pub(super) fn wake(&self, wq: &OwnedQueue) {
        // Two callers may get the same CPU; that does no harm.
        let cpu = cpumask::next_online_after(self.last_cpu.load(Relaxed));
        self.last_cpu.store(cpu, Relaxed);
        if let Some(worker) = self.workers.get(cpu as usize) {
            // A worker that is queued already will see the new entry.
            let _ = wq.enqueue_on(cpu, worker.clone());
        }
    }

    /// Waits for the workers that are queued or that run. Process context.
    pub(super) fn flush(&self)
    where
        W: HasWork<W, 0>,
    {
        for worker in &self.workers {
            flush_work::<W, 0>(worker);
        }
    }
}
