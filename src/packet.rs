// SPDX-License-Identifier: GPL-2.0

//! Packets: the module's notes about one of them, and a list that counts the messages that its
//! packets become.

use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use crate::{
    class::Class,
    linux::skbuff::{
        SkBuff,
        SkBuffMut,
        SkbList, //
    },
    protocol::messages::DataHeader,
    socket::SKB_HEADER_LEN, //
};

/// Bytes in front of a packet for all headers that encapsulation puts there.
pub(crate) const DATA_PACKET_HEAD_ROOM: usize =
    (size_of::<DataHeader>() + SKB_HEADER_LEN).next_multiple_of(4);

/// The module's notes about a packet, in the packet's control block.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct PacketCb {
    /// The counter of the data message.
    pub(crate) nonce: u64,
    /// The index that a received data message names.
    pub(crate) receiver: u32,
    /// MTU of the route inside the tunnel, which padding does not exceed; zero: no limit.
    pub(crate) mtu: u32,
    /// Segments besides the first. Their messages have the counters that follow `nonce`.
    pub(crate) more: u16,
    /// Not zero: the message is authentic, but the replay window refuses its counter.
    pub(crate) replayed: u8,
    /// Not zero: when the message arrived, its counter was the highest of its keypair.
    pub(crate) newest: u8,
    /// The class of the outer header: that which it gets, or that with which the message arrived.
    pub(crate) class: Class,
}

impl PacketCb {
    /// The notes about a data message that has arrived.
    pub(crate) fn received(nonce: u64, receiver: u32, ds: u8) -> Self {
        Self {
            nonce,
            receiver,
            class: Class::of(ds),
            ..Self::default()
        }
    }

    /// The notes about segment `index`, counted from 0, once it is a packet of its own.
    pub(crate) fn of_segment(&self, index: usize) -> Self {
        Self {
            nonce: self.nonce.wrapping_add(index as u64),
            more: 0,
            ..*self
        }
    }

    /// The number of messages that the packet becomes.
    pub(crate) fn messages(&self) -> usize {
        usize::from(self.more).wrapping_add(1)
    }
}

/// What waits with a peer for a key, or to be sent together.
pub(crate) struct Waiting {
    /// The packets.
    pub(crate) packets: Staged,
    /// Whether a keepalive waits for a key, which it does only while no packets wait. It takes no
    /// memory meanwhile: a peer that has a persistent keepalive may be away for long.
    pub(crate) keepalive: bool,
}

impl Waiting {
    /// Nothing waits.
    pub(crate) const fn new() -> Self {
        Self {
            packets: Staged::new(),
            keepalive: false,
        }
    }

    /// The number of messages that wait.
    pub(crate) fn messages(&self) -> usize {
        self.packets
            .messages()
            .wrapping_add(usize::from(self.keepalive))
    }
}

/// Packets that wait. Some may have several segments.
pub(crate) struct Staged {
    packets: SkbList,
    messages: usize,
}

impl Staged {
    /// No packets.
    pub(crate) const fn new() -> Self {
        Self {
            packets: SkbList::new(),
            messages: 0,
        }
    }

    /// The number of messages that the packets become.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Appends a packet whose control block is set.
    pub(crate) fn push_back(&mut self, mut skb: SkBuff) {
        self.messages = self.messages.wrapping_add(skb.cb::<PacketCb>().messages());
        self.packets.push_back(skb);
    }

    /// Takes the first packet.
    pub(crate) fn pop_front(&mut self) -> Option<SkBuff> {
        let mut skb = self.packets.pop_front()?;
        self.messages = self.messages.wrapping_sub(skb.cb::<PacketCb>().messages());
        Some(skb)
    }

    /// Appends other packets.
    pub(crate) fn append(&mut self, other: Self) {
        self.messages = self.messages.wrapping_add(other.messages);
        self.packets.append(other.packets);
    }

    /// Takes all of them.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// The packets alone.
    pub(crate) fn into_packets(self) -> SkbList {
        self.packets
    }

    /// Takes packets from the front until they make `most` messages. The last one is not split, so
    /// they may make more.
    pub(crate) fn take_some(&mut self, most: usize) -> Self {
        if self.messages <= most {
            return self.take();
        }
        let mut some = Self::new();
        while some.messages < most {
            let Some(skb) = self.pop_front() else {
                break;
            };
            some.push_back(skb);
        }
        some
    }

    /// The packets, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = SkBuffMut<'_>> {
        self.packets.iter_mut()
    }
}
