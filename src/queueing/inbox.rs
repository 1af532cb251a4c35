// SPDX-License-Identifier: GPL-2.0

//! Handshake messages that wait to be read: a bounded list of their device, and workers that empty
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
        sched,
        skbuff::{
            SkBuff,
            SkbList, //
        },
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
    waiting: Arc<Waiting<R>>,
    workers: Workers<InboxWorker<R>>,
}

#[pin_data]
struct Waiting<R: Reader> {
    /// Most devices are never flooded: the messages need no memory set aside for the most of them.
    #[pin]
    messages: SpinLockBh<SkbList>,
    /// Messages that wait or that are being read.
    len: Atomic<i32>,
    /// The device that the messages are for, from its registration to its destruction.
    #[pin]
    reader: SpinLockBh<Option<Arc<R>>>,
}

impl<R: Reader> Waiting<R> {
    /// Takes the oldest message.
    fn take(&self) -> Option<SkBuff> {
        self.messages.lock().pop_front()
    }
}

#[pin_data]
struct InboxWorker<R: Reader> {
    waiting: Arc<Waiting<R>>,
    #[pin]
    work: Work<Self>,
}

impl_has_work! {
    impl{R: Reader} HasWork<Self> for InboxWorker<R> { self.work }
}

impl<R: Reader> WorkItem for InboxWorker<R> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let Some(reader) = this.waiting.reader.lock().clone() else {
            return;
        };
        while let Some(skb) = this.waiting.take() {
            reader.read(skb);
            this.waiting.len.add(-1, Relaxed);
            sched::cond_resched();
        }
    }
}

impl<R: Reader> Inbox<R> {
    /// An empty queue. Process context.
    pub(crate) fn new() -> Result<Self> {
        let waiting = Arc::pin_init(
            pin_init!(Waiting {
                messages <- new_spinlock_bh!(SkbList::new(), "wireguard::Waiting::messages"),
                len: Atomic::new(0),
                reader <- new_spinlock_bh!(None, "wireguard::Waiting::reader"),
            }),
            GFP_KERNEL,
        )?;
        let workers = Workers::new(|| {
            let waiting = waiting.clone();
            Arc::pin_init(
                pin_init!(InboxWorker {
                    waiting,
                    work <- new_work!("wireguard::InboxWorker"),
                }),
                GFP_KERNEL,
            )
        })?;
        Ok(Self { waiting, workers })
    }

    /// Makes `reader` the one that the messages are for.
    pub(crate) fn attach(&self, reader: Arc<R>) {
        *self.waiting.reader.lock() = Some(reader);
    }

    /// Drops the messages, and lets no worker begin to read. A worker that is reading goes on for
    /// now. Process context.
    pub(crate) fn detach(&self) {
        let reader = self.waiting.reader.lock().take();
        drop(reader);
        self.purge();
    }

    /// Waits for the workers that are queued or that read. Process context.
    pub(crate) fn flush(&self) {
        self.workers.flush();
    }

    /// The number of messages that wait or that are being read.
    pub(crate) fn len(&self) -> u32 {
        // A worker may have read a message before it was counted.
        u32::try_from(self.waiting.len.load(Relaxed)).unwrap_or(0)
    }

    /// Drops the messages.
    pub(crate) fn purge(&self) {
        while self.waiting.take().is_some() {
            self.waiting.len.add(-1, Relaxed);
        }
    }

    /// Adds a message, or gives it back if there is no room. Softirq context.
    pub(crate) fn enqueue(&self, skb: SkBuff, wq: &OwnedQueue) -> core::result::Result<(), SkBuff> {
        let len = self.len();
        // A list that is half full is being flooded: drop the message rather than wait for another
        // CPU.
        let messages = if len > MAX_QUEUED_INCOMING_HANDSHAKES / 2 {
            self.waiting.messages.try_lock()
        } else {
            Some(self.waiting.messages.lock())
        };
        let (Some(mut messages), true) = (messages, len < MAX_QUEUED_INCOMING_HANDSHAKES) else {
            return Err(skb);
        };
        messages.push_back(skb);
        drop(messages);
        self.waiting.len.add(1, Relaxed);
        self.workers.wake(wq);
        Ok(())
    }
}
