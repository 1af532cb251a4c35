// SPDX-License-Identifier: GPL-2.0

//! The rate limiter, against a bucket of tokens for each source.

use super::Script;
use crate::ratelimiter::RateLimiter;
use core::net::IpAddr;
use kernel::prelude::*;
use std::collections::BTreeMap;

/// The time in which a source gets a token, and a full bucket of five, in nanoseconds.
const COST: u64 = 1_000_000_000 / 20;
const BURST: u64 = 5 * COST;

/// Asks for messages of some sources at some times.
pub fn limiter(bytes: &[u8]) {
    let mut script = Script(bytes);
    let limiter = KBox::pin_init(RateLimiter::new(), GFP_KERNEL).unwrap();
    // The tokens of each source, in nanoseconds, and the time at which it had them.
    let mut buckets = BTreeMap::<(bool, u8, u64), (u64, u64)>::new();
    let mut now = 1_000_000_000_000u64;
    while !script.is_empty() {
        let step = script.byte();
        now += match step >> 5 {
            0 => COST,
            1 => u64::from(script.word()) * 10_000,
            2 => u64::from(step & 31) * COST / 4,
            _ => 0,
        };
        let ipv4 = step & 1 == 0;
        let host = step >> 1 & 7;
        let netns = u64::from(step >> 4 & 1);
        let source = if ipv4 {
            IpAddr::from([10, 0, 0, host])
        } else {
            // Random bytes in the second half, which the limiter ignores.
            let [a, b, c, d] = script.take();
            IpAddr::from([0xfd, host, 0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 1])
        };
        let (tokens, since) = buckets.entry((ipv4, host, netns)).or_insert((BURST, now));
        *tokens = BURST.min(*tokens + (now - *since));
        *since = now;
        let expected = *tokens >= COST;
        if expected {
            *tokens -= COST;
        }
        assert_eq!(limiter.allow(source, netns, now), expected);
    }
}
