// SPDX-License-Identifier: GPL-2.0

//! The timers of a peer. [`protocol::timers`](crate::protocol::timers) decides, this file acts.

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc,
        ArcBorrow, //
    },
    time::msecs_to_jiffies,
    workqueue::WorkItem, //
};

use crate::{
    debug::dev_dbg,
    linux::{
        ktime,
        random,
        rcu,
        timer::{
            self,
            new_timer,
            Timer,
            TimerCallback, //
        },
        workqueue::flush_work, //
    },
    peer::Peer,
    protocol::{
        limits::{
            KEEPALIVE_TIMEOUT,
            MAX_TIMER_HANDSHAKES,
            REJECT_AFTER_TIME,
            REKEY_TIMEOUT,
            REKEY_TIMEOUT_JITTER_MAX_MSECS, //
        },
        timers::{
            self as decisions,
            Change,
            Retransmit, //
        },
    },
};

const RETRANSMIT_HANDSHAKE: usize = 0;
const SEND_KEEPALIVE: usize = 1;
const NEW_HANDSHAKE: usize = 2;
const ZERO_KEY_MATERIAL: usize = 3;
const PERSISTENT_KEEPALIVE: usize = 4;

/// The timers of a peer. An armed one keeps the peer alive.
#[pin_data]
pub(crate) struct Timers {
    #[pin]
    retransmit_handshake: Timer<Peer, RETRANSMIT_HANDSHAKE>,
    #[pin]
    send_keepalive: Timer<Peer, SEND_KEEPALIVE>,
    #[pin]
    new_handshake: Timer<Peer, NEW_HANDSHAKE>,
    #[pin]
    zero_key_material: Timer<Peer, ZERO_KEY_MATERIAL>,
    #[pin]
    persistent_keepalive: Timer<Peer, PERSISTENT_KEEPALIVE>,
    state: decisions::State,
}

impl Timers {
    /// Timers that are not armed.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            retransmit_handshake <- new_timer!("wireguard::Timers::retransmit_handshake"),
            send_keepalive <- new_timer!("wireguard::Timers::send_keepalive"),
            new_handshake <- new_timer!("wireguard::Timers::new_handshake"),
            zero_key_material <- new_timer!("wireguard::Timers::zero_key_material"),
            persistent_keepalive <- new_timer!("wireguard::Timers::persistent_keepalive"),
            state: decisions::State::new(),
        })
    }
}

fn jitter_msecs() -> u32 {
    random::get_random_u32_below(REKEY_TIMEOUT_JITTER_MAX_MSECS)
}

impl TimerCallback<RETRANSMIT_HANDSHAKE> for Peer {
    fn timer(&self) -> &Timer<Self, RETRANSMIT_HANDSHAKE> {
        &self.timers.retransmit_handshake
    }

    fn expired(this: Arc<Self>) {
        let timers = &this.timers;
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
        this.send_keepalive();
        this.apply(this.timers.state.send_keepalive_expired());
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
                .handshake_send_wq
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
        this.clear_handshake();
        this.keypairs.clear(&this.device);
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

/// Arms the timer `ID` of a peer, unless the peer is being removed or its device is down.
fn modify<const ID: usize>(peer: ArcBorrow<'_, Peer>, msecs: u32)
where
    Peer: TimerCallback<ID>,
{
    let guard = rcu::Guard::new();
    if peer.may_begin(&guard) {
        timer::modify::<Peer, ID>(peer, msecs_to_jiffies(msecs));
    }
}

/// Stops the timer `ID` of a peer. It is first looked at without a lock. That is right for the
/// callers: they race with the code that arms it in any case.
fn cancel<const ID: usize>(peer: ArcBorrow<'_, Peer>)
where
    Peer: TimerCallback<ID>,
{
    if <Peer as TimerCallback<ID>>::timer(&peer).is_pending() {
        timer::cancel::<Peer, ID>(peer);
    }
}

impl Peer {
    fn apply(self: &Arc<Self>, change: Change) {
        let this = self.as_arc_borrow();
        match change {
            Change::Keep => {}
            Change::Arm(timer, msecs) => match timer {
                decisions::Timer::RetransmitHandshake => {
                    modify::<RETRANSMIT_HANDSHAKE>(this, msecs)
                }
                decisions::Timer::SendKeepalive => modify::<SEND_KEEPALIVE>(this, msecs),
                decisions::Timer::NewHandshake => modify::<NEW_HANDSHAKE>(this, msecs),
                decisions::Timer::ZeroKeyMaterial => modify::<ZERO_KEY_MATERIAL>(this, msecs),
                decisions::Timer::PersistentKeepalive => {
                    modify::<PERSISTENT_KEEPALIVE>(this, msecs)
                }
            },
            Change::Cancel(timer) => match timer {
                decisions::Timer::RetransmitHandshake => cancel::<RETRANSMIT_HANDSHAKE>(this),
                decisions::Timer::SendKeepalive => cancel::<SEND_KEEPALIVE>(this),
                decisions::Timer::NewHandshake => cancel::<NEW_HANDSHAKE>(this),
                decisions::Timer::ZeroKeyMaterial => cancel::<ZERO_KEY_MATERIAL>(this),
                decisions::Timer::PersistentKeepalive => cancel::<PERSISTENT_KEEPALIVE>(this),
            },
        }
    }

    /// A data message that is no keepalive was sent.
    pub(crate) fn timers_data_sent(self: &Arc<Self>) {
        let pending = self.timers.new_handshake.is_pending();
        self.apply(decisions::data_sent(pending, jitter_msecs));
    }

    /// A data message that is no keepalive was received.
    pub(crate) fn timers_data_received(self: &Arc<Self>) {
        let pending = self.timers.send_keepalive.is_pending();
        self.apply(self.timers.state.data_received(pending));
    }

    /// A message of any kind was sent.
    pub(crate) fn timers_any_authenticated_packet_sent(self: &Arc<Self>) {
        self.apply(decisions::any_authenticated_packet_sent());
    }

    /// An authentic message of any kind was received.
    pub(crate) fn timers_any_authenticated_packet_received(self: &Arc<Self>) {
        self.apply(decisions::any_authenticated_packet_received());
    }

    /// A message of any kind was sent, or an authentic one received.
    pub(crate) fn timers_any_authenticated_packet_traversal(self: &Arc<Self>) {
        self.apply(decisions::any_authenticated_packet_traversal(
            self.persistent_keepalive_interval(),
        ));
    }

    /// A handshake is about to be asked for.
    pub(crate) fn timers_handshake_requested(&self, is_retry: bool) {
        self.timers.state.handshake_requested(is_retry);
    }

    /// An initiation was sent.
    pub(crate) fn timers_handshake_initiated(self: &Arc<Self>) {
        self.apply(decisions::handshake_initiated(jitter_msecs()));
    }

    /// An initiation that is due has to wait, because a handshake message was sent lately. If
    /// another try is due already, it stays.
    pub(crate) fn timers_handshake_put_off(self: &Arc<Self>) {
        if !self.timers.retransmit_handshake.is_pending() {
            self.apply(decisions::handshake_put_off(
                self.last_sent_handshake_ns(),
                ktime::coarse_boottime_ns(),
                jitter_msecs(),
            ));
        }
    }

    /// Both sides are known to have the keys.
    pub(crate) fn timers_handshake_complete(self: &Arc<Self>) {
        self.apply(self.timers.state.handshake_complete());
        self.last_handshake_ns.store(ktime::real_ns(), Relaxed);
    }

    /// The keys of a session were made.
    pub(crate) fn timers_session_derived(self: &Arc<Self>) {
        self.apply(decisions::session_derived());
    }

    /// Whether to ask for a handshake after something was received with the current keypair.
    pub(crate) fn timers_rekey_after_receiving(
        &self,
        i_am_the_initiator: bool,
        birthdate: u64,
        now_ns: u64,
    ) -> bool {
        self.timers
            .state
            .rekey_after_receiving(i_am_the_initiator, birthdate, now_ns)
    }

    /// Stops all timers, and waits for those that are just expiring. Waits for
    /// [`Peer::CLEAR_WORK`], too, if it is queued: it must not run later and clear other keys.
    /// Process context; it sleeps.
    pub(crate) fn timers_stop(self: &Arc<Self>) {
        let this = self.as_arc_borrow();
        timer::cancel_sync::<_, RETRANSMIT_HANDSHAKE>(this);
        timer::cancel_sync::<_, SEND_KEEPALIVE>(this);
        timer::cancel_sync::<_, NEW_HANDSHAKE>(this);
        timer::cancel_sync::<_, ZERO_KEY_MATERIAL>(this);
        timer::cancel_sync::<_, PERSISTENT_KEEPALIVE>(this);
        flush_work::<_, { Peer::CLEAR_WORK }>(&**self);
    }

    /// Stops the timer that would clear all keys some time from now.
    pub(crate) fn timers_cancel_zero_key_material(self: &Arc<Self>) {
        cancel::<ZERO_KEY_MATERIAL>(self.as_arc_borrow());
    }
}
