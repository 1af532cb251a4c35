// SPDX-License-Identifier: GPL-2.0

//! Encrypting a batch. Packets that can walk the stack together become one aggregate.

use kernel::prelude::*;
use zerocopy::IntoBytes;

use crate::{
    class::Class,
    events::Event,
    linux::{
        bottom_half,
        engine::{
            Chain,
            Segments,
            Text, //
        },
        netdevice::Stat,
        rcu,
        skbuff::{
            DropReason,
            SkBuff,
            SkbList, //
        },
        workqueue::OwnedQueue, //
    },
    packet::{
        PacketCb,
        DATA_PACKET_HEAD_ROOM, //
    },
    protocol::messages::{
        message_data_len,
        padding,
        DataHeader, //
    },
    queueing::{
        Batch,
        Job, //
    },
    socket::SKB_HEADER_LEN,
    state::peer::{
        Encryption,
        Keypair, //
    },
};

impl Job for Encryption {
    fn run(batch: &Batch<Self>) {
        encrypt(batch);
    }

    fn work_queue<'a>(&'a self, guard: &'a rcu::Guard) -> Option<&'a OwnedQueue> {
        self.keypair.peer.crypt_wq(guard)
    }
}

/// Encrypts a batch, and sends the encrypted batches of its peer. Process and softirq context.
pub(crate) fn encrypt(batch: &Batch<Encryption>) {
    let keypair = &batch.job.keypair;
    let device = &keypair.peer.device;
    let aggregate = device.settings.aggregates_tx();
    let pages = &device.memory.encrypted;
    let mut encrypted = SkbList::new();
    let mut dropped: usize = 0;
    let mut packets = batch.take();
    while let Some(mut skb) = packets.pop_front() {
        let cb: PacketCb = *skb.cb();
        if cb.more != 0 {
            dropped = dropped.wrapping_add(encrypt_segments(
                skb,
                &cb,
                aggregate,
                keypair,
                &mut encrypted,
            ));
            continue;
        }
        let len = message_len(skb.len(), cb.mtu);
        if aggregate && !skb.goes_alone() && follows(&mut packets, len, &skb, cb.class) {
            let most = packets.len().wrapping_add(1);
            if may_be_chained(&skb, len) && keypair.peer.endpoint.takes_lists() {
                if let Ok(chain) = Chain::new(SKB_HEADER_LEN, len, most) {
                    let lost = encrypt_chain(chain, skb, &mut packets, keypair, &mut encrypted);
                    dropped = dropped.wrapping_add(lost);
                    continue;
                }
            }
            if let Ok(run) = Segments::new(SKB_HEADER_LEN, len, most, pages) {
                match encrypt_run(run, skb, &mut packets, keypair, &mut encrypted) {
                    None => continue,
                    // There was no memory for a run: this packet goes alone.
                    Some(left) => skb = left,
                }
            }
        }
        match encrypt_packet(&mut skb, keypair) {
            Ok(()) => encrypted.push_back(skb),
            Err(_) => {
                dropped = dropped.wrapping_add(1);
                skb.discard(Event::NoMemory.drop_reason());
            }
        }
    }
    if dropped != 0 {
        keypair.peer.device.stats_add(Stat::TxDropped, dropped);
        keypair.peer.count(Event::NoMemory, dropped);
    }
    batch.finish(encrypted);
    keypair.peer.transmit();
}

/// Length of the message that a packet of `len` bytes becomes on a route with this MTU.
fn message_len(len: usize, mtu: u32) -> usize {
    message_data_len(len.saturating_add(padding(len as u32, mtu) as usize))
}

/// Whether the first of `packets` can follow `skb`, whose outer header gets `class`, in a run.
///
/// Its message has at most `len` bytes, and everything else that the stack outside can see of the
/// two is equal. A packet that differs ends the run before it and begins the next one.
fn follows(packets: &mut SkbList, len: usize, skb: &SkBuff, class: Class) -> bool {
    packets.front_mut().is_some_and(|mut next| {
        let cb: PacketCb = *next.cb();
        cb.more == 0
            && cb.class == class
            && message_len(next.len(), cb.mtu) <= len
            && next.same_owner(skb)
            && !next.goes_alone()
            && next.same_flow(skb)
    })
}

/// Encrypts the segments of a packet into one aggregate, or as few as possible.
///
/// Each segment becomes a packet of its own if the segments are not to be aggregated, are too long
/// for that, or there is no memory for it. Returns how many segments were dropped.
fn encrypt_segments(
    skb: SkBuff,
    cb: &PacketCb,
    aggregate: bool,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> usize {
    let count = cb.messages();
    let pages = &keypair.peer.device.memory.encrypted;
    let mut next = 0;
    if let Some(gso) = skb.tcp_gso().filter(|_| aggregate) {
        let segment = |index| gso.segment(index).filter(|_| index < count);
        while let Some(first) = segment(next) {
            let len = message_len(first.len(), cb.mtu);
            let left = count.wrapping_sub(next);
            let Ok(mut run) = Segments::new(SKB_HEADER_LEN, len, left, pages) else {
                break;
            };
            while let Some(text) = segment(next) {
                let nonce = cb.nonce.wrapping_add(next as u64);
                if message_len(text.len(), cb.mtu) > run.room()
                    || seal(&mut run, &text, nonce, cb.mtu, keypair).is_err()
                {
                    break;
                }
                next = next.wrapping_add(1);
            }
            let Some(run) = run.finish(&skb) else {
                break;
            };
            encrypted.push_back(with_class(run, cb.class));
        }
    }
    // Freeing may call the socket's write_space and recurse into transmit.
    let _bh = bottom_half::disable();
    if next == count {
        skb.consume();
        return 0;
    }
    let done = next.wrapping_add(encrypt_each(skb, cb, next, keypair, encrypted));
    count.wrapping_sub(done)
}

/// Encrypts the segments of a packet, except for the first `skipped`, each as a packet of its own.
/// Returns how many were encrypted.
fn encrypt_each(
    skb: SkBuff,
    cb: &PacketCb,
    skipped: usize,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> usize {
    let segments = {
        let guard = rcu::Guard::new();
        match keypair.peer.device.netdev.get(&guard) {
            Some(dev) => skb.gso_segment(dev),
            None => Err((ENODEV, skb)),
        }
    };
    let mut segments = match segments {
        Ok(segments) => segments,
        Err((error, skb)) => {
            skb.discard(DropReason::no_room(&error, DropReason::Segments));
            return 0;
        }
    };
    let mut done: usize = 0;
    for index in 0..cb.messages() {
        let Some(mut skb) = segments.pop_front() else {
            break;
        };
        if index < skipped {
            skb.consume();
            continue;
        }
        *skb.cb() = cb.of_segment(index);
        if encrypt_packet(&mut skb, keypair).is_ok() {
            encrypted.push_back(skb);
            done = done.wrapping_add(1);
        } else {
            skb.discard(Event::NoMemory.drop_reason());
        }
    }
    done
}

/// Whether a packet that becomes a message of `len` bytes can be encrypted in place, and then has
/// room for the outer headers in front.
fn may_be_chained(skb: &SkBuff, len: usize) -> bool {
    let trailer_len = len
        .wrapping_sub(size_of::<DataHeader>())
        .wrapping_sub(skb.len());
    skb.is_private(DATA_PACKET_HEAD_ROOM, trailer_len)
}

/// Encrypts `skb`, and those of `packets` that can follow it, in place, and makes one aggregate of
/// them. Returns how many packets were dropped.
fn encrypt_chain(
    mut chain: Chain,
    mut skb: SkBuff,
    packets: &mut SkbList,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> usize {
    let mut dropped: usize = 0;
    let class = skb.cb::<PacketCb>().class;
    loop {
        let lost = match seal_in_place(&mut skb, keypair) {
            Ok(()) => chain.push(skb).err(),
            Err(_) => Some(skb),
        };
        if let Some(lost) = lost {
            // Freeing may call the socket's write_space and recurse into transmit.
            let _bh = bottom_half::disable();
            lost.discard(Event::NoMemory.drop_reason());
            dropped = dropped.wrapping_add(1);
        }
        let room = chain.room();
        let next = packets.front_mut().is_some_and(|mut next| {
            let mtu = next.cb::<PacketCb>().mtu;
            may_be_chained(&next, message_len(next.len(), mtu))
        });
        if !next || !follows(packets, room, chain.like(), class) {
            break;
        }
        match packets.pop_front() {
            Some(next) => skb = next,
            None => break,
        }
    }
    if let Some(chain) = chain.finish() {
        encrypted.push_back(with_class(chain, class));
    }
    dropped
}

/// Encrypts `skb`, and those of `packets` that can follow it, into one aggregate. If memory runs
/// out it returns the packet that would have been next.
fn encrypt_run(
    mut run: Segments<'_>,
    skb: SkBuff,
    packets: &mut SkbList,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> Option<SkBuff> {
    let mut sealed = SkbList::new();
    let mut left = None;
    let mut next = Some(skb);
    while let Some(mut skb) = next.take() {
        let cb: PacketCb = *skb.cb();
        if seal(&mut run, &skb, cb.nonce, cb.mtu, keypair).is_err() {
            left = Some(skb);
            break;
        }
        if follows(packets, run.room(), &skb, cb.class) {
            next = packets.pop_front();
        }
        sealed.push_back(skb);
    }
    if let Some(mut first) = sealed.front_mut() {
        let class = first.cb::<PacketCb>().class;
        if let Some(run) = run.finish(&first) {
            encrypted.push_back(with_class(run, class));
        }
    }
    // The socket hears of all of them together, when bottom halves are enabled. It is not made to
    // send more after each.
    let _bh = bottom_half::disable();
    sealed.consume();
    left
}

/// Notes the class of the outer header of a packet.
fn with_class(mut skb: SkBuff, class: Class) -> SkBuff {
    let cb: &mut PacketCb = skb.cb();
    *cb = PacketCb::default();
    cb.class = class;
    skb
}

fn seal(
    run: &mut Segments<'_>,
    text: &impl Text,
    nonce: u64,
    mtu: u32,
    keypair: &Keypair,
) -> Result {
    let pad = padding(text.len() as u32, mtu) as usize;
    let header = DataHeader::new(keypair.remote_index(), nonce);
    run.push(text, header.as_bytes(), pad, nonce, keypair.sending_key())
}

fn encrypt_packet(skb: &mut SkBuff, keypair: &Keypair) -> Result {
    skb.cow_head(DATA_PACKET_HEAD_ROOM)?;
    seal_in_place(skb, keypair)?;
    skb.reset(true);
    Ok(())
}

/// Turns a packet into the message that it becomes. There must be [`DATA_PACKET_HEAD_ROOM`] bytes
/// in front of it, which are its own.
fn seal_in_place(skb: &mut SkBuff, keypair: &Keypair) -> Result {
    let cb: &mut PacketCb = skb.cb();
    let (nonce, mtu) = (cb.nonce, cb.mtu);
    let pad = padding(skb.len() as u32, mtu) as usize;
    // The inner checksum cannot be filled in once the packet is encrypted.
    skb.checksum_help()?;
    let header = DataHeader::new(keypair.remote_index(), nonce);
    skb.seal(header.as_bytes(), pad, nonce, keypair.sending_key())
}
