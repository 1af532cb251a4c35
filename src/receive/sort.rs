// SPDX-License-Identifier: GPL-2.0

//! Sorting: messages that arrived together become batches.

use kernel::list::List;

use super::{
    decrypt::{
        claim_idle,
        decrypt,
        decrypt_packets, //
    },
    deliver::deliver, //
};
use crate::{
    events::Event,
    linux::{
        napi::NapiContext,
        netdevice::NetDevice,
        rcu,
        skbuff::{
            SkBuff,
            SkbList, //
        }, //
    },
    packet::{
        PacketCb,
        Staged, //
    },
    queueing::Batch,
    state::{
        device::Device,
        peer::{
            Decryption,
            Peer, //
        }, //
    },
    tuning::{
        MAX_BYTES_INLINE,
        MAX_DECRYPTED_INLINE,
        MAX_RECEIVED_BATCH, //
    }, //
};

/// Makes batches of data messages that arrived together, one of each row that belongs to one
/// keypair. Returns how many packets were handled inline. Their peers are added to `served`,
/// for the caller to release. Softirq context.
pub(super) fn sort(
    device: &Device,
    mut arrived: SkbList,
    dev: &NetDevice,
    napi: &NapiContext<'_>,
    served: &mut List<Peer>,
) -> usize {
    let mut done: usize = 0;
    // A few messages are decrypted inline. More are worth the help of other CPUs.
    let few = arrived.len() <= MAX_DECRYPTED_INLINE;
    let guard = rcu::Guard::new();
    while let Some(first) = arrived.pop_front() {
        let (receiver, bytes, packets) = take_row(first, &mut arrived);
        let messages = packets.messages();
        let Some(entry) = device.index_table.lookup(receiver, &guard) else {
            device.refused(Event::UnknownIndex, messages, None);
            continue;
        };
        let peer = &entry.peer;
        let Some(keypair) = entry
            .keypair
            .load(&guard)
            .and_then(|keypair| keypair.try_get())
        else {
            device.refused(Event::UnknownIndex, messages, None);
            continue;
        };
        if peer.is_dead() {
            continue;
        }
        let inline = few || bytes <= MAX_BYTES_INLINE;
        if inline {
            if let Some(claimed) = claim_idle(peer) {
                let packets = decrypt_packets(&keypair, packets.into_packets());
                done = done.saturating_add(deliver(peer, &keypair, packets, dev, napi));
                served.push_back(claimed);
                continue;
            }
        }
        // If there is no memory or no room the packets are dropped, as on any full queue of a
        // router.
        let queued = Batch::new(Decryption { keypair }, packets).and_then(|batch| {
            if inline {
                decrypt(&*peer.rx_queue.append(batch)?);
                return Ok(());
            }
            device
                .decrypt_queue
                .enqueue(&peer.rx_queue, batch, &device.packet_crypt_wq)
        });
        if let Err(error) = queued {
            peer.count(Event::no_room(&error, Event::RxQueueFull), messages);
        }
    }
    done
}

/// Takes `first` and the messages of `arrived` that follow it and name the same index, up to
/// [`MAX_RECEIVED_BATCH`] in all. Returns the index, the bytes of the messages, and the messages.
fn take_row(mut first: SkBuff, arrived: &mut SkbList) -> (u32, usize, Staged) {
    let receiver = first.cb::<PacketCb>().receiver;
    let mut bytes = first.len();
    let mut packets = Staged::new();
    packets.push_back(first);
    while packets.messages() < MAX_RECEIVED_BATCH
        && arrived
            .front_mut()
            .is_some_and(|mut next| next.cb::<PacketCb>().receiver == receiver)
    {
        if let Some(next) = arrived.pop_front() {
            bytes = bytes.wrapping_add(next.len());
            packets.push_back(next);
        }
    }
    (receiver, bytes, packets)
}
