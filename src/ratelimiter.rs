// SPDX-License-Identifier: GPL-2.0

//! How often one source may make us compute a handshake (section 5.3 of the paper).
//!
//! Under load, a handshake message that has proven its source by a cookie costs a token of that
//! source's bucket. If the bucket is empty the message is dropped. A source is an IPv4 address or
//! an IPv6 /64 in a network namespace.
//!
//! The number of sources that are remembered is bounded, so that the limiter is no way to use up
//! memory: when all places are taken, a new source is refused. A source whose bucket is full is
//! forgotten within two seconds.

use core::net::IpAddr;
use kernel::{
    bindings::CONFIG_HZ,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
    time::Jiffies, //
};

use crate::linux::{
    delayed_work::{
        Periodic,
        PeriodicWork, //
    },
    ktime,
    mm,
    rcu::{
        AtomicDrop,
        Guard, //
    },
    rhashtable::{
        Entry,
        RhashTable, //
    }, //
};

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Handshake messages a second that a source may send for any length of time.
const PACKETS_PER_SECOND: u64 = 20;

/// Handshake messages that a source may send in one burst.
const PACKETS_BURSTABLE: u64 = 5;

/// Nanoseconds in which a bucket gains one message's tokens.
const PACKET_COST: u64 = NSEC_PER_SEC / PACKETS_PER_SECOND;

/// Nanoseconds in which an empty bucket gets full.
const TOKEN_MAX: u64 = PACKET_COST * PACKETS_BURSTABLE;

/// A token bucket, as one number: when it will be full again, in nanoseconds.
///
/// A bucket with a filling time of `TOKEN_MAX` that is full at `t` lacks `t - now` nanoseconds'
/// worth of tokens.
struct TokenBucket(Atomic<u64>);

impl TokenBucket {
    /// A bucket that one message's tokens have been taken from.
    fn charged(now_ns: u64) -> Self {
        Self(Atomic::new(now_ns.saturating_add(PACKET_COST)))
    }

    /// Whether the bucket had one message's tokens, which are then taken.
    fn charge(&self, now_ns: u64) -> bool {
        let mut full_at = self.0.load(Relaxed);
        loop {
            let from = full_at.max(now_ns);
            if from.wrapping_sub(now_ns) > TOKEN_MAX - PACKET_COST {
                return false;
            }
            match self
                .0
                .cmpxchg(full_at, from.saturating_add(PACKET_COST), Relaxed)
            {
                Ok(_) => return true,
                Err(other) => full_at = other,
            }
        }
    }

    /// Whether it is full, and so as good as a new one.
    fn is_full(&self, now_ns: u64) -> bool {
        self.0.load(Relaxed) <= now_ns
    }
}

/// The places in a table: how many are taken and how many there are.
struct Places {
    taken: Atomic<u64>,
    max: u64,
}

/// One place that is taken, until it is dropped.
struct Place(Arc<Places>);

impl Place {
    fn take(places: &Arc<Places>) -> Option<Self> {
        let place = Self(places.clone());
        // Count first, then compare: two concurrent callers must not get the same last place.
        if places.taken.fetch_add(1, Relaxed) >= places.max {
            return None;
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// The state that is remembered of a source.
struct Source {
    bucket: TokenBucket,
    /// Given back with the memory, a grace period after the source has been forgotten.
    _place: Place,
}

impl AtomicDrop for Source {}

/// A source: its namespace, the address or the first half of it, and the family.
type SourceKey = [u64; 3];

fn source_key(source: IpAddr, netns_id: u64) -> SourceKey {
    match source {
        IpAddr::V4(ip) => [netns_id, ip.to_bits().into(), 4],
        IpAddr::V6(ip) => [netns_id, (ip.to_bits() >> 64) as u64, 6],
    }
}

/// The table of sources.
#[pin_data]
pub(crate) struct Sources {
    #[pin]
    table: RhashTable<SourceKey, Source>,
    places: Arc<Places>,
}

impl Sources {
    fn new(max: u64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- RhashTable::new(),
            places: Arc::new(Places { taken: Atomic::new(0), max }, GFP_KERNEL)?,
        }? Error)
    }

    fn allow(&self, source: IpAddr, netns_id: u64, now_ns: u64) -> bool {
        let key = source_key(source, netns_id);
        let charge = || {
            let guard = Guard::new();
            let source = self.table.lookup(&key, &guard)?;
            Some(source.bucket.charge(now_ns))
        };
        if let Some(allowed) = charge() {
            return allowed;
        }
        let Some(place) = Place::take(&self.places) else {
            return false;
        };
        let source = Source {
            bucket: TokenBucket::charged(now_ns),
            _place: place,
        };
        let Ok(entry) = Entry::new(key, source, GFP_ATOMIC) else {
            return false;
        };
        match self.table.insert(entry) {
            Ok(()) => true,
            // Another CPU was faster, or there is no room: in doubt the message is refused.
            Err(_) => charge().unwrap_or(false),
        }
    }

    /// Forgets the sources whose bucket is full.
    ///
    /// A message that is counted concurrently may be counted in vain: its source then gains one.
    fn collect(&self, now_ns: u64) {
        self.table
            .retain(|_, source| !source.bucket.is_full(now_ns));
    }
}

impl Periodic for Sources {
    const PERIOD: Jiffies = CONFIG_HZ as Jiffies;

    fn run(&self) {
        self.collect(ktime::coarse_boottime_ns());
    }
}

/// The limiter that all devices share, so that a source does not gain by their number.
///
/// The module makes one when it is loaded, and drops it after the last device when it is unloaded.
#[pin_data]
pub(crate) struct RateLimiter {
    #[pin]
    sources: PeriodicWork<Sources>,
}

impl RateLimiter {
    /// A limiter that remembers nothing yet.
    ///
    /// Process context, as is dropping it. `ENOMEM` if there is no memory for it.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            sources <- PeriodicWork::new(Sources::new(max_sources(mm::totalram_bytes()))),
        }? Error)
    }

    /// Whether a handshake message from `source` may be answered now; if so it has been counted.
    ///
    /// `netns_id` tells network namespaces apart. `now_ns` is the coarse time since boot in
    /// nanoseconds.
    ///
    /// Process and softirq context.
    pub(crate) fn allow(&self, source: IpAddr, netns_id: u64, now_ns: u64) -> bool {
        self.sources.allow(source, netns_id, now_ns)
    }
}

/// The number of sources that are remembered at most, as the C module has it: eight for each bucket
/// of its table, which has 8,192 buckets on a machine with more than 1 GiB, and one pointer in each
/// 16 KiB of memory on a smaller one.
fn max_sources(ram_bytes: u64) -> u64 {
    const SOURCES_A_BUCKET: u64 = 8;
    const BUCKET_BYTES: u64 = size_of::<usize>() as u64;

    let buckets = if ram_bytes > 1 << 30 {
        8192
    } else {
        (ram_bytes / (1 << 14) / BUCKET_BYTES)
            .checked_next_power_of_two()
            .unwrap_or(0)
            .max(16)
    };
    buckets.saturating_mul(SOURCES_A_BUCKET)
}
