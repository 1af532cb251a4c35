// SPDX-License-Identifier: GPL-2.0

//! Helpers that KUnit suites share; compiled with them only.

/// The value of one hexadecimal digit, or something above 15.
const fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => u8::MAX,
    }
}

/// The `N` bytes that `digits` stands for, two lower-case digits each.
///
/// To be evaluated at compile time, where it fails if `digits` is anything else.
pub(crate) const fn hex<const N: usize>(digits: &str) -> [u8; N] {
    let digits = digits.as_bytes();
    assert!(digits.len() == 2 * N);
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        let (high, low) = (digit(digits[2 * i]), digit(digits[2 * i + 1]));
        assert!(high < 16 && low < 16);
        bytes[i] = high << 4 | low;
        i += 1;
    }
    bytes
}

/// Numbers that look random and are the same in every run (xorshift64*).
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The sequence that begins with `seed`, which is not zero.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = random;
            }
        }
    }

    /// A number below `ceil`, or 0.
    pub(crate) fn below(&mut self, ceil: u64) -> u64 {
        (self.next() >> 16).checked_rem(ceil).unwrap_or(0)
    }
}
