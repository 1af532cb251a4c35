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
        cpumask,
        napi::NapiContext,
        netdevice::{
            NetDevice,
            Stat, //
        },
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
    queueing::NewBatch,
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

/// Decides which messages are decrypted inline, and which are left to workers.
///
/// A sender can cause rows of single messages, each too short to be worth a worker, by alternating
/// two keys. A thousand of them would keep softirqs off for as long as they take.
struct Inline {
    /// Few messages have arrived, or there is no other CPU. More are worth the help of other CPUs.
    few: bool,
    /// How many messages may still be decrypted inline.
    left: usize,
}

impl Inline {
    /// Decides for `arrived` messages, of which at most `most` are decrypted inline. `alone`: no
    /// other CPU could help.
    fn new(arrived: usize, most: usize, alone: bool) -> Self {
        Self {
            few: arrived <= MAX_DECRYPTED_INLINE || alone,
            left: most,
        }
    }

    /// Whether the next row is decrypted inline, which has that many messages and bytes.
    fn takes(&mut self, messages: usize, bytes: usize) -> bool {
        if !self.few && bytes > MAX_BYTES_INLINE {
            return false;
        }
        match self.left.checked_sub(messages) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Makes batches of data messages that arrived together, one of each row that belongs to one
/// keypair. Decrypts at most `most` messages inline. Returns how many packets were delivered
/// inline. Their peers are added to `served`, for the caller to release. Softirq context.
pub(super) fn sort(
    device: &Device,
    mut arrived: SkbList,
    most: usize,
    dev: &NetDevice,
    napi: &NapiContext<'_>,
    served: &mut List<Peer>,
) -> usize {
    let mut done: usize = 0;
    let mut inline = Inline::new(arrived.len(), most, cpumask::is_alone());
    let guard = rcu::Guard::new();
    while let Some(first) = arrived.pop_front() {
        let (receiver, bytes, packets) = take_row(first, &mut arrived);
        let messages = packets.messages();
        let entry = device.index_table.lookup(receiver, &guard);
        let keypair = entry
            .as_ref()
            .and_then(|entry| entry.keypair.load(&guard)?.try_get());
        let (Some(entry), Some(keypair)) = (entry, keypair) else {
            device.refused(Event::UnknownIndex, messages, None);
            let reason = Event::UnknownIndex.drop_reason();
            packets.into_packets().discard(reason);
            continue;
        };
        let peer = &entry.peer;
        if peer.is_stopped() {
            continue;
        }
        let inline = inline.takes(packets.messages(), bytes);
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
        let queued = NewBatch::new(Decryption { keypair }, packets).and_then(|batch| {
            if inline {
                decrypt(&*peer.rx_queue.append(batch)?);
                return Ok(());
            }
            device
                .decrypt_queue
                .enqueue(&peer.rx_queue, batch, &device.work_queues.packet_crypt)
        });
        if let Err(error) = queued {
            device.stats_add(Stat::RxDropped, messages);
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

#[kernel::macros::kunit_tests(wireguard_sort)]
mod tests {
    use super::*;

    /// How many of 1,024 messages are decrypted inline that come in rows of `messages` messages and
    /// `bytes` bytes.
    fn taken(messages: usize, bytes: usize, most: usize) -> usize {
        let mut inline = Inline::new(1024, most, false);
        (0..1024 / messages)
            .filter(|_| inline.takes(messages, bytes))
            .count()
            * messages
    }

    #[test]
    fn a_poll_decrypts_no_more_than_its_budget() {
        for most in [0, 1, 32, 64, 2000] {
            for messages in [1, 2, 5, 16] {
                let count = taken(messages, 32 * messages, most);
                assert!(count <= most);
                // As many rows as go into it.
                assert_eq!(count, (most / messages).min(1024 / messages) * messages);
            }
        }
    }

    #[test]
    fn long_rows_are_left_to_workers_unless_little_has_arrived() {
        assert_eq!(taken(1, 513, 64), 0);
        assert_eq!(taken(1, 512, 64), 64);
        let mut inline = Inline::new(2, 64, false);
        assert!(inline.takes(2, 3000));
        let mut inline = Inline::new(3, 64, false);
        assert!(!inline.takes(3, 3000));
        let mut inline = Inline::new(65, 64, true);
        assert!(inline.takes(64, 64_000) && !inline.takes(1, 64));
        // A row that is too long for the rest of the budget leaves it to shorter ones.
        let mut inline = Inline::new(64, 3, false);
        assert!(inline.takes(2, 64) && !inline.takes(2, 64) && inline.takes(1, 64));
        assert!(!inline.takes(1, 64));
    }
}
