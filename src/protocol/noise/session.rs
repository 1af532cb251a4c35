// SPDX-License-Identifier: GPL-2.0

//! What a handshake ends with: the keys of a session.

use kernel::prelude::*;

use super::SymmetricKey;
use crate::{
    linux::crypto::Secret,
    protocol::symmetric::SymmetricState, //
};

/// The result of a handshake: the session's keys and the data that go with them. Section 5.4.5 of
/// the paper.
#[derive(Zeroable)]
pub(crate) struct Session {
    /// The key of messages to the peer.
    pub(crate) sending: SymmetricKey,
    /// The key of messages from the peer.
    pub(crate) receiving: SymmetricKey,
    /// The clock reading when the session began, in nanoseconds.
    pub(crate) birthdate: u64,
    /// The other side's index of this session: `key_idx` of the messages to it.
    pub(crate) remote_index: u32,
    /// Whether this side sent the initiation.
    pub(crate) i_am_the_initiator: bool,
    /// The order of the message that this side made for the session: the initiation as initiator,
    /// the response as responder. Of two messages of a peer, the later one has the higher order.
    pub(crate) order: u64,
}

impl Session {
    /// A place for [`Finished::begin_session`] to write to.
    pub(crate) const fn zeroed() -> Self {
        Self {
            sending: Secret::zeroed(),
            receiving: Secret::zeroed(),
            birthdate: 0,
            remote_index: 0,
            i_am_the_initiator: false,
            order: 0,
        }
    }
}

/// A handshake whose two messages are made and read: the session may begin.
pub(crate) struct Finished {
    pub(super) symmetric: SymmetricState,
    pub(super) remote_index: u32,
    pub(super) i_am_the_initiator: bool,
    /// As in [`Session`]; 0 if no handshake is finished.
    pub(super) order: u64,
}

impl Finished {
    /// A place for [`Handshake::answer`](super::Handshake::answer) and
    /// [`Handshake::take_response`](super::Handshake::take_response) to write to.
    pub(crate) const fn zeroed() -> Self {
        Self {
            symmetric: SymmetricState::zeroed(),
            remote_index: 0,
            i_am_the_initiator: false,
            order: 0,
        }
    }

    /// Derives the keys of the session into `session`, once.
    ///
    /// `now_ns` is the clock reading. Returns whether there was a finished handshake. If not,
    /// `session` is unchanged.
    #[must_use]
    pub(crate) fn begin_session(&mut self, session: &mut Session, now_ns: u64) -> bool {
        if self.order == 0 {
            return false;
        }
        let keys = if self.i_am_the_initiator {
            [&mut session.sending, &mut session.receiving]
        } else {
            [&mut session.receiving, &mut session.sending]
        };
        self.symmetric.split(keys);
        session.birthdate = now_ns;
        session.remote_index = self.remote_index;
        session.i_am_the_initiator = self.i_am_the_initiator;
        session.order = self.order;
        self.symmetric.clear();
        self.order = 0;
        true
    }
}
