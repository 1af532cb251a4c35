// SPDX-License-Identifier: GPL-2.0

//! What waits for the NAPI of one CPU: messages that arrived there, and peers with decrypted
//! packets.

use kernel::{
    list::{
        List,
        ListItem, //
    },
    prelude::*, //
};

use crate::{
    linux::{
        skbuff::{
            DropReason,
            SkBuff,
            SkbList, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        }, //
    },
    protocol::limits::MAX_QUEUED_PACKETS, //
};

/// The queue of the NAPI of one CPU. `P` are the peers.
#[pin_data]
pub(crate) struct RxQueue<P: ListItem<0>> {
    /// Data messages that arrived on the CPU, in that order.
    #[pin]
    arrived: SpinLockBh<SkbList>,
    /// Peers whose decrypted packets this NAPI is to deliver.
    #[pin]
    pub(crate) peers: SpinLockBh<List<P>>,
}

impl<P: ListItem<0>> RxQueue<P> {
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
            message.discard(DropReason::QueueFull);
            return Err(ENOSPC);
        }
        arrived.push_back(message);
        Ok(())
    }

    /// Takes the messages that have arrived.
    pub(crate) fn take_arrived(&self) -> SkbList {
        self.arrived.lock().take()
    }

    /// Drops all messages, and takes each peer off the list for `purge` to drop its decrypted
    /// packets.
    pub(crate) fn purge(&self, purge: impl Fn(&P)) {
        drop(self.take_arrived());
        loop {
            let Some(peer) = self.peers.lock().pop_front() else {
                break;
            };
            purge(&peer);
        }
    }
}
