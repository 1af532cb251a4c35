// SPDX-License-Identifier: GPL-2.0

//! Decrypting a batch, and having a NAPI deliver it.

use kernel::{
    list::ListArc,
    prelude::*,
    sync::{
        Arc, //
    }, //
};

use crate::{
    events::Event,
    linux::{
        bottom_half,
        compat::barrier,
        ktime,
        netdevice::Stat,
        rcu,
        skbuff::SkbList,
        workqueue::OwnedQueue, //
    },
    packet::PacketCb,
    protocol::messages::DataHeader,
    queueing::{
        Batch,
        Job, //
    },
    state::peer::{
        Decryption,
        Keypair,
        Peer, //
    },
};

impl Job for Decryption {
    fn run(batch: &Batch<Self>) {
        decrypt(batch);
    }

    fn work_queue<'a>(&'a self, guard: &'a rcu::Guard) -> Option<&'a OwnedQueue> {
        self.keypair.peer.crypt_wq(guard)
    }
}

/// Decrypts a batch and lets a NAPI deliver it. Process or softirq context.
pub(super) fn decrypt(batch: &Batch<Decryption>) {
    let keypair = &batch.job.keypair;
    batch.finish(decrypt_packets(keypair, batch.take()));
    schedule(&keypair.peer);
}

/// Decrypts data messages, and returns those that are authentic.
pub(super) fn decrypt_packets(keypair: &Keypair, mut packets: SkbList) -> SkbList {
    let mut decrypted = SkbList::new();
    if !keypair.may_receive(ktime::coarse_boottime_ns()) {
        keypair.peer.refused(Event::RxExpired, packets.len(), None);
        packets.discard(Event::RxExpired.drop_reason());
        return decrypted;
    }
    while let Some(mut skb) = packets.pop_front() {
        let cb: &mut PacketCb = skb.cb();
        let nonce = cb.nonce;
        match skb.open(
            size_of::<DataHeader>(),
            nonce,
            keypair.receiving_key(),
            &keypair.peer.device.memory.decrypted,
        ) {
            Ok(skb) => decrypted.push_back(skb),
            Err(error) => {
                let peer = &keypair.peer;
                if error == ENOMEM {
                    peer.device.stats_add(Stat::RxDropped, 1);
                }
                peer.refused(Event::no_room(&error, Event::RxNotAuthentic), 1, None)
            }
        }
    }
    decrypted
}

/// Claims a peer of which nothing is on its way: until the claim is dropped no NAPI takes the peer,
/// and the caller may deliver inline.
pub(super) fn claim_idle(peer: &Arc<Peer>) -> Option<ListArc<Peer>> {
    if !peer.rx_queue.is_empty() {
        return None;
    }
    // A NAPI that has taken a batch from the queue keeps its claim until the batch is delivered.
    ListArc::try_from_arc_or_drop(peer.clone())
}

/// Puts a peer on the list of this CPU's NAPI, unless it is on one already.
fn schedule(peer: &Arc<Peer>) {
    // Pairs with smp_mb() in let_go(): either the NAPI that has just released the peer sees that
    // the batch is done, or the claim succeeds here.
    barrier::smp_mb(barrier::Full);
    let Some(claimed) = ListArc::try_from_arc_or_drop(peer.clone()) else {
        return;
    };
    let device = &peer.device;
    let bh = bottom_half::disable();
    let index = device.netdev.napi_index_local(&bh);
    if let Some(queue) = device.rx_queues.get(index as usize) {
        queue.peers.lock().push_back(claimed);
        device.netdev.napi_schedule_local(&bh);
    }
}
