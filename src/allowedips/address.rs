// SPDX-License-Identifier: GPL-2.0

//! Addresses of both families as integers.

use core::ops::{
    BitAnd,
    BitXor, //
};

/// An address as one integer, the first bit on the wire in the most significant place.
pub(super) trait Address:
    Copy + Eq + Send + Sync + BitAnd<Output = Self> + BitXor<Output = Self> + 'static
{
    /// The length of an address in bits.
    const LEN: u8;

    /// The mask of a prefix of `cidr` bits.
    fn mask(cidr: u8) -> Self;

    /// Bit `n` from the front. Past the end it is any bit.
    fn bit(self, n: u8) -> bool;

    /// The number of zero bits in front.
    fn leading_zeros(self) -> u8;

    /// The number of bits in front that both have in common.
    fn common_bits(self, other: Self) -> u8 {
        (self ^ other).leading_zeros()
    }
}

impl Address for u32 {
    const LEN: u8 = 32;

    fn mask(cidr: u8) -> Self {
        let host_bits = Self::LEN.saturating_sub(cidr);
        Self::MAX.checked_shl(host_bits.into()).unwrap_or(0)
    }

    #[inline]
    fn bit(self, n: u8) -> bool {
        self.wrapping_shl(n.into()) & (1 << 31) != 0
    }

    fn leading_zeros(self) -> u8 {
        self.leading_zeros() as u8
    }
}

impl Address for u128 {
    const LEN: u8 = 128;

    fn mask(cidr: u8) -> Self {
        let host_bits = Self::LEN.saturating_sub(cidr);
        Self::MAX.checked_shl(host_bits.into()).unwrap_or(0)
    }

    #[inline]
    fn bit(self, n: u8) -> bool {
        // One half decides: a shift of 128 bits by a variable costs several instructions more.
        let half = if n & 64 == 0 { self >> 64 } else { self } as u64;
        half.wrapping_shl(n.into()) & (1 << 63) != 0
    }

    fn leading_zeros(self) -> u8 {
        self.leading_zeros() as u8
    }
}
