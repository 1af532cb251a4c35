// SPDX-License-Identifier: GPL-2.0

//! The constants of the protocol: section 6.1 of the paper, and the bounds of queues and tables
//! that the C module has beside them.

/// Nanoseconds in a second.
pub(crate) const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Number of messages after which a key is to be replaced.
pub(crate) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Number of messages after which a key is not used any more: counters from this one on are neither
/// sent nor accepted.
pub(crate) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - COUNTER_WINDOW_SIZE - 1;
/// Seconds to wait for the answer to an initiation before the next one.
pub(crate) const REKEY_TIMEOUT: u64 = 5;
/// Exclusive upper bound, in milliseconds, of the random time that is added to [`REKEY_TIMEOUT`].
pub(crate) const REKEY_TIMEOUT_JITTER_MAX_MSECS: u32 = 1000 / 3;
/// Seconds after which the initiator replaces a key when it sends with it.
pub(crate) const REKEY_AFTER_TIME: u64 = 120;
/// Seconds after which a key is not used any more.
pub(crate) const REJECT_AFTER_TIME: u64 = 180;
/// Initiations that are accepted from a peer per second.
pub(crate) const INITIATIONS_PER_SECOND: u64 = 50;
/// Seconds after which received data is answered with an empty message, if nothing else was sent.
pub(crate) const KEEPALIVE_TIMEOUT: u64 = 10;
/// How often an initiation is sent before giving up, not counting the first and the last time.
pub(crate) const MAX_TIMER_HANDSHAKES: u32 = 90 / REKEY_TIMEOUT as u32;

/// Most peers a device may have.
pub(crate) const MAX_PEERS_PER_DEVICE: u32 = 1 << 20;
/// Most handshake messages that wait to be read, per device. An eighth of it is "under load".
pub(crate) const MAX_QUEUED_INCOMING_HANDSHAKES: u32 = 4096;
/// Most packets that wait for a key, per peer.
pub(crate) const MAX_STAGED_PACKETS: u32 = 128;
/// Most packets that wait to be encrypted or decrypted, per device.
pub(crate) const MAX_QUEUED_PACKETS: u32 = 1024;

/// Bits in the ring of the replay window.
pub(crate) const COUNTER_BITS_TOTAL: u64 = 8192;
/// Bits of that ring that are not part of the window: the word being cleared.
pub(crate) const COUNTER_REDUNDANT_BITS: u64 = 64;
/// How far behind the highest counter seen a counter may be and still be accepted.
pub(crate) const COUNTER_WINDOW_SIZE: u64 = COUNTER_BITS_TOTAL - COUNTER_REDUNDANT_BITS;

/// Seconds for which a cookie secret, and so a cookie, is good.
pub(crate) const COOKIE_SECRET_MAX_AGE: u64 = 120;
/// The receiver of a cookie stops using it this many seconds before the end of that time.
pub(crate) const COOKIE_SECRET_LATENCY: u64 = 5;
/// Seconds for which a device counts as under load after it was last found under load.
pub(crate) const UNDER_LOAD_LATENCY: u64 = 1;

/// Whether an object made at `birthdate_ns` is at least `seconds` old at `now_ns`.
///
/// Both are clock readings in nanoseconds, compared as signed numbers: "six seconds ago" may lie
/// before boot. A birthdate later than now is not old.
#[inline]
pub(crate) const fn has_expired(birthdate_ns: u64, seconds: u64, now_ns: u64) -> bool {
    birthdate_ns.wrapping_add(seconds.wrapping_mul(NSEC_PER_SEC)) as i64 <= now_ns as i64
}

#[kernel::macros::kunit_tests(wireguard_limits)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_the_paper() {
        assert_eq!(REKEY_AFTER_MESSAGES, 1 << 60);
        assert_eq!(REJECT_AFTER_MESSAGES, u64::MAX - (1 << 13) + 63);
        assert_eq!(
            (REKEY_AFTER_TIME, REJECT_AFTER_TIME, REKEY_TIMEOUT),
            (120, 180, 5)
        );
        assert_eq!(REKEY_TIMEOUT_JITTER_MAX_MSECS, 333);
        assert_eq!(MAX_PEERS_PER_DEVICE, 1_048_576);
        assert_eq!((KEEPALIVE_TIMEOUT, MAX_TIMER_HANDSHAKES), (10, 18));
        assert_eq!(COUNTER_WINDOW_SIZE, 8128);
    }

    #[test]
    fn expiry() {
        assert!(!has_expired(10, 1, 10));
        assert!(!has_expired(10, 1, NSEC_PER_SEC + 9));
        assert!(has_expired(10, 1, NSEC_PER_SEC + 10));
        // From the future.
        assert!(!has_expired(NSEC_PER_SEC * 5, 1, 0));
        // From before boot.
        assert!(has_expired(0u64.wrapping_sub(NSEC_PER_SEC * 6), 5, 0));
        assert!(!has_expired(0u64.wrapping_sub(NSEC_PER_SEC * 6), 7, 0));
    }
}
