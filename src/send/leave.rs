// SPDX-License-Identifier: GPL-2.0

//! Leaving: what is encrypted goes to the socket, in order and on the transmit CPU of the peer.

use kernel::{
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc, //
    },
    workqueue::WorkItem, //
};

use crate::{
    class::Class,
    events::Event,
    linux::{
        bottom_half,
        compat::code::{
            EAFNOSUPPORT,
            EDQUOT,
            ENONET, //
        },
        netdevice::Stat,
        rcu,
        skbuff::{
            DropReason,
            SkbList, //
        },
    },
    packet::PacketCb,
    protocol::{
        messages::message_data_len,
        timers::rekey_after_sending, //
    },
    socket::{
        skb_from_bytes,
        Course,
        Endpoint,
        Sender, //
    },
    state::{
        device::Device,
        peer::Peer, //
    },
    trace,
    tuning::MAX_SENT_IN_TURN, //
};

impl Peer {
    /// Sends the encrypted batches in order, on the transmit CPU: inline if this is that CPU,
    /// otherwise by [`Peer::TRANSMIT_WORK`]. Process and softirq context.
    pub(super) fn transmit(self: &Arc<Self>) {
        loop {
            let more = {
                let bh = bottom_half::disable();
                if self.is_dead() || self.transmit_cpu.is_here(&bh) {
                    self.transmit_some()
                } else {
                    // If the first batch is not done, the thread that encrypts it comes here later,
                    // and sees to the batches behind it, too.
                    self.tx_queue.is_first_done()
                }
            };
            // A peer that is being removed sends nothing: its batches are dropped inline, which
            // takes no time.
            if !more || self.queue_transmit_work() {
                return;
            }
        }
    }

    /// Sends some of the encrypted batches. Returns whether there are more.
    fn transmit_some(self: &Arc<Self>) -> bool {
        self.tx_queue.drain(MAX_SENT_IN_TURN, |batch| {
            let packets = batch.take();
            if packets.is_empty() {
                return;
            }
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.send_packets(packets);
            let guard = rcu::Guard::new();
            self.keep_key_fresh(&guard, |keypair, now_ns| {
                rekey_after_sending(
                    keypair.i_am_the_initiator(),
                    keypair.birthdate(),
                    keypair.sending_counter(),
                    now_ns,
                )
            });
        })
    }

    /// Has the transmit CPU send the encrypted batches. Does nothing, and returns `false`, if the
    /// peer is being removed.
    fn queue_transmit_work(self: &Arc<Self>) -> bool {
        let _guard = rcu::Guard::new();
        if self.is_dead() {
            return false;
        }
        // A work item that is queued already will do.
        let _ = self
            .device
            .work_queues
            .transmit
            .enqueue_on::<_, { Peer::TRANSMIT_WORK }>(self.transmit_cpu.get(), self.clone());
        true
    }

    /// Sends messages with data to the peer, in order, each with the class that its control block
    /// says.
    ///
    /// Any context but hard interrupts. Messages that cannot be sent are dropped. `ip -s link`
    /// shows those that the networking core dropped and those to a removed peer, but not those to a
    /// peer without a route.
    fn send_packets(self: &Arc<Self>, mut packets: SkbList) {
        // Errors are in the log already.
        let _ = with_sender(&self.device, |sender| {
            if self.is_stopped() {
                let segments = packets.iter_mut().map(|skb| skb.segments());
                let dropped = segments.fold(0, usize::wrapping_add);
                sender.dev().stats_add(Stat::TxDropped, dropped);
                self.count_stopped(dropped);
                return Err(ENOENT);
            }
            let course = match self.endpoint.course(sender) {
                Ok(course) => course,
                Err(error) => {
                    let segments = packets.iter_mut().map(|skb| skb.segments());
                    let event = self.count_unsent(&error, segments.fold(0, usize::wrapping_add));
                    packets.take().discard(event.drop_reason());
                    return Err(error);
                }
            };
            // Before they leave: the answer stops the timer, and may be here before this returns.
            if packets.iter_mut().any(|skb| !is_keepalive(skb.len())) {
                self.timers_data_sent();
            }
            while let Some(mut skb) = packets.pop_front() {
                let (len, class) = (skb.len(), skb.cb::<PacketCb>().class);
                let next_path;
                let path = match &course {
                    Course::Settled(path) => path,
                    Course::Open => {
                        let policy = self.device.settings.roaming_policy();
                        let count = skb.segments();
                        next_path = match self.endpoint.next_path(sender, len, count, policy) {
                            Ok(path) => path,
                            Err(error) => {
                                if error == EDQUOT {
                                    sender.dev().stats_add(Stat::TxDropped, skb.segments());
                                }
                                let event = self.count_unsent(&error, skb.segments());
                                skb.discard(event.drop_reason());
                                continue;
                            }
                        };
                        &next_path
                    }
                };
                match sender.xmit(path, skb, class) {
                    Ok(()) => self.tx_bytes.add(len as u64, Relaxed),
                    Err(error) => self.count(Event::no_room(&error, Event::SendFailed), 1),
                }
                if is_keepalive(len) {
                    self.count(Event::KeepaliveSent, 1);
                }
            }
            Ok(())
        });
        // Left over if there are no sockets, or the peer is gone.
        packets.discard(DropReason::NotReady);
        self.probe_if_due();
    }

    /// Sends a handshake message to the peer at `endpoint`, with TOS byte or traffic class `ds`.
    ///
    /// Any context but hard interrupts. A loss is not reported.
    pub(crate) fn send_buffer(&self, message: &[u8], ds: u8, endpoint: &Endpoint) {
        // Errors are in the log already.
        let _ = with_sender(&self.device, |sender| {
            if self.is_stopped() {
                return Err(ENOENT);
            }
            self.endpoint
                .path_to(sender, endpoint)
                .and_then(|path| sender.xmit(&path, skb_from_bytes(message)?, Class::of(ds)))
                .inspect_err(|error| {
                    self.count_unsent(error, 1);
                })?;
            self.tx_bytes.add(message.len() as u64, Relaxed);
            trace::sent(&self.device.netdev, self.id, message, endpoint);
            Ok(())
        });
    }

    /// Counts `n` messages that did not leave as the peer is [stopped](Peer::is_stopped): they are
    /// of no interest if it is being removed.
    fn count_stopped(&self, n: usize) {
        if self.is_disabled() {
            self.count(Event::PeerDisabled, n);
        }
    }

    /// Counts `n` messages that did not leave, by the error of looking up a route or sending.
    /// Returns as what they are counted.
    fn count_unsent(&self, error: &Error, n: usize) -> Event {
        if *error == ENXIO {
            self.device.count(Event::NotAsBound, n);
            return Event::NotAsBound;
        }
        let event = if *error == EAFNOSUPPORT || *error == EDQUOT {
            Event::NoEndpoint
        } else if *error == ENONET || *error == ENODEV {
            Event::SendFailed
        } else {
            Event::no_room(error, Event::NoRoute)
        };
        self.count(event, n);
        event
    }
}

impl WorkItem<{ Peer::TRANSMIT_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.transmit();
    }
}

impl Device {
    /// Sends a message to the endpoint that another one came from. As [`Peer::send_buffer`].
    pub(crate) fn send_buffer_as_reply(&self, endpoint: &Endpoint, message: &[u8]) {
        let _ = with_sender(self, |sender| {
            let path = sender.path_to(endpoint).inspect_err(|error| {
                if *error == ENXIO {
                    self.count(Event::NotAsBound, 1);
                }
            })?;
            sender.xmit(&path, skb_from_bytes(message)?, Class::default())?;
            trace::sent(&self.netdev, 0, message, endpoint);
            Ok(())
        });
    }
}

/// Runs `f` with the means to send, in an RCU read-side critical section. If `f` finds that a peer
/// is not [stopped](Peer::is_stopped), its sending is over before the removal of the peer is, or
/// before [`Peer::disable`] returns.
fn with_sender<T>(device: &Device, f: impl FnOnce(&Sender<'_>) -> Result<T>) -> Result<T> {
    let fwmark = device.fwmark.load(Relaxed);
    device.sockets.with_sender(&device.netdev, fwmark, f)
}

/// Whether a data message of `len` bytes has no contents.
fn is_keepalive(len: usize) -> bool {
    len == message_data_len(0)
}
