// SPDX-License-Identifier: GPL-2.0

//! BLAKE2s.
//!
//! C header: [`include/crypto/blake2s.h`](srctree/include/crypto/blake2s.h)

use core::mem::MaybeUninit;

use super::bindings;

/// Longest BLAKE2s digest, in bytes (`BLAKE2S_HASH_SIZE`).
pub(crate) const BLAKE2S_HASH_SIZE: usize = 32;
/// Length of the block BLAKE2s works on, in bytes (`BLAKE2S_BLOCK_SIZE`).
pub(crate) const BLAKE2S_BLOCK_SIZE: usize = 64;
/// Longest BLAKE2s key, in bytes (`BLAKE2S_KEY_SIZE`).
pub(crate) const BLAKE2S_KEY_SIZE: usize = 32;

/// BLAKE2s of the concatenated `parts`. Writes a digest of `OUT` bytes to `out`.
///
/// `OUT` is 1 to [`BLAKE2S_HASH_SIZE`]; any other length does not compile. RFC 7693.
pub(crate) fn blake2s<const OUT: usize>(parts: &[&[u8]], out: &mut [u8; OUT]) {
    blake2s_parts(&[], parts, out);
}

/// Keyed BLAKE2s of the concatenated `parts`. Writes a digest of `OUT` bytes to `out`.
///
/// `KEY` is 1 to [`BLAKE2S_KEY_SIZE`] and `OUT` is 1 to [`BLAKE2S_HASH_SIZE`]; any other length
/// does not compile. RFC 7693.
pub(crate) fn blake2s_keyed<const KEY: usize, const OUT: usize>(
    key: &[u8; KEY],
    parts: &[&[u8]],
    out: &mut [u8; OUT],
) {
    const { assert!(KEY >= 1) };
    blake2s_parts(key, parts, out);
}

fn blake2s_parts<const KEY: usize, const OUT: usize>(
    key: &[u8; KEY],
    parts: &[&[u8]],
    out: &mut [u8; OUT],
) {
    const { assert!(KEY <= BLAKE2S_KEY_SIZE && OUT >= 1 && OUT <= BLAKE2S_HASH_SIZE) };

    let mut ctx = MaybeUninit::<bindings::blake2s_ctx>::uninit();
    // SAFETY: `ctx` is valid for writes, `key` for reads of `KEY` bytes, and both lengths are
    // within the limits of the algorithm, as asserted above. The call initialises every part of
    // `ctx` that the later calls read.
    unsafe { bindings::__blake2s_init(ctx.as_mut_ptr(), OUT, key.as_ptr().cast(), KEY) };
    for part in parts {
        // SAFETY: `ctx` was initialised above, and `part` is valid for reads of its length.
        unsafe { bindings::blake2s_update(ctx.as_mut_ptr(), part.as_ptr(), part.len()) };
    }
    // SAFETY: `ctx` was initialised above for a digest of `OUT` bytes, and `out` is valid for
    // writes of as many. The call zeroes `ctx`, so neither the key nor the input stays on the
    // stack.
    unsafe { bindings::blake2s_final(ctx.as_mut_ptr(), out.as_mut_ptr()) };
}
