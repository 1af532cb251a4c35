// SPDX-License-Identifier: GPL-2.0

//! Tests of the limiter by a clock that they set.

use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

use super::{
    max_sources,
    Sources,
    TokenBucket,
    NSEC_PER_SEC,
    PACKETS_BURSTABLE,
    PACKET_COST,
    TOKEN_MAX, //
};
use crate::{
    linux::{
        delayed_work::Periodic,
        rcu, //
    },
    testing::Numbers, //
};

const NETNS: u64 = 0xffff_8880_1234_5678;

fn v4(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

fn v6(first: u64, last: u64) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(
        u128::from(first) << 64 | u128::from(last),
    ))
}

/// Collects until no more than `left` sources are left. Gives up after a second.
///
/// One collection may miss a source while the table is growing or shrinking, which ends soon.
fn collect_until(sources: &Sources, now_ns: u64, left: usize) {
    for _ in 0..100 {
        sources.collect(now_ns);
        if sources.table.len() <= left {
            break;
        }
        fsleep(Delta::from_millis(10));
    }
}

#[kernel::macros::kunit_tests(wireguard_ratelimiter)]
mod cases {
    use super::*;

    #[test]
    fn burst_then_rate() -> Result {
        // A burst; nothing; one after the time of one; two after the time of two, and so on.
        let script = [
            (0, 5, true),
            (0, 1, false),
            (1, 1, true),
            (0, 1, false),
            (2, 2, true),
            (0, 1, false),
            (100, 5, true),
            (0, 1, false),
        ];
        let sources = KBox::pin_init(Sources::new(1024), GFP_KERNEL)?;
        let mut now = 17 * NSEC_PER_SEC;
        let mut neighbour = 0;
        for (costs, times, expected) in script {
            now += costs * PACKET_COST;
            for _ in 0..times {
                neighbour += 1;
                assert_eq!(sources.allow(v4(8182), NETNS, now), expected);
                // A neighbour does not suffer, nor does the same address elsewhere.
                assert!(sources.allow(v4(8182 + neighbour), NETNS, now));
                assert!(sources.allow(v4(8182), NETNS + u64::from(neighbour), now));
                // Only the first half of an IPv6 address counts.
                let host = u64::from(neighbour);
                assert_eq!(sources.allow(v6(1212, host), NETNS, now), expected);
                assert!(sources.allow(v6(1212 + host, 0), NETNS, now));
            }
        }
        Ok(())
    }

    #[test]
    fn limit_is_for_each_source_alone() -> Result {
        // A source has its whole burst however many messages another one sends, and however many
        // other sources there are.
        let sources = KBox::pin_init(Sources::new(1024), GFP_KERNEL)?;
        for _ in 0..1000 {
            sources.allow(v4(1), NETNS, 0);
        }
        for other in 2..500 {
            sources.allow(v4(other), NETNS, 0);
        }
        assert!(!sources.allow(v4(1), NETNS, 0));
        for _ in 0..PACKETS_BURSTABLE {
            assert!(sources.allow(v4(1000), NETNS, 0));
        }
        assert!(!sources.allow(v4(1000), NETNS, 0));
        Ok(())
    }

    #[test]
    fn families_do_not_meet() -> Result {
        let sources = KBox::pin_init(Sources::new(16), GFP_KERNEL)?;
        for _ in 0..PACKETS_BURSTABLE {
            assert!(sources.allow(v4(7), NETNS, 0));
        }
        assert!(!sources.allow(v4(7), NETNS, 0));
        assert!(sources.allow(v6(7, 0), NETNS, 0));
        Ok(())
    }

    #[test]
    fn bucket_is_a_bucket() -> Result {
        // Compares it with a count of the tokens, after pauses of all lengths.
        let mut numbers = Numbers::new(20);
        let mut now = 1;
        let bucket = TokenBucket::charged(now);
        let (mut tokens, mut last) = (TOKEN_MAX - PACKET_COST, now);
        let (mut passed, mut wrong) = (0, 0);
        for _ in 0..10_000 {
            now += match numbers.below(8) {
                0..4 => 0,
                4 => PACKET_COST,
                5 | 6 => numbers.below(PACKET_COST),
                _ => numbers.below(2 * TOKEN_MAX),
            };
            tokens = TOKEN_MAX.min(tokens + (now - last));
            last = now;
            if bucket.is_full(now) != (tokens == TOKEN_MAX) {
                wrong += 1;
            }
            let expected = tokens >= PACKET_COST;
            if expected {
                tokens -= PACKET_COST;
                passed += 1;
            }
            if bucket.charge(now) != expected {
                wrong += 1;
            }
        }
        assert_eq!(wrong, 0);
        assert!(passed > 1_000 && passed < 9_000);
        Ok(())
    }

    #[test]
    fn table_is_bounded() -> Result {
        const MAX: u32 = 8_192;

        let sources = KBox::pin_init(Sources::new(MAX.into()), GFP_KERNEL)?;
        let mut now = NSEC_PER_SEC;
        for round in 0..2 {
            let mut wrong = 0;
            for number in 0..MAX {
                if !sources.allow(v4(number), NETNS, now) {
                    wrong += 1;
                }
            }
            assert_eq!(wrong, 0);
            // All places are taken: sources that have one go on, others are refused.
            assert!(!sources.allow(v4(MAX), NETNS, now));
            assert!(!sources.allow(v6(1, 1), NETNS, now));
            assert!(sources.allow(v4(1), NETNS, now));
            assert_eq!(sources.table.len(), MAX as usize);

            // No bucket is full yet.
            sources.collect(now);
            assert_eq!(sources.table.len(), MAX as usize);
            // All buckets are full but that of the source that has sent two messages.
            now += PACKET_COST;
            collect_until(&sources, now, 1);
            assert_eq!(sources.table.len(), 1);
            now += PACKET_COST;
            collect_until(&sources, now, 0);
            assert_eq!(sources.table.len(), 0);
            rcu::barrier();
            assert_eq!(sources.places.taken.load(Relaxed), 0);
            assert!(round < 2);
        }
        Ok(())
    }

    #[test]
    fn forgotten_source_gains_nothing() -> Result {
        let sources = KBox::pin_init(Sources::new(4), GFP_KERNEL)?;
        for _ in 0..PACKETS_BURSTABLE {
            assert!(sources.allow(v4(1), NETNS, 0));
        }
        for now in [0, 1, PACKET_COST - 1] {
            sources.collect(now);
            assert!(!sources.allow(v4(1), NETNS, now));
        }
        sources.collect(PACKET_COST);
        assert!(sources.allow(v4(1), NETNS, PACKET_COST));
        assert!(!sources.allow(v4(1), NETNS, PACKET_COST));
        Ok(())
    }

    #[test]
    fn source_is_forgotten_by_the_periodic_work() -> Result {
        let sources = KBox::pin_init(Sources::new(4), GFP_KERNEL)?;
        // The first one's bucket is full soon after boot, the other's when the clock ends.
        assert!(sources.allow(v4(1), NETNS, 0));
        assert!(sources.allow(v4(2), NETNS, u64::MAX / 2));
        sources.run();
        assert_eq!(sources.table.len(), 1);
        Ok(())
    }

    #[test]
    fn bound_follows_memory() {
        assert_eq!(max_sources(64 << 30), 65_536);
        assert_eq!(max_sources(1 << 30), 65_536);
        assert_eq!(max_sources(256 << 20), 16_384);
        assert_eq!(max_sources(1 << 20), 128);
        assert_eq!(max_sources(0), 128);
    }
}
