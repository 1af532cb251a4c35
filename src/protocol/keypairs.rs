// SPDX-License-Identifier: GPL-2.0

//! The three places for a peer's keypairs, and how keypairs move through them.
//!
//! ```text
//!  we initiated:   new ──► current ──► previous ──► gone        (a waiting next goes to previous instead of current)
//!  we responded:   new ──► next ─(first message received with it)─► current ──► previous ──► gone
//! ```
//!
//! The initiator knows from the response that both sides have the keys. The responder does not know before it
//! receives a message made with them, and sends with the current ones until then: sections 5.4.5 and 6.3 of the paper.

/// Keypairs that no longer have a place: the owner takes them out of the table of indices and drops them.
pub(crate) type Displaced<K, const N: usize> = [Option<K>; N];

/// A peer's keypairs by the part they play. `K` is a reference to one.
pub(crate) struct Slots<K> {
    previous: Option<K>,
    current: Option<K>,
    next: Option<K>,
}

impl<K> Slots<K> {
    /// No keypairs.
    pub(crate) const fn new() -> Self {
        Self {
            previous: None,
            current: None,
            next: None,
        }
    }

    /// The keypair before the current one, with which messages still under way may be received.
    pub(crate) const fn previous(&self) -> Option<&K> {
        self.previous.as_ref()
    }

    /// The keypair that messages are sent with.
    pub(crate) const fn current(&self) -> Option<&K> {
        self.current.as_ref()
    }

    /// The keypair that waits for the initiator to show that it has it too.
    pub(crate) const fn next(&self) -> Option<&K> {
        self.next.as_ref()
    }

    /// Takes in a keypair that a handshake has just made, and returns those it displaces.
    pub(crate) fn insert(&mut self, new: K, i_am_the_initiator: bool) -> Displaced<K, 2> {
        let oldest = self.previous.take();
        if i_am_the_initiator {
            let current = self.current.replace(new);
            match self.next.take() {
                // The other side has the unconfirmed one at least as likely as the current one: it stays to receive.
                Some(next) => {
                    self.previous = Some(next);
                    [current, oldest]
                }
                None => {
                    self.previous = current;
                    [None, oldest]
                }
            }
        } else {
            [self.next.replace(new), oldest]
        }
    }

    /// Makes the next keypair the current one if `is_received` says that it is the one a message was just received
    /// with, and returns what that displaces; `None` if it is not, and nothing changes.
    pub(crate) fn confirm(
        &mut self,
        is_received: impl FnOnce(&K) -> bool,
    ) -> Option<Displaced<K, 1>> {
        let next = self.next.take_if(|next| is_received(next))?;
        let oldest = self.previous.take();
        self.previous = self.current.replace(next);
        Some([oldest])
    }

    /// Takes out all keypairs.
    pub(crate) fn clear(&mut self) -> Displaced<K, 3> {
        [self.next.take(), self.previous.take(), self.current.take()]
    }
}
