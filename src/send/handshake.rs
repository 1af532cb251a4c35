// SPDX-License-Identifier: GPL-2.0

//! Sending the messages of a handshake, and asking for one.

use kernel::{
    prelude::*,
    sync::Arc,
    workqueue::WorkItem, //
};
use zerocopy::IntoBytes;

use crate::{
    debug::dev_dbg_ratelimited,
    events::Event,
    linux::{
        compat::code::ENOKEY,
        ktime,
        rcu, //
    },
    noise::Initiation,
    protocol::{
        cookie::{
            CookieSecret,
            Source, //
        },
        messages::{
            HandshakeResponse,
            Macs,
            HANDSHAKE_DSCP, //
        }, //
    },
    socket::{
        Endpoint,
        Shown, //
    },
    state::{
        device::Device,
        peer::{
            Keypair,
            Peer, //
        }, //
    },
};

impl Peer {
    /// Asks for a handshake while there is still time, if there is a key to send with and `is_old`
    /// says that it has been used for long enough. `is_old` is given the present time, too:
    /// `ktime_get_coarse_boottime_ns()`.
    pub(crate) fn keep_key_fresh(
        self: &Arc<Self>,
        guard: &rcu::Guard,
        is_old: impl FnOnce(&Keypair, u64) -> bool,
    ) {
        let rekey = self.keypairs.current().load(guard).is_some_and(|keypair| {
            keypair.is_sending_valid() && is_old(&keypair, ktime::coarse_boottime_ns())
        });
        if rekey {
            self.send_queued_handshake_initiation(false);
        }
    }

    /// Asks for a handshake. It begins unless a handshake message was sent lately.
    ///
    /// May be called from any context. `is_retry`: the last one went unanswered.
    pub(crate) fn send_queued_handshake_initiation(self: &Arc<Self>, is_retry: bool) {
        self.timers_handshake_requested(is_retry);
        let guard = rcu::Guard::new();
        if !self.handshake_may_be_sent() {
            if is_retry {
                // A response was sent meanwhile, or the clocks differ by a tick. Nothing else would
                // retry.
                self.timers_handshake_put_off();
            }
            return;
        }
        if !self.may_begin(&guard) {
            return;
        }
        // A work item that is queued already will do.
        let _ = self
            .device
            .work_queues
            .handshake_send
            .enqueue::<_, { Peer::HANDSHAKE_WORK }>(self.clone());
    }

    /// Has the candidate of the endpoint probed if that is due, or as soon as it is. Any context.
    #[inline]
    pub(crate) fn probe_if_due(self: &Arc<Self>) {
        let wanted = self.timers.state.handshake_wanted();
        match self
            .endpoint
            .probe_is_due_in(wanted, self.last_sent_handshake_ns())
        {
            Some(0) => self.send_queued_probe(),
            Some(left_ns) => self.timers_probe_put_off(left_ns),
            None => {}
        }
    }

    /// Asks for a probe. None is sent if none is due by then. Any context.
    pub(crate) fn send_queued_probe(self: &Arc<Self>) {
        let guard = rcu::Guard::new();
        if self.may_begin(&guard) {
            // A work item that is queued already will do.
            let _ = self
                .device
                .work_queues
                .handshake_send
                .enqueue::<_, { Peer::HANDSHAKE_WORK }>(self.clone());
        }
    }

    /// Has an initiation that may not be sent yet follow as soon as it may, unless there is a key
    /// to send with meanwhile. Any context.
    pub(crate) fn put_handshake_off(self: &Arc<Self>) {
        if !self.has_key() {
            self.timers_handshake_put_off();
        }
    }

    fn send_handshake_initiation(self: &Arc<Self>) {
        let made = self.create_initiation();
        if made.as_ref().is_err_and(|error| *error == EBUSY) {
            // A response was sent since the handshake was asked for. The session that it begins
            // may never be confirmed.
            if !self.timers.state.handshake_wanted() {
                // It is a probe that is too early, or not due any more.
                self.probe_if_due();
            } else {
                self.put_handshake_off();
            }
            return;
        }
        // The attempt is logged even if it fails, as one with an unusable public key does.
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake initiation to peer {} ({})\n",
            self.id,
            Shown(
                made.as_ref()
                    .map_or_else(|_| self.endpoint.get(), |made| made.to)
            )
        );
        let Initiation {
            mut message,
            to,
            is_probe,
        } = match made {
            Ok(made) => made,
            Err(error) => {
                self.count_unmade(&error);
                if error == ENOMEM || error == EAGAIN {
                    // Treat it as an initiation that got lost: nothing else would retry for the
                    // packets that wait.
                    self.timers_handshake_initiated();
                }
                return;
            }
        };
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        // Where a probe goes, the peer may not be: it is to get its keepalive all the same.
        if !is_probe {
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
        }
        self.handshake_is_sent();
        // Before the message leaves: the response, which stops the timer, may be here before this
        // function goes on.
        self.timers_handshake_initiated();
        self.count(Event::HandshakeBegun, 1);
        self.record.initiated(ktime::monotonic_ns());
        if let Some(to) = &to {
            self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP, to);
        }
    }

    /// Counts an initiation that could not be made, by the error of
    /// [`Peer::create_initiation`].
    fn count_unmade(&self, error: &Error) {
        if *error == EINVAL {
            self.count(Event::NoIdentity, 1);
        } else if *error == ENOKEY {
            self.count(Event::NoPresharedKey, 1);
        } else if *error == ENOMEM {
            self.count(Event::NoMemory, 1);
        }
    }

    /// Sends the answer to a handshake initiation that has just been consumed, to where that came
    /// from. Process context.
    pub(crate) fn send_handshake_response(
        self: &Arc<Self>,
        mut message: HandshakeResponse,
        endpoint: &Endpoint,
    ) {
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake response to peer {} ({})\n",
            self.id,
            endpoint
        );
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        self.timers_session_derived();
        self.timers_any_authenticated_packet_traversal();
        self.timers_any_authenticated_packet_sent();
        self.handshake_is_sent();
        self.count(Event::HandshakeAnswered, 1);
        self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP, endpoint);
    }
}

impl WorkItem<{ Peer::HANDSHAKE_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.send_handshake_initiation();
    }
}

/// Sends a cookie, made with `secret`, in answer to a handshake message that is not processed under
/// load. Process context.
pub(crate) fn send_handshake_cookie(
    device: &Device,
    secret: &CookieSecret,
    endpoint: &Endpoint,
    source: &Source,
    macs: &Macs,
    sender_index: u32,
) {
    dev_dbg_ratelimited!(
        device,
        "Sending cookie response for denied handshake message for {}\n",
        endpoint
    );
    let identity = device.identity.get();
    let reply = identity
        .as_ref()
        .and_then(|identity| identity.mac_keys())
        .and_then(|keys| secret.create_reply(keys, sender_index, macs, source));
    if let Some(reply) = reply {
        device.send_buffer_as_reply(endpoint, reply.as_bytes());
    }
}
