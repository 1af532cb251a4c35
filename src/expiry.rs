// SPDX-License-Identifier: GPL-2.0

//! What happens when a timer of a peer expires. [`protocol::timers`](crate::protocol::timers)
//! decides, this file acts.

use kernel::{
    sync::Arc,
    workqueue::WorkItem, //
};

use crate::{
    debug::dev_dbg,
    events::Event,
    linux::{
        rcu,
        timer::{
            Timer,
            TimerCallback, //
        }, //
    },
    protocol::{
        limits::{
            KEEPALIVE_TIMEOUT,
            MAX_TIMER_HANDSHAKES,
            REJECT_AFTER_TIME,
            REKEY_TIMEOUT, //
        },
        timers::{
            self as decisions,
            Retransmit, //
        },
    },
    state::{
        peer::Peer,
        timers::{
            NEW_HANDSHAKE,
            PERSISTENT_KEEPALIVE,
            RETRANSMIT_HANDSHAKE,
            SEND_KEEPALIVE,
            ZERO_KEY_MATERIAL, //
        },
    }, //
};

impl TimerCallback<RETRANSMIT_HANDSHAKE> for Peer {
    fn timer(&self) -> &Timer<Self, RETRANSMIT_HANDSHAKE> {
        &self.timers.retransmit_handshake
    }

    fn expired(this: Arc<Self>) {
        let timers = &this.timers;
        this.refuse_candidate();
        if !timers.state.handshake_wanted() {
            // Only a probe was not answered.
            this.send_queued_probe();
            return;
        }
        if !this.handshake_may_be_sent() {
            // A response was sent lately, or the clock is a moment behind the timer. Nothing may be
            // sent yet, so it is too early to count the attempt or to go on to the next endpoint.
            this.put_handshake_off();
            return;
        }
        match timers
            .state
            .retransmit_handshake_expired(timers.zero_key_material.is_pending())
        {
            Retransmit::GiveUp(changes) => {
                dev_dbg!(
                    this.device,
                    "Handshake for peer {} ({}) did not complete after {} attempts, giving up\n",
                    this.id,
                    this.endpoint.shown(),
                    MAX_TIMER_HANDSHAKES.saturating_add(2)
                );
                this.happened(Event::HandshakeGivenUp);
                this.purge_staged_packets();
                for change in changes {
                    this.apply(change);
                }
            }
            Retransmit::Retry(attempts) => {
                dev_dbg!(
                    this.device,
                    "Handshake for peer {} ({}) did not complete after {} seconds, retrying (try {})\n",
                    this.id,
                    this.endpoint.shown(),
                    REKEY_TIMEOUT,
                    attempts.saturating_add(1)
                );
                // It may be the source address that does not get through.
                this.endpoint.clear_src();
                this.try_next_endpoint();
                this.send_queued_handshake_initiation(true);
            }
        }
    }
}

impl TimerCallback<SEND_KEEPALIVE> for Peer {
    fn timer(&self) -> &Timer<Self, SEND_KEEPALIVE> {
        &self.timers.send_keepalive
    }

    fn expired(this: Arc<Self>) {
        // Before the keepalive is sent, which stops the timer again: another one is only due if
        // this one cannot be sent.
        this.apply(this.timers.state.send_keepalive_expired());
        this.send_keepalive();
    }
}

impl TimerCallback<NEW_HANDSHAKE> for Peer {
    fn timer(&self) -> &Timer<Self, NEW_HANDSHAKE> {
        &self.timers.new_handshake
    }

    fn expired(this: Arc<Self>) {
        dev_dbg!(
            this.device,
            "Retrying handshake with peer {} ({}) because we stopped hearing back after {} seconds\n",
            this.id,
            this.endpoint.shown(),
            KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT)
        );
        // It may be the source address that does not get through.
        this.endpoint.clear_src();
        this.send_queued_handshake_initiation(false);
    }
}

impl TimerCallback<ZERO_KEY_MATERIAL> for Peer {
    fn timer(&self) -> &Timer<Self, ZERO_KEY_MATERIAL> {
        &self.timers.zero_key_material
    }

    fn expired(this: Arc<Self>) {
        let _guard = rcu::Guard::new();
        if !this.is_dead() {
            // By a work item, as the handshake's lock sleeps. One that is queued already will do.
            let device = this.device.clone();
            let _ = device
                .work_queues
                .handshake_send
                .enqueue::<_, { Peer::CLEAR_WORK }>(this);
        }
    }
}

impl WorkItem<{ Peer::CLEAR_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        dev_dbg!(
            this.device,
            "Zeroing out all keys for peer {} ({}), since we haven't received a new one in {} seconds\n",
            this.id,
            this.endpoint.shown(),
            REJECT_AFTER_TIME.saturating_mul(3)
        );
        this.happened(Event::SessionExpired);
        this.clear_handshake();
        this.keypairs.clear(&this.device.index_table);
    }
}

impl TimerCallback<PERSISTENT_KEEPALIVE> for Peer {
    fn timer(&self) -> &Timer<Self, PERSISTENT_KEEPALIVE> {
        &self.timers.persistent_keepalive
    }

    fn expired(this: Arc<Self>) {
        let interval = this.persistent_keepalive_interval();
        if decisions::persistent_keepalive_expired(interval) {
            // Sending arms the timer again. It is armed before that, too, so that the next
            // keepalive is sent if this one finds no memory.
            this.apply(decisions::any_authenticated_packet_traversal(interval));
            this.send_keepalive();
        }
    }
}
