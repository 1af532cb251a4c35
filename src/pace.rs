// SPDX-License-Identifier: GPL-2.0

//! Decides where a packet is encrypted, and on which CPU it is sent.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::{
    linux::{
        bottom_half::BhGuard,
        cpumask,
        ktime, //
    },
    tuning::{
        MAX_STEPS,
        QUIET_MSECS, //
    }, //
};

/// [`QUIET_MSECS`] in ticks, whatever their length.
const QUIET_TICKS: u32 = ktime::HZ as u32 * QUIET_MSECS / 1000;

/// Decides whether a packet to a peer is encrypted by its sender or left to a worker. Packets keep
/// their order either way.
pub(crate) struct Pace {
    /// When packets were last to be sent, in ticks.
    tick: Atomic<u32>,
    /// How often the sender has encrypted since the count began.
    steps: Atomic<u32>,
}

impl Pace {
    /// The pace of a peer that was not sent anything yet.
    pub(crate) const fn new() -> Self {
        Self {
            tick: Atomic::new(0),
            steps: Atomic::new(0),
        }
    }

    /// Notes that packets are to be sent.
    pub(crate) fn note(&self) {
        let now = ktime::jiffies() as u32;
        let gone = now.wrapping_sub(self.tick.load(Relaxed));
        if gone != 0 {
            self.tick.store(now, Relaxed);
        }
        if gone >= QUIET_TICKS {
            self.answered();
        }
    }

    /// Whether the sender may encrypt once more. Two concurrent callers may be counted as one,
    /// which does no harm.
    pub(crate) fn step(&self) -> bool {
        let steps = self.steps.load(Relaxed);
        if steps >= MAX_STEPS {
            return false;
        }
        self.steps.store(steps.wrapping_add(1), Relaxed);
        true
    }

    /// Notes that the peer has sent something, and so may wait for an answer.
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
    /// The peer's number, by which peers are spread.
    number: u32,
}

impl TransmitCpu {
    /// No CPU is chosen yet.
    pub(crate) const fn new(number: u32) -> Self {
        Self {
            cpu: Atomic::new(u32::MAX),
            number,
        }
    }

    /// The CPU, which was online a moment ago.
    pub(crate) fn get(&self) -> u32 {
        let cpu = self.cpu.load(Relaxed);
        if cpumask::is_online(cpu) {
            return cpu;
        }
        // Two callers may choose differently while CPUs come and go. The choice that is stored last
        // holds for all.
        let cpu = cpumask::nth_online(self.number);
        self.cpu.store(cpu, Relaxed);
        cpu
    }

    /// Whether the caller runs on that CPU. It stays there for as long as softirqs are off.
    pub(crate) fn is_here(&self, _bh: &BhGuard) -> bool {
        self.get() == cpumask::current()
    }

    /// The CPU whose worker encrypts the packets that the sender leaves: the transmit CPU, or the
    /// next one if the sender itself is there.
    pub(crate) fn worker(&self) -> u32 {
        let (cpu, current) = (self.get(), cpumask::current());
        if cpu == current {
            cpumask::next_online_after(cpu)
        } else {
            cpu
        }
    }
}
