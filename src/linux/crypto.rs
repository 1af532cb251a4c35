// SPDX-License-Identifier: GPL-2.0

//! The kernel's crypto library: BLAKE2s, ChaCha20-Poly1305, XChaCha20-Poly1305 and Curve25519, and
//! [`Secret`], which holds a key and zeroes it when dropped.
//!
//! A function writes a secret to its final place through `&mut` instead of returning it: a moved
//! value leaves a copy of its bytes on the stack, which nothing zeroes.
//!
//! Every function may be called from any context, and none sleeps. In hard interrupt context the
//! library itself falls back to its generic code.
//!
//! C headers: [`include/crypto/utils.h`](srctree/include/crypto/utils.h), `memzero_explicit()` of
//! [`include/linux/string.h`](srctree/include/linux/string.h)

use kernel::prelude::*;

use super::{
    bindings,
    random, //
};

mod blake2s;
mod chacha;
mod chacha20poly1305;
mod curve25519;
mod poly1305;

pub(crate) use blake2s::*;
pub(crate) use chacha::*;
pub(crate) use chacha20poly1305::*;
pub(crate) use curve25519::*;
pub(in crate::linux) use poly1305::*;

/// Overwrites `bytes` with zeros. The compiler does not optimise these stores away.
pub(crate) fn memzero_explicit(bytes: &mut [u8]) {
    // SAFETY: `bytes` is valid for writes of its length, and zero is a valid `u8`.
    unsafe { bindings::memzero_explicit(bytes.as_mut_ptr().cast(), bytes.len()) };
}

/// Whether `a` and `b` are equal. The time taken does not depend on where they differ.
#[must_use]
pub(crate) fn ct_eq<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    // SAFETY: Both arrays are valid for reads of `N` bytes.
    let differs = unsafe { bindings::crypto_memneq(a.as_ptr().cast(), b.as_ptr().cast(), N) };
    differs == 0
}

/// `N` bytes of key material, zeroed when dropped.
///
/// It has no `Debug`, `Clone` or `PartialEq`: [`Secret::ct_eq`] compares, [`Secret::copy_from`]
/// copies. Outside of tests no function returns a `Secret` other than zeros, because a move leaves
/// the bytes behind.
#[derive(Zeroable)]
#[repr(transparent)]
pub(crate) struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// All zeros: a place to write a key into.
    pub(crate) const fn zeroed() -> Self {
        Self([0; N])
    }

    /// A secret with the value `bytes`, for tests.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn from_bytes(bytes: &[u8; N]) -> Self {
        Self(*bytes)
    }

    /// The key's bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// The key's bytes, for writing.
    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Copies the value of `other`.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0 = other.0;
    }

    /// Overwrites the key with zeros.
    pub(crate) fn clear(&mut self) {
        memzero_explicit(&mut self.0);
    }

    /// Overwrites the key with random bytes.
    ///
    /// They are unpredictable only once the random number generator is seeded: see
    /// [`random::wait_for_random_bytes`].
    pub(crate) fn randomize(&mut self) {
        random::get_random_bytes(&mut self.0);
    }

    /// Whether both secrets are equal, in constant time.
    #[must_use]
    pub(crate) fn ct_eq(&self, other: &Self) -> bool {
        ct_eq(&self.0, &other.0)
    }

    /// Whether every byte is zero, in constant time.
    #[must_use]
    pub(crate) fn is_zero(&self) -> bool {
        ct_eq(&self.0, &[0; N])
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
