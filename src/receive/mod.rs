// SPDX-License-Identifier: GPL-2.0

//! Receiving.
//!
//! A packet's way through this folder, from the UDP socket, a file for each station:
//!
//! 1. `arrive.rs`: a datagram is sorted by the type of the message. Handshake messages go to a
//!    [queue of their own](crate::queueing::Inbox). A data message waits for the NAPI of the CPU,
//!    and for the messages right behind it.
//! 2. [`poll`]: the NAPI has its turn with all that has arrived.
//! 3. `sort.rs`: consecutive messages of one keypair become a batch.
//! 4. `decrypt.rs`: the batch is decrypted, inline if there is little to do, otherwise by a worker.
//! 5. `deliver.rs`: the batches of a peer are delivered in order, by one of the device's NAPIs. A
//!    batch that was decrypted inline, with nothing before it, is delivered inline, too.
//!
//! `handshake.rs` reads the messages that are not data.

use kernel::list::List;

use crate::{
    linux::{
        napi::NapiContext,
        netdevice::NetDevice, //
    },
    state::device::Device, //
};

mod arrive;
mod decrypt;
mod deliver;
mod handshake;
mod sort;

/// Sorts the messages that have arrived, and delivers the decrypted packets of the peers on the
/// list of the NAPI `cpu`. Returns `budget` if there is more to deliver, otherwise less. Softirq
/// context.
///
/// Decrypts at most `budget` messages. The rest of those that have arrived, of which there are
/// [`MAX_QUEUED_PACKETS`](crate::protocol::limits::MAX_QUEUED_PACKETS) at most, is left to workers.
/// Delivers at most as many packets inline, and then about `budget` of those that workers have
/// decrypted: the last batch may go beyond it.
pub(crate) fn poll(
    device: &Device,
    dev: &NetDevice,
    cpu: u32,
    napi: &NapiContext<'_>,
    budget: usize,
) -> usize {
    let Some(queue) = device.rx_queues.get(cpu as usize) else {
        return 0;
    };
    let mut served = List::new();
    let done = sort::sort(device, queue.take_arrived(), budget, dev, napi, &mut served);
    // Half of the budget is for the packets that workers have decrypted: messages that arrive all
    // the time must not keep them waiting.
    let done = done.min(budget / 2);
    deliver::deliver_listed(queue, served, done, dev, napi, budget)
}
