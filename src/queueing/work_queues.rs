// SPDX-License-Identifier: GPL-2.0

//! The work queues, which all devices share: one with work queues of its own would have a thread of
//! its own, too, the rescuer of a queue that memory may be waiting for.

use kernel::prelude::*;

use crate::linux::workqueue::{
    Flags,
    OwnedQueue, //
};

/// Where the work of all devices runs. The names of the queues are those of the C module.
pub(crate) struct WorkQueues {
    /// Runs the workers of the crypt queues, and the peers' work of encryption.
    pub(crate) packet_crypt: OwnedQueue,
    /// Runs the peers' work of sending encrypted batches, in softirq context.
    pub(crate) transmit: OwnedQueue,
    /// Runs the workers that read handshake messages.
    pub(crate) handshake_receive: OwnedQueue,
    /// Runs the peers' work of sending handshake messages and of clearing keys.
    pub(crate) handshake_send: OwnedQueue,
}

impl WorkQueues {
    /// New work queues. Process context. `ENOMEM` if there is no memory.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            // One work item at a time on a CPU: more would only take the CPU from one another.
            packet_crypt: OwnedQueue::new(
                fmt!("wg-crypt"),
                Flags::CPU_INTENSIVE | Flags::MEM_RECLAIM | Flags::PERCPU,
                1,
            )?,
            transmit: OwnedQueue::new(fmt!("wg-transmit"), Flags::BH | Flags::PERCPU, 0)?,
            handshake_receive: OwnedQueue::new(
                fmt!("wg-kex-receive"),
                Flags::CPU_INTENSIVE | Flags::FREEZABLE | Flags::PERCPU,
                0,
            )?,
            handshake_send: OwnedQueue::new(
                fmt!("wg-kex-send"),
                Flags::UNBOUND | Flags::FREEZABLE,
                0,
            )?,
        })
    }
}
