// SPDX-License-Identifier: GPL-2.0

//! Curve25519.
//!
//! C header: [`include/crypto/curve25519.h`](srctree/include/crypto/curve25519.h)

use super::{
    bindings,
    Secret, //
};

/// Length of a Curve25519 scalar or point, in bytes (`CURVE25519_KEY_SIZE`).
pub(crate) const CURVE25519_KEY_SIZE: usize = 32;

/// Curve25519 of `secret` and `point`, written to `shared`. RFC 7748.
///
/// Returns whether the result may be used. It is `false` when `shared` is all zeros: `point` is
/// then of low order, and its sender alone has determined the result.
#[must_use]
pub(crate) fn curve25519(
    shared: &mut Secret<CURVE25519_KEY_SIZE>,
    secret: &Secret<CURVE25519_KEY_SIZE>,
    point: &[u8; CURVE25519_KEY_SIZE],
) -> bool {
    // SAFETY: The three arrays have the length that the function works on, and `shared` is borrowed
    // exclusively, so that it is none of the others.
    unsafe { bindings::curve25519(shared.0.as_mut_ptr(), secret.0.as_ptr(), point.as_ptr()) }
}

/// Writes the public key that belongs to `secret` to `public`.
///
/// Returns whether there is one: `false` if `secret` is all zeros. The content of `public` is
/// useless then.
#[must_use]
pub(crate) fn curve25519_generate_public(
    public: &mut [u8; CURVE25519_KEY_SIZE],
    secret: &Secret<CURVE25519_KEY_SIZE>,
) -> bool {
    // SAFETY: Both arrays have the length that the function works on. `public` is borrowed
    // exclusively, so they do not overlap.
    unsafe { bindings::curve25519_generate_public(public.as_mut_ptr(), secret.0.as_ptr()) }
}

/// Clamps the scalar: makes it a multiple of the cofactor, with its highest set bit in a fixed
/// place. RFC 7748, section 5.
pub(crate) fn curve25519_clamp_secret(secret: &mut Secret<CURVE25519_KEY_SIZE>) {
    // SAFETY: The array has the length that the function works on.
    unsafe { bindings::curve25519_clamp_secret(secret.0.as_mut_ptr()) };
}

/// Fills `secret` with a new private key.
///
/// The key is unpredictable only once the random number generator is seeded: see
/// [`wait_for_random_bytes`](crate::linux::random::wait_for_random_bytes).
pub(crate) fn curve25519_generate_secret(secret: &mut Secret<CURVE25519_KEY_SIZE>) {
    secret.randomize();
    curve25519_clamp_secret(secret);
}
