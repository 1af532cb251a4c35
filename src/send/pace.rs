// SPDX-License-Identifier: GPL-2.0

//! Who encrypts a packet, and on which CPU it is sent.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::linux::{
    bottom_half::BhGuard,
    cpumask,
    ktime, //
};

/// How often that happens before packets are left to a worker, which takes more of them at a time:
/// a stream of single packets would keep the sender's CPU busy, and never have two of them
/// together. The count begins anew when the peer sends something, for then the peer may be waiting
/// for what is sent, and when nothing was to be sent for [`QUIET`].
const MAX_STEPS: u32 = 8;
/// A tenth of a second, in ticks.
const QUIET: u32 = ktime::HZ as u32 / 10;

/// Decides whether a packet to a peer is encrypted by its sender or left to a worker. What is sent
/// keeps its order either way.
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
    pub(super) fn note(&self) {
        let now = ktime::jiffies() as u32;
        let gone = now.wrapping_sub(self.tick.load(Relaxed));
        if gone != 0 {
            self.tick.store(now, Relaxed);
        }
        if gone >= QUIET {
            self.answered();
        }
    }

    /// Whether the sender may encrypt once more. If two ask concurrently they may be counted as
    /// one, which does no harm.
    pub(super) fn step(&self) -> bool {
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
    pub(super) fn get(&self) -> u32 {
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
    pub(super) fn is_here(&self, _bh: &BhGuard) -> bool {
        self.get() == cpumask::current()
    }

    /// A CPU to encrypt on what the sender leaves to a worker: the transmit CPU, unless the sender
    /// itself is there.
    pub(super) fn worker(&self) -> u32 {
        let (cpu, current) = (self.get(), cpumask::current());
        if cpu == current {
            cpumask::next_online_after(cpu)
        } else {
            cpu
        }
    }
}
