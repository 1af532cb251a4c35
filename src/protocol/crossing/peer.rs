// SPDX-License-Identifier: GPL-2.0

//! A peer of the model, with its keypairs and the messages on their way to it.

use core::cell::Cell;
use kernel::prelude::*;

use crate::{
    linux::crypto::Secret,
    protocol::{
        identity::{
            PublicKey,
            StaticIdentity, //
        },
        keypairs::{
            Ordered,
            Slots, //
        },
        messages::{
            HandshakeInitiation,
            HandshakeResponse, //
        },
        noise::{
            Handshake,
            Session, //
        },
    },
};

pub(super) struct Keypair {
    pub(super) index: u32,
    pub(super) session: Session,
    /// Whether the peer is known to have the keys.
    pub(super) confirmed: Cell<bool>,
}

impl Ordered for Keypair {
    fn order(&self) -> u64 {
        self.session.order
    }
}

impl Keypair {
    /// Whether `self` and `other` are the two ends of a session.
    pub(super) fn is_other_end_of(&self, other: &Self) -> bool {
        self.session.remote_index == other.index
            && other.session.remote_index == self.index
            && self.session.sending.ct_eq(&other.session.receiving)
            && self.session.receiving.ct_eq(&other.session.sending)
    }
}

/// The keypairs of a peer.
pub(super) enum Keys {
    Ours(Slots<Keypair>),
    /// As the C module keeps them: previous, current and next.
    C([Option<Keypair>; 3]),
}

impl Keys {
    pub(super) fn all(&self) -> [Option<&Keypair>; 3] {
        match self {
            Self::Ours(slots) => [slots.previous(), slots.current(), slots.next()],
            Self::C(keys) => keys.each_ref().map(Option::as_ref),
        }
    }

    pub(super) fn current(&self) -> Option<&Keypair> {
        let [_, current, _] = self.all();
        current
    }

    pub(super) fn find(&self, index: u32) -> Option<&Keypair> {
        let mut all = self.all().into_iter().flatten();
        all.find(|keypair| keypair.index == index)
    }

    pub(super) fn insert(&mut self, new: Keypair, wins: bool) {
        match self {
            Self::Ours(slots) if new.session.i_am_the_initiator => {
                drop(slots.insert_as_initiator(new, wins));
            }
            Self::Ours(slots) => drop(slots.insert_as_responder(new)),
            Self::C([previous, current, next]) => {
                if new.session.i_am_the_initiator {
                    let old = current.replace(new);
                    *previous = next.take().or(old);
                } else {
                    *next = Some(new);
                    *previous = None;
                }
            }
        }
    }

    /// A message was received with the keypair that has this index. Returns whether the next
    /// keypair left its slot by that.
    pub(super) fn received_with(&mut self, index: u32) -> bool {
        match self {
            Self::Ours(slots) => slots.confirm(|next| next.index == index).is_some(),
            Self::C([previous, current, next]) => {
                let confirmed = next.take_if(|next| next.index == index);
                let changed = confirmed.is_some();
                if changed {
                    *previous = core::mem::replace(current, confirmed);
                }
                changed
            }
        }
    }
}

pub(super) enum Message {
    Initiation(HandshakeInitiation),
    Response(HandshakeResponse),
    /// A data message: the receiver's index, and the key that it is encrypted with.
    Data(u32, [u8; 32]),
}

pub(super) struct Peer {
    pub(super) identity: StaticIdentity,
    pub(super) handshake: Handshake,
    pub(super) keys: Keys,
    /// Whether it may still begin.
    pub(super) may_begin: bool,
    /// Whether it has begun.
    pub(super) has_begun: bool,
    /// Messages to this peer, in order.
    pub(super) inbox: KVec<Message>,
    /// Data messages that this peer could not read.
    pub(super) unreadable: u32,
}

impl Peer {
    pub(super) fn new(private: &[u8; 32], remote_private: &[u8; 32]) -> Self {
        let mut peer = Self {
            identity: StaticIdentity::none(),
            handshake: Handshake::zeroed(),
            keys: Keys::Ours(Slots::new()),
            may_begin: false,
            has_begun: false,
            inbox: KVec::new(),
            unreadable: 0,
        };
        let mut remote = StaticIdentity::none();
        remote.set_private_key(&Secret::from_bytes(remote_private));
        peer.identity.set_private_key(&Secret::from_bytes(private));
        let public = remote.public_key();
        peer.handshake
            .set_remote_static(public.unwrap_or(&PublicKey::zeroed()));
        peer.handshake.precompute_static_static(&peer.identity);
        peer
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.keys, Keys::Ours(_))
    }
}
