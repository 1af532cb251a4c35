// SPDX-License-Identifier: GPL-2.0

//! Why packets are dropped.
//!
//! C header: [`include/net/dropreason-core.h`](srctree/include/net/dropreason-core.h)

use kernel::prelude::*;

use crate::linux::bindings;

/// `enum skb_drop_reason`: why a packet is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum DropReason {
    /// The queue that it waited in was emptied.
    Purged = bindings::skb_drop_reason_SKB_DROP_REASON_QUEUE_PURGE,
    /// A queue is full.
    QueueFull = bindings::skb_drop_reason_SKB_DROP_REASON_FULL_RING,
    /// There is no memory.
    NoMemory = bindings::skb_drop_reason_SKB_DROP_REASON_NOMEM,
    /// The interface is down, or does not exist any more.
    NotReady = bindings::skb_drop_reason_SKB_DROP_REASON_DEV_READY,
    /// There is no socket to send it by.
    NoSocket = bindings::skb_drop_reason_SKB_DROP_REASON_NO_SOCKET,
    /// It is not of a protocol that is handled here.
    Protocol = bindings::skb_drop_reason_SKB_DROP_REASON_UNHANDLED_PROTO,
    /// What the driver puts in front of a packet, or behind it, is not valid.
    DriverHeader = bindings::skb_drop_reason_SKB_DROP_REASON_DEV_HDR,
    /// Its IP header is wrong.
    IpHeader = bindings::skb_drop_reason_SKB_DROP_REASON_IP_INHDR,
    /// Packets to its source address would not go where it came from.
    Source = bindings::skb_drop_reason_SKB_DROP_REASON_IP_RPFILTER,
    /// There is nobody to send it to.
    NoTarget = bindings::skb_drop_reason_SKB_DROP_REASON_NO_TX_TARGET,
    /// There is no route.
    NoRoute = bindings::skb_drop_reason_SKB_DROP_REASON_IP_OUTNOROUTES,
    /// It cannot be taken apart into segments.
    Segments = bindings::skb_drop_reason_SKB_DROP_REASON_SKB_GSO_SEG,
}

impl DropReason {
    /// The reason of a failure with this error: [`DropReason::NoMemory`] or `other`.
    pub(crate) fn no_room(error: &Error, other: Self) -> Self {
        if *error == ENOMEM {
            Self::NoMemory
        } else {
            other
        }
    }
}
