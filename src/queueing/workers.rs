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

use crate::{
    linux::{
        cpumask,
        workqueue::{
            flush_work,
            is_queued,
            OwnedQueue, //
        }, //
    },
    tuning::MAX_BUSY_CPUS, //
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

    /// Wakes up a worker: round robin over the online CPUs, this one included. Any context.
    pub(super) fn wake(&self, wq: &OwnedQueue) {
        self.wake_on(self.next(), wq);
    }

    /// Wakes up a worker that has the time, if there is one. Any context.
    ///
    /// Round robin as well, but a CPU is passed over that has other work to do: this one, and each
    /// whose worker waits for its turn already. So the CPU that bounds a flow, because it takes
    /// packets off the network or runs the program, has the least of the work. If
    /// [`MAX_BUSY_CPUS`] in a row have other work, or there is no other CPU, it is plainly the next
    /// one. That may be this one: its thread may be about to wait until the queue has been emptied.
    pub(super) fn wake_idle(&self, wq: &OwnedQueue)
    where
        W: HasWork<W, 0>,
    {
        self.wake_on(self.next_idle(), wq);
    }

    fn wake_on(&self, cpu: u32, wq: &OwnedQueue) {
        // Two callers may have got the same CPU; that does no harm.
        self.last_cpu.store(cpu, Relaxed);
        if let Some(worker) = self.workers.get(cpu as usize) {
            // A worker that is queued already will see the new entry.
            let _ = wq.enqueue_on(cpu, worker.clone());
        }
    }

    fn next(&self) -> u32 {
        cpumask::next_online_after(self.last_cpu.load(Relaxed))
    }

    fn next_idle(&self) -> u32
    where
        W: HasWork<W, 0>,
    {
        let here = cpumask::current();
        let next = self.next();
        let mut cpu = next;
        for _ in 0..MAX_BUSY_CPUS {
            let worker = self.workers.get(cpu as usize);
            if cpu != here && worker.is_some_and(|worker| !is_queued(&**worker)) {
                return cpu;
            }
            cpu = cpumask::next_online_after(cpu);
            if cpu == next {
                break;
            }
        }
        next
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
