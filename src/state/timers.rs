// SPDX-License-Identifier: GPL-2.0

//! The timers of a peer, and the events that arm and stop them.
//! [`protocol::timers`](crate::protocol::timers) decides which, [`expiry`](crate::expiry) acts when
//! one expires.

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc,
        ArcBorrow, //
    },
    time::msecs_to_jiffies, //
};

use super::peer::Peer;
use crate::{
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
    protocol::{
        limits::REKEY_TIMEOUT_JITTER_MAX_MSECS,
        timers::{
            self as decisions,
            Change, //
        },
    },
};

/// [`Timers::retransmit_handshake`].
pub(crate) const RETRANSMIT_HANDSHAKE: usize = 0;
/// [`Timers::send_keepalive`].
pub(crate) const SEND_KEEPALIVE: usize = 1;
/// [`Timers::new_handshake`].
pub(crate) const NEW_HANDSHAKE: usize = 2;
/// [`Timers::zero_key_material`].
pub(crate) const ZERO_KEY_MATERIAL: usize = 3;
/// [`Timers::persistent_keepalive`].
pub(crate) const PERSISTENT_KEEPALIVE: usize = 4;

/// The timers of a peer. An armed one keeps the peer alive.
#[pin_data]
pub(crate) struct Timers {
    /// An initiation was sent, and its response has not come yet.
    #[pin]
    pub(crate) retransmit_handshake: Timer<Peer, RETRANSMIT_HANDSHAKE>,
    /// Something was received, and nothing is sent in return.
    #[pin]
    pub(crate) send_keepalive: Timer<Peer, SEND_KEEPALIVE>,
    /// Something was sent, and nothing comes back.
    #[pin]
    pub(crate) new_handshake: Timer<Peer, NEW_HANDSHAKE>,
    /// The keys are too old to be of any use.
    #[pin]
    pub(crate) zero_key_material: Timer<Peer, ZERO_KEY_MATERIAL>,
    /// The peer is sent something even if there is nothing to send.
    #[pin]
    pub(crate) persistent_keepalive: Timer<Peer, PERSISTENT_KEEPALIVE>,
    /// What the decisions depend on, besides the timers.
    pub(crate) state: decisions::State,
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
    /// Arms or stops a timer.
    pub(crate) fn apply(self: &Arc<Self>, change: Change) {
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

    /// A probe is due in `left_ns` nanoseconds.
    pub(crate) fn timers_probe_put_off(self: &Arc<Self>, left_ns: u64) {
        self.apply(decisions::probe_put_off(left_ns));
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
