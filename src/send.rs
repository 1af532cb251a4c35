// SPDX-License-Identifier: GPL-2.0

//! Sending.
//!
//! A packet's way through this file, from the device's transmit function:
//!
//! 1. [`Peer::stage`]: it waits with the peer, with what else there is. A packet of many TCP segments stays one.
//! 2. [`Peer::send_staged_packets`]: what waits gets counters and becomes a batch, at once or with what else comes until a
//!    worker has its turn; or it goes on waiting while a handshake is asked for.
//! 3. [`encrypt`]: the batch is encrypted, by the caller if it is small, else by a worker. What can walk the stack together
//!    becomes one packet of many datagrams on the way.
//! 4. [`Peer::transmit`]: the batches of a peer go to the socket in order, all of them on one CPU.
//!
//! # Order
//!
//! The packets of a peer leave in the order in which they were staged. [`Peer::staged`] is locked from when packets get
//! counters until their batch is in [`Peer::tx_queue`], which gives batches back in that order. Below, the network stack
//! keeps what one CPU sends in order, but not what several do: a CPU may have a transmit queue of the network card to
//! itself (XPS), and has a backlog of its own for what devices like veth pass on. So a peer has a [`TransmitCpu`], and
//! [`Peer::transmit`] sends on that one alone. Which CPU encrypts does not matter: if it is another one,
//! [`Peer::TRANSMIT_WORK`] has the right one send.
//!
//! If the transmit CPU goes offline another one takes its place. Only then may packets overtake: the kernel passes the
//! backlog of the old CPU to some other one.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    workqueue::WorkItem, //
};
use zerocopy::IntoBytes;

use crate::{
    debug::dev_dbg_ratelimited,
    device::Device,
    linux::{
        bottom_half::{
            self,
            BhGuard, //
        },
        cpumask,
        ktime,
        netdevice::{
            xmit_recursion_level,
            Stat, //
        },
        rcu::{
            self,
            RcuArc, //
        },
        skbuff::{
            Segments,
            SkBuff,
            SkbList,
            Text, //
        }, //
    },
    noise::Keypair,
    peer::Peer,
    protocol::{
        cookie::Source,
        limits::MAX_STAGED_PACKETS,
        messages::{
            message_data_len,
            padding,
            DataHeader,
            Macs,
            HANDSHAKE_DSCP,
            MESSAGE_MINIMUM_LENGTH, //
        },
        timers::rekey_after_sending, //
    },
    queueing::{
        Batch,
        PacketCb,
        Staged, //
    },
    socket::{
        Endpoint,
        SKB_HEADER_LEN, //
    },
    AGGREGATE_TX,
};

/// Bytes in front of a packet for all headers that encapsulation puts there.
pub(crate) const DATA_PACKET_HEAD_ROOM: usize =
    (size_of::<DataHeader>() + SKB_HEADER_LEN).next_multiple_of(4);

/// So many packets are worth waking up another CPU for.
const MIN_SHARED: usize = 32;
/// Packets of a batch at most, if they are not segments of one: those that come after it need not wait for it, nor need the
/// sockets, which may have no more than so much under way.
const MAX_BATCH: usize = 16;
/// So many packets at most are encrypted inline, by the thread that sends them.
const MAX_INLINE: usize = 2;
/// How often that happens before packets are left to a worker, which takes more of them at a time: a stream of single
/// packets would keep the sender's CPU busy, and never have two of them together. The count begins anew when the peer
/// sends something, for then the peer may be waiting for what is sent, and when nothing was to be sent for [`QUIET`].
const MAX_STEPS: u32 = 8;
/// A tenth of a second, in ticks.
const QUIET: u32 = ktime::HZ as u32 / 10;
/// Batches that are sent in a row, before other work of the CPU has its turn.
const MAX_BATCHES_IN_TURN: usize = 16;

/// Decides whether a packet to a peer is encrypted by its sender or left to a worker. What is sent keeps its order
/// either way.
pub(crate) struct Pace {
    /// When something was to be sent last.
    tick: Atomic<u32>,
    /// How often the sender has encrypted since the count began.
    steps: Atomic<u32>,
}

impl Pace {
    /// Nothing was sent yet.
    pub(crate) const fn new() -> Self {
        Self {
            tick: Atomic::new(0),
            steps: Atomic::new(0),
        }
    }

    /// Takes note that something is to be sent.
    fn note(&self) {
        let now = ktime::jiffies() as u32;
        let gone = now.wrapping_sub(self.tick.load(Relaxed));
        if gone != 0 {
            self.tick.store(now, Relaxed);
        }
        if gone >= QUIET {
            self.answered();
        }
    }

    /// Whether the sender may encrypt once more. If two ask concurrently they may be counted as one, which does no harm.
    fn step(&self) -> bool {
        let steps = self.steps.load(Relaxed);
        if steps >= MAX_STEPS {
            return false;
        }
        self.steps.store(steps.wrapping_add(1), Relaxed);
        true
    }

    /// The peer has sent something: it may be waited for.
    pub(crate) fn answered(&self) {
        if self.steps.load(Relaxed) != 0 {
            self.steps.store(0, Relaxed);
        }
    }
}

/// The CPU on which the messages with data of a peer are handed to the network stack.
///
/// It stays the same for as long as it is online. The peers of a machine are spread over its CPUs.
pub(crate) struct TransmitCpu {
    cpu: Atomic<u32>,
    /// A number of the peer's own.
    number: u32,
}

impl TransmitCpu {
    /// None is chosen yet.
    pub(crate) const fn new(number: u32) -> Self {
        Self {
            cpu: Atomic::new(u32::MAX),
            number,
        }
    }

    /// The CPU, which was online a moment ago.
    fn get(&self) -> u32 {
        let cpu = self.cpu.load(Relaxed);
        if cpumask::is_online(cpu) {
            return cpu;
        }
        // Two callers may choose differently while CPUs come and go. The last one is right for all.
        let cpu = cpumask::nth_online(self.number);
        self.cpu.store(cpu, Relaxed);
        cpu
    }

    /// Whether this is the CPU, on which the caller stays for as long as softirqs are off.
    fn is_here(&self, _bh: &BhGuard) -> bool {
        self.get() == cpumask::current()
    }

    /// A CPU to encrypt on what the sender leaves to a worker: the transmit CPU, unless the sender itself is there.
    fn worker(&self) -> u32 {
        let (cpu, current) = (self.get(), cpumask::current());
        if cpu == current {
            cpumask::next_online_after(cpu)
        } else {
            cpu
        }
    }
}

/// Who encrypts a batch.
enum Queued {
    /// The caller.
    Here(Arc<Batch>),
    ForWorkers,
    /// Nobody: there is no key.
    Not,
}

impl Peer {
    /// Puts packets from inside the tunnel to those that wait.
    ///
    /// There is a bound on how many; the oldest make place.
    pub(crate) fn stage(&self, packets: Staged) {
        let mut dropped: usize = 0;
        {
            let mut staged = self.staged.lock();
            // Before the new ones are added, so that none of a packet that was segmented is lost at once.
            while staged.messages() > MAX_STAGED_PACKETS as usize {
                if let Some(mut oldest) = staged.pop_front() {
                    dropped = dropped.wrapping_add(oldest.cb::<PacketCb>().messages());
                }
            }
            staged.append(packets);
        }
        if dropped != 0 {
            self.device.stats_add(Stat::TxDropped, dropped);
        }
    }

    /// Sends the packets that wait, if there is a key; asks for a handshake otherwise.
    ///
    /// Process and softirq context. A few are encrypted inline: who sends little is not to wait for a worker. Many are left
    /// to the workers of all CPUs. What comes in between, again and again, waits for a worker of another CPU, to be joined
    /// by what else comes until that has its turn: who sends much can go on meanwhile.
    pub(crate) fn send_staged_packets(self: &Arc<Self>) {
        let waiting = self.staged.lock().messages();
        if waiting == 0 {
            return;
        }
        self.pace.note();
        if !self.has_key() {
            // Inline: a packet must not count against its socket until a worker has its turn.
            if self.encrypt_staged_packets(true) {
                self.queue_tx_work(self.transmit_cpu.worker());
            }
            return;
        }
        if waiting >= MIN_SHARED {
            while self.encrypt_staged_packets(false) {}
            return;
        }
        let bh = bottom_half::disable();
        // Inside of other tunnels' transmit functions there may not be much stack left.
        if waiting <= MAX_INLINE
            && self.tx_queue.is_idle()
            && xmit_recursion_level(&bh) <= 1
            && self.pace.step()
        {
            let _ = self.encrypt_staged_packets(true);
        } else {
            // The removal of a peer sees to what waits.
            self.queue_tx_work(self.transmit_cpu.worker());
        }
    }

    /// Whether there is a key to send with. Somebody may find out concurrently that it is used up.
    fn has_key(&self) -> bool {
        let guard = rcu::Guard::new();
        self.keypairs
            .current()
            .load(&guard)
            .is_some_and(|keypair| keypair.may_send(ktime::coarse_boottime_ns()))
    }

    /// Has a worker of that CPU encrypt what waits, unless the peer is being removed.
    fn queue_tx_work(self: &Arc<Self>, cpu: u32) {
        let _guard = rcu::Guard::new();
        if !self.is_dead() {
            // If it is queued already, it will do.
            let _ = self
                .device
                .packet_crypt_wq
                .enqueue_on::<_, { Peer::TX_WORK }>(cpu, self.clone());
        }
    }

    /// Has the transmit CPU send what is encrypted. Does nothing, and returns `false`, if the peer is being removed.
    fn queue_transmit_work(self: &Arc<Self>) -> bool {
        let _guard = rcu::Guard::new();
        if self.is_dead() {
            return false;
        }
        // If it is queued already, it will do.
        let _ = self
            .device
            .transmit_wq
            .enqueue_on::<_, { Peer::TRANSMIT_WORK }>(self.transmit_cpu.get(), self.clone());
        true
    }

    /// Makes a batch of packets that wait, and encrypts it `here`, or has workers do that. Returns whether more of them wait.
    fn encrypt_staged_packets(self: &Arc<Self>, here: bool) -> bool {
        let more;
        let queued = {
            // Until the batch is in the queue: whoever takes packets that came later must not get there before.
            let mut staged = self.staged.lock();
            let mut packets = staged.take_some(MAX_BATCH);
            let messages = packets.messages();
            if messages == 0 {
                return false;
            }
            more = staged.messages() != 0;
            match self.number(&mut packets) {
                Some(keypair) => self.queue(keypair, packets, here).map_err(|_| messages),
                None => {
                    packets.append(staged.take());
                    // They are not to count against their sockets for as long as a handshake may take.
                    for mut skb in packets.iter_mut() {
                        skb.orphan();
                    }
                    *staged = packets;
                    Ok(Queued::Not)
                }
            }
        };
        match queued {
            Ok(Queued::Here(batch)) => encrypt(&batch),
            Ok(Queued::ForWorkers) => {}
            Ok(Queued::Not) => {
                self.send_queued_handshake_initiation(false);
                return false;
            }
            Err(dropped) => self.device.stats_add(Stat::TxDropped, dropped),
        }
        more
    }

    /// Gives counters to packets, if there is a key to use them with.
    fn number(&self, packets: &mut Staged) -> Option<RcuArc<Keypair>> {
        let guard = rcu::Guard::new();
        let keypair = self.keypairs.current().load(&guard)?.try_get()?;
        let mut nonce = keypair.reserve(packets.messages() as u32, ktime::coarse_boottime_ns())?;
        for mut skb in packets.iter_mut() {
            let cb: &mut PacketCb = skb.cb();
            cb.nonce = nonce;
            nonce = nonce.wrapping_add(cb.messages() as u64);
        }
        Some(keypair)
    }

    /// Puts a batch into the queue of the peer, to be encrypted by the caller or by workers.
    fn queue(&self, keypair: RcuArc<Keypair>, packets: Staged, here: bool) -> Result<Queued> {
        let _guard = rcu::Guard::new();
        let batch = Batch::new(keypair, packets)?;
        if self.is_dead() {
            return Err(ENOENT);
        }
        if here {
            return Ok(Queued::Here(self.tx_queue.append(batch)?));
        }
        let device = &self.device;
        device
            .encrypt_queue
            .enqueue(&self.tx_queue, batch, &device.packet_crypt_wq)?;
        Ok(Queued::ForWorkers)
    }

    /// Sends a message without contents, if nothing waits to be sent that does as well.
    pub(crate) fn send_keepalive(self: &Arc<Self>) {
        if self.staged.lock().messages() == 0 {
            let Ok(mut skb) = SkBuff::alloc(DATA_PACKET_HEAD_ROOM, MESSAGE_MINIMUM_LENGTH) else {
                return;
            };
            let cb: &mut PacketCb = skb.cb();
            *cb = PacketCb::default();
            let mut packets = Staged::new();
            packets.push_back(skb);
            // Unlike a packet from the stack it may come when the device is down already.
            let guard = rcu::Guard::new();
            if !self.may_begin(&guard) {
                return;
            }
            self.stage(packets);
            dev_dbg_ratelimited!(
                self.device,
                "Sending keepalive packet to peer {} ({})\n",
                self.id,
                self.endpoint.shown()
            );
        }
        self.send_staged_packets();
    }

    /// Asks for a handshake, which is begun unless one was lately.
    ///
    /// May be called from any context. `is_retry`: the last one went unanswered.
    pub(crate) fn send_queued_handshake_initiation(self: &Arc<Self>, is_retry: bool) {
        self.timers_handshake_requested(is_retry);
        let guard = rcu::Guard::new();
        if !self.handshake_may_be_sent() {
            if is_retry {
                // A response was sent meanwhile, or the clocks differ by a tick: nobody else would try once more.
                self.timers_handshake_initiated();
            }
            return;
        }
        if !self.may_begin(&guard) {
            return;
        }
        // If it is queued already, it will do.
        let _ = self
            .device
            .handshake_send_wq
            .enqueue::<_, { Peer::HANDSHAKE_WORK }>(self.clone());
    }

    fn send_handshake_initiation(self: &Arc<Self>) {
        if !self.handshake_may_be_sent() {
            return;
        }
        self.handshake_is_sent();
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake initiation to peer {} ({})\n",
            self.id,
            self.endpoint.shown()
        );
        let mut message = match self.create_initiation() {
            Ok(message) => message,
            Err(error) => {
                // It counts as one that got lost, or nobody would try again for what waits.
                if error == ENOMEM || error == EAGAIN {
                    self.timers_handshake_initiated();
                }
                return;
            }
        };
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        self.timers_any_authenticated_packet_traversal();
        self.timers_any_authenticated_packet_sent();
        self.handshake_is_sent();
        // Before it leaves: the response may be here before this function goes on, and is what stops the timer.
        self.timers_handshake_initiated();
        self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
    }

    /// Answers a handshake initiation that has just been consumed. Process context.
    pub(crate) fn send_handshake_response(self: &Arc<Self>) {
        self.handshake_is_sent();
        dev_dbg_ratelimited!(
            self.device,
            "Sending handshake response to peer {} ({})\n",
            self.id,
            self.endpoint.shown()
        );
        let Some(mut message) = self.create_response() else {
            return;
        };
        self.cookie
            .lock()
            .add_macs(&mut message, ktime::coarse_boottime_ns());
        if self.begin_session() {
            self.timers_session_derived();
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.handshake_is_sent();
            self.send_buffer(message.as_bytes(), HANDSHAKE_DSCP);
        }
    }

    /// Sends the batches that are encrypted, in order, on the transmit CPU: here if this is it, else by
    /// [`Peer::TRANSMIT_WORK`]. Process and softirq context.
    fn transmit(self: &Arc<Self>) {
        loop {
            let more = {
                let bh = bottom_half::disable();
                if self.is_dead() || self.transmit_cpu.is_here(&bh) {
                    self.transmit_some()
                } else {
                    // If it is not done, whoever is encrypting it comes here later, and sees to what is behind it, too.
                    self.tx_queue.is_first_done()
                }
            };
            // A peer that is being removed sends nothing: its batches are dropped here, which takes no time.
            if !more || self.queue_transmit_work() {
                return;
            }
        }
    }

    /// Sends some of them. Returns whether there are more.
    fn transmit_some(self: &Arc<Self>) -> bool {
        self.tx_queue.drain(MAX_BATCHES_IN_TURN, |batch| {
            let packets = batch.take();
            if packets.is_empty() {
                return;
            }
            self.timers_any_authenticated_packet_traversal();
            self.timers_any_authenticated_packet_sent();
            self.send_packets(packets);
            self.keep_key_fresh();
        })
    }

    /// Asks for a handshake if the current key has been used for long enough.
    fn keep_key_fresh(self: &Arc<Self>) {
        let rekey = {
            let guard = rcu::Guard::new();
            self.keypairs.current().load(&guard).is_some_and(|keypair| {
                keypair.is_sending_valid()
                    && rekey_after_sending(
                        keypair.i_am_the_initiator(),
                        keypair.birthdate(),
                        keypair.sending_counter(),
                        ktime::coarse_boottime_ns(),
                    )
            })
        };
        if rekey {
            self.send_queued_handshake_initiation(false);
        }
    }
}

impl WorkItem<{ Peer::TX_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.encrypt_staged_packets(true) {
            this.queue_tx_work(cpumask::current());
        }
    }
}

impl WorkItem<{ Peer::TRANSMIT_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.transmit();
    }
}

impl WorkItem<{ Peer::HANDSHAKE_WORK }> for Peer {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.send_handshake_initiation();
    }
}

/// Answers a handshake message that is not processed under load with a cookie. Process context.
pub(crate) fn send_handshake_cookie(
    device: &Device,
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
    let now_ns = ktime::coarse_boottime_ns();
    let reply = {
        let mut checker = device.cookie_checker.lock();
        checker.rotate(now_ns);
        checker.create_reply(sender_index, macs, source, now_ns)
    };
    if let Some(reply) = reply {
        device.send_buffer_as_reply(endpoint, reply.as_bytes());
    }
}

/// Encrypts a batch, and sends what is encrypted of its peer. Process and softirq context.
pub(crate) fn encrypt(batch: &Batch) {
    let keypair = &batch.keypair;
    let aggregate = AGGREGATE_TX.get();
    let mut encrypted = SkbList::new();
    let mut dropped: usize = 0;
    let mut packets = batch.take();
    while let Some(mut skb) = packets.pop_front() {
        let cb: PacketCb = *skb.cb();
        if cb.more != 0 {
            dropped = dropped.wrapping_add(encrypt_segments(
                skb,
                &cb,
                aggregate,
                keypair,
                &mut encrypted,
            ));
            continue;
        }
        let len = message_len(skb.len(), cb.mtu);
        if aggregate && !skb.goes_alone() && follows(&mut packets, len, &skb, cb.ds) {
            if let Ok(run) = Segments::new(SKB_HEADER_LEN, len, packets.len().wrapping_add(1)) {
                match encrypt_run(run, skb, &mut packets, keypair, &mut encrypted) {
                    None => continue,
                    // For want of memory.
                    Some(left) => skb = left,
                }
            }
        }
        match encrypt_packet(&mut skb, keypair) {
            Ok(()) => encrypted.push_back(skb),
            Err(_) => dropped = dropped.wrapping_add(1),
        }
    }
    if dropped != 0 {
        keypair.peer.device.stats_add(Stat::TxDropped, dropped);
    }
    batch.finish(encrypted);
    keypair.peer.transmit();
}

/// Length of the message that a packet of `len` bytes becomes, where the route has this MTU.
fn message_len(len: usize, mtu: u32) -> usize {
    message_data_len(len.saturating_add(padding(len as u32, mtu) as usize))
}

/// Whether the first of `packets` can follow `skb`, which has the congestion bits `ds`, in a run.
///
/// Its message has at most `len` bytes, and everything else that the stack outside can see of the
/// two is equal. A packet that differs ends the run before it and begins the next one.
fn follows(packets: &mut SkbList, len: usize, skb: &SkBuff, ds: u8) -> bool {
    packets.front_mut().is_some_and(|mut next| {
        let cb: PacketCb = *next.cb();
        cb.more == 0
            && cb.ds == ds
            && message_len(next.len(), cb.mtu) <= len
            && next.same_owner(skb)
            && !next.goes_alone()
            && next.same_flow(skb)
    })
}

/// Encrypts the segments of a packet as one packet, or as few as can be.
///
/// If they are not to be aggregated, are too long for that, or there is no memory to do it in, each
/// becomes a packet of its own. Returns how many segments were dropped.
fn encrypt_segments(
    skb: SkBuff,
    cb: &PacketCb,
    aggregate: bool,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> usize {
    let count = cb.messages();
    let mut next = 0;
    if let Some(gso) = skb.tcp_gso().filter(|_| aggregate) {
        let segment = |index| gso.segment(index).filter(|_| index < count);
        while let Some(first) = segment(next) {
            let len = message_len(first.len(), cb.mtu);
            let Ok(mut run) = Segments::new(SKB_HEADER_LEN, len, count.wrapping_sub(next)) else {
                break;
            };
            while let Some(text) = segment(next) {
                let nonce = cb.nonce.wrapping_add(next as u64);
                if message_len(text.len(), cb.mtu) > run.room()
                    || seal(&mut run, &text, nonce, cb.mtu, keypair).is_err()
                {
                    break;
                }
                next = next.wrapping_add(1);
            }
            let Some(run) = run.finish(&skb) else {
                break;
            };
            encrypted.push_back(with_ds(run, cb.ds));
        }
    }
    // Or the socket that it came from might be made to send more in here.
    let _bh = bottom_half::disable();
    if next == count {
        skb.consume();
        return 0;
    }
    let done = next.wrapping_add(encrypt_each(skb, cb, next, keypair, encrypted));
    count.wrapping_sub(done)
}

/// Encrypts the segments of a packet, without the first `skipped`, each as a packet of its own.
/// Returns how many.
fn encrypt_each(
    skb: SkBuff,
    cb: &PacketCb,
    skipped: usize,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> usize {
    let segments = {
        let guard = rcu::Guard::new();
        let dev = keypair.peer.device.netdev.get(&guard);
        dev.and_then(|dev| skb.gso_segment(dev).ok())
    };
    let Some(mut segments) = segments else {
        return 0;
    };
    let mut done: usize = 0;
    for index in 0..cb.messages() {
        let Some(mut skb) = segments.pop_front() else {
            break;
        };
        if index < skipped {
            skb.consume();
            continue;
        }
        *skb.cb() = cb.of_segment(index);
        if encrypt_packet(&mut skb, keypair).is_ok() {
            encrypted.push_back(skb);
            done = done.wrapping_add(1);
        }
    }
    done
}

/// Encrypts `skb` and those of `packets` that can follow it as one packet. Returns what was to be the next in it but was not,
/// for want of memory.
fn encrypt_run(
    mut run: Segments,
    skb: SkBuff,
    packets: &mut SkbList,
    keypair: &Keypair,
    encrypted: &mut SkbList,
) -> Option<SkBuff> {
    let mut sealed = SkbList::new();
    let mut left = None;
    let mut next = Some(skb);
    while let Some(mut skb) = next.take() {
        let cb: PacketCb = *skb.cb();
        if seal(&mut run, &skb, cb.nonce, cb.mtu, keypair).is_err() {
            left = Some(skb);
            break;
        }
        if follows(packets, run.room(), &skb, cb.ds) {
            next = packets.pop_front();
        }
        sealed.push_back(skb);
    }
    if let Some(mut first) = sealed.front_mut() {
        let ds = first.cb::<PacketCb>().ds;
        if let Some(run) = run.finish(&first) {
            encrypted.push_back(with_ds(run, ds));
        }
    }
    // Their socket hears of all of them when bottom halves are enabled, and is not made to send
    // more after each.
    let _bh = bottom_half::disable();
    sealed.consume();
    left
}

/// A packet with the congestion bits of its outer header noted.
fn with_ds(mut skb: SkBuff, ds: u8) -> SkBuff {
    let cb: &mut PacketCb = skb.cb();
    *cb = PacketCb::default();
    cb.ds = ds;
    skb
}

fn seal(run: &mut Segments, text: &impl Text, nonce: u64, mtu: u32, keypair: &Keypair) -> Result {
    let pad = padding(text.len() as u32, mtu) as usize;
    let header = DataHeader::new(keypair.remote_index(), nonce);
    run.push(text, header.as_bytes(), pad, nonce, keypair.sending_key())
}

fn encrypt_packet(skb: &mut SkBuff, keypair: &Keypair) -> Result {
    let cb: &mut PacketCb = skb.cb();
    let (nonce, mtu) = (cb.nonce, cb.mtu);
    let pad = padding(skb.len() as u32, mtu) as usize;
    skb.cow_head(DATA_PACKET_HEAD_ROOM)?;
    // Nobody can fill in the inner checksum later.
    skb.checksum_help()?;
    let header = DataHeader::new(keypair.remote_index(), nonce);
    skb.seal(header.as_bytes(), pad, nonce, keypair.sending_key())?;
    skb.reset(true);
    Ok(())
}

/// Whether a message of this length has no contents.
pub(crate) fn is_keepalive(len: usize) -> bool {
    len == message_data_len(0)
}

/// The congestion bits for the outer header, given the TOS or traffic class of the inner one: the full-functionality
/// option of RFC 3168, section 9.1.1.
pub(crate) fn ecn_encapsulate(inner: u8) -> u8 {
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    match inner & 3 {
        CE => ECT_0,
        ecn => ecn,
    }
}
