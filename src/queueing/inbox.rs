// SPDX-License-Identifier: GPL-2.0

//! Handshake messages that wait to be read: a bounded ring of their device, and workers that empty
//! it.

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
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    },
};

use super::workers::Workers;
use crate::{
    linux::{
        ptr_ring::PtrRing,
        sched,
        skbuff::SkBuff,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        workqueue::OwnedQueue, //
    },
    protocol::limits::MAX_QUEUED_INCOMING_HANDSHAKES, //
};

/// Reads messages of an [`Inbox`].
pub(crate) trait Reader: Send + Sync + 'static {
    /// Reads a message. Process context.
    fn read(&self, message: SkBuff);
}

/// Handshake messages that wait to be read.
pub(crate) struct Inbox<R: Reader> {
    ring: Arc<InboxRing<R>>,
    workers: Workers<InboxWorker<R>>,
}

#[pin_data]
struct InboxRing<R: Reader> {
    #[pin]
    ring: PtrRing<SkBuff>,
    /// Messages in the ring or being read.
    len: Atomic<i32>,
    /// The device that the messages are for, from its registration to its destruction.
    #[pin]
    reader: SpinLockBh<Option<Arc<R>>>,
}

#[pin_data]
struct InboxWorker<R: Reader> {
    ring: Arc<InboxRing<R>>,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl{R: Reader} HasWork<Self> for InboxWorker<R> { self.work }
}

impl<R: Reader> WorkItem for InboxWorker<R> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let Some(reader) = this.ring.reader.lock().clone() else {
            return;
        };
        while let Some(skb) = this.ring.ring.consume() {
            reader.read(skb);
            this.ring.len.add(-1, Relaxed);
            sched::cond_resched();
        }
    }
}

impl<R: Reader> Inbox<R> {
    /// An empty queue. Process context.
    pub(crate) fn new() -> Result<Self> {
        let ring = Arc::pin_init(
            try_pin_init!(InboxRing {
                ring <- PtrRing::new(MAX_QUEUED_INCOMING_HANDSHAKES as usize),
                len: Atomic::new(0),
                reader <- new_spinlock_bh!(None, "wireguard::InboxRing::reader"),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let ring = ring.clone();
            Arc::pin_init(
                pin_init!(InboxWorker {
                    ring,
                    work <- new_work!("wireguard::InboxWorker"),
                }),
                GFP_KERNEL,
            )
        })?;
        Ok(Self { ring, workers })
    }

    /// Makes `reader` the one that the messages are for.
    pub(crate) fn attach(&self, reader: Arc<R>) {
        *self.ring.reader.lock() = Some(reader);
    }

    /// Drops the messages, and lets no worker begin to read. A worker that is reading goes on for
    /// now. Process context.
    pub(crate) fn detach(&self) {
        let reader = self.ring.reader.lock().take();
        drop(reader);
        self.purge();
    }

    /// The number of messages in the ring or being read.
    pub(crate) fn len(&self) -> u32 {
        // A worker may have read a message before it was counted.
        u32::try_from(self.ring.len.load(Relaxed)).unwrap_or(0)
    }

    /// Drops the messages.
    pub(crate) fn purge(&self) {
        while self.ring.ring.consume().is_some() {
            self.ring.len.add(-1, Relaxed);
        }
    }

    /// Adds a message, or gives it back if there is no room. Softirq context.
    pub(crate) fn enqueue(&self, skb: SkBuff, wq: &OwnedQueue) -> core::result::Result<(), SkBuff> {
        // A ring that is half full is being flooded: drop the message rather than wait for another
        // producer.
        if self.len() > MAX_QUEUED_INCOMING_HANDSHAKES / 2 {
            self.ring.ring.try_produce(skb)?;
        } else {
            self.ring.ring.produce(skb)?;
        }
        self.ring.len.add(1, Relaxed);
        self.workers.wake(wq);
        Ok(())
    }
}
