// SPDX-License-Identifier: GPL-2.0

//! The timestamp of an initiation: TAI64N, whose order is that of its bytes.

use super::limits::{
    INITIATIONS_PER_SECOND,
    NSEC_PER_SEC, //
};

/// Length of a timestamp, in bytes.
pub(crate) const NOISE_TIMESTAMP_LEN: usize = 12;

/// TAI64 of the Unix epoch, with the ten leap seconds of 1972.
const UNIX_EPOCH: u64 = 0x4000_0000_0000_000a;

/// The nanoseconds are rounded down to a multiple of this number: the largest power of two that is
/// no longer than the interval between two initiations.
const GRANULARITY: u32 = {
    let interval = (NSEC_PER_SEC / INITIATIONS_PER_SECOND) as u32;
    1 << interval.ilog2()
};

/// A point in real time: big-endian seconds, then big-endian nanoseconds, so that a later time
/// compares greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Tai64n([u8; NOISE_TIMESTAMP_LEN]);

impl Tai64n {
    /// A time earlier than every other.
    pub(crate) const ZERO: Self = Self([0; NOISE_TIMESTAMP_LEN]);

    /// The timestamp of `seconds` and `nanoseconds` after the Unix epoch, as
    /// `ktime_get_real_ts64()` gives them.
    ///
    /// It is coarse on purpose: a precise time would leak the timing behaviour of this machine.
    pub(crate) fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let seconds = UNIX_EPOCH.wrapping_add_signed(seconds).to_be_bytes();
        let nanoseconds = (nanoseconds & !(GRANULARITY.wrapping_sub(1))).to_be_bytes();
        let mut bytes = [0; NOISE_TIMESTAMP_LEN];
        for (to, from) in bytes.iter_mut().zip(seconds.into_iter().chain(nanoseconds)) {
            *to = from;
        }
        Self(bytes)
    }

    /// The timestamp with the bytes from a message.
    pub(crate) const fn from_bytes(bytes: [u8; NOISE_TIMESTAMP_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes for a message.
    pub(crate) const fn as_bytes(&self) -> &[u8; NOISE_TIMESTAMP_LEN] {
        &self.0
    }
}

#[kernel::macros::kunit_tests(wireguard_tai64n)]
mod tests {
    use super::*;

    #[test]
    fn known_time() {
        // 2^30 seconds after the epoch. The bytes were written down by hand from the definition.
        let t = Tai64n::from_unix(1 << 30, 0);
        assert_eq!(t.as_bytes(), &[0x40, 0, 0, 0, 0x40, 0, 0, 0x0a, 0, 0, 0, 0]);
    }

    #[test]
    fn nanoseconds_are_whitened() {
        assert_eq!(GRANULARITY, 1 << 24);
        assert!(Tai64n::from_unix(1, 0) == Tai64n::from_unix(1, (1 << 24) - 1));
        let t = Tai64n::from_unix(1, 999_999_999);
        assert_eq!(t.as_bytes().get(8..), Some(&[0x3b, 0, 0, 0][..]));
    }

    #[test]
    fn later_is_greater() {
        assert!(Tai64n::ZERO < Tai64n::from_unix(0, 0));
        assert!(Tai64n::from_unix(5, 999_999_999) < Tai64n::from_unix(6, 0));
        assert!(Tai64n::from_unix(5, 0) < Tai64n::from_unix(5, 1 << 24));
        assert!(Tai64n::from_unix(-1, 0) < Tai64n::from_unix(0, 0));
        assert!(Tai64n::from_unix(255, 0) < Tai64n::from_unix(256, 0));
    }
}
