// SPDX-License-Identifier: GPL-2.0

//! Queues of batches.
//!
//! A [`Batch`] of packets goes into two queues together: the [`CryptQueue`] of its device, from
//! which the workers of all CPUs take batches in any order, and the [`OrderQueue`] of its peer,
//! which gives them back in the order in which they came once they are done. A batch carries its
//! [`Job`], so that the queues know no peer and no keypair.
//!
//! Messages that are not in a batch yet wait in an [`RxQueue`] for a NAPI if they have data, and in
//! an [`Inbox`] for a worker if they belong to a handshake.
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
        ListArc,
        ListLinks, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Release,
            Atomic, //
        },
        UniqueArc, //
    },
};

use crate::{
    linux::{
        rcu,
        skbuff::{
            DropReason,
            SkbList, //
        },
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        },
        workqueue::OwnedQueue, //
    },
    packet::Staged, //
};

mod crypt;
mod inbox;
mod order;
mod rx;
mod work_queues;
mod workers;

pub(crate) use crypt::CryptQueue;
pub(crate) use inbox::{
    Inbox,
    Reader, //
};
pub(crate) use order::OrderQueue;
pub(crate) use rx::RxQueue;
pub(crate) use work_queues::WorkQueues;

/// The work on the packets of a batch, with all that it needs.
pub(crate) trait Job: Sized + Send + Sync + 'static {
    /// Encrypts or decrypts the packets of `batch`. Process and softirq context.
    fn run(batch: &Batch<Self>);

    /// The work queue in which a worker goes on after it has had its turn. `None` once nothing new
    /// may begin.
    ///
    /// The worker queues itself in the critical section of `guard`. The removal of a peer waits for
    /// a grace period, and then for queued work.
    fn work_queue<'a>(&'a self, guard: &'a rcu::Guard) -> Option<&'a OwnedQueue>;
}

/// Packets of one keypair that stay together from one end of the module to the other.
#[pin_data]
pub(crate) struct Batch<J: Job> {
    /// Encryption or decryption, with the keypair.
    pub(crate) job: J,
    /// How many packets it was made of. One of several segments counts once, as with the C module:
    /// TCP has more segments under way than a queue has room for.
    len: i32,
    /// Set once the packets are encrypted or decrypted.
    done: Atomic<bool>,
    /// The packets. A worker takes them out, and puts back those that came through.
    #[pin]
    packets: SpinLockBh<SkbList>,
    #[pin]
    in_order: ListLinks<IN_ORDER>,
    #[pin]
    for_workers: ListLinks<FOR_WORKERS>,
}

/// A batch's place in the [`OrderQueue`] of its peer.
const IN_ORDER: u64 = 0;
/// A batch's place in the [`CryptQueue`] of its device.
const FOR_WORKERS: u64 = 1;

impl_list_arc_safe! {
    impl{J: Job} ListArcSafe<{ IN_ORDER }> for Batch<J> { untracked; }
    impl{J: Job} ListArcSafe<{ FOR_WORKERS }> for Batch<J> { untracked; }
}

impl_list_item! {
    impl{J: Job} ListItem<{ IN_ORDER }> for Batch<J> { using ListLinks { self.in_order }; }
    impl{J: Job} ListItem<{ FOR_WORKERS }> for Batch<J> { using ListLinks { self.for_workers }; }
}

/// A batch that is in no queue yet, with its place in each.
pub(crate) struct NewBatch<J: Job> {
    in_order: ListArc<Batch<J>, IN_ORDER>,
    for_workers: ListArc<Batch<J>, FOR_WORKERS>,
}

impl<J: Job> NewBatch<J> {
    /// Makes a batch. If there is no memory it fails with `ENOMEM` and drops the packets.
    ///
    /// May be called from any context.
    pub(crate) fn new(job: J, packets: Staged) -> Result<Self> {
        let packets = packets.into_packets();
        let Ok(place) = UniqueArc::new_uninit(GFP_ATOMIC) else {
            packets.discard(DropReason::NoMemory);
            return Err(ENOMEM);
        };
        let batch = place.pin_init_with(pin_init!(Batch {
            job,
            len: packets.len() as i32,
            done: Atomic::new(false),
            packets <- new_spinlock_bh!(packets, "wireguard::Batch::packets"),
            in_order <- ListLinks::new(),
            for_workers <- ListLinks::new(),
        }))?;
        let (in_order, for_workers) = ListArc::pair_from_pin_unique(batch);
        Ok(Self {
            in_order,
            for_workers,
        })
    }
}

impl<J: Job> Batch<J> {
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
