// SPDX-License-Identifier: GPL-2.0

//! Poly1305.
//!
//! C header: [`include/crypto/poly1305.h`](srctree/include/crypto/poly1305.h)

use core::mem::MaybeUninit;

use super::bindings;

/// Length of a block of Poly1305, in bytes (`POLY1305_BLOCK_SIZE`).
pub(in crate::linux) const POLY1305_BLOCK_SIZE: usize = 16;
/// Length of a Poly1305 key, in bytes (`POLY1305_KEY_SIZE`).
pub(in crate::linux) const POLY1305_KEY_SIZE: usize = 32;
/// Length of a tag, in bytes (`POLY1305_DIGEST_SIZE`).
const POLY1305_DIGEST_SIZE: usize = 16;

/// The Poly1305 tag of `text` followed by `tail`. RFC 8439, section 2.5.
///
/// The library counts in `unsigned int`. Both must be shorter than 4 GiB: of a longer one only a
/// part would be authenticated.
pub(in crate::linux) fn poly1305(
    key: &[u8; POLY1305_KEY_SIZE],
    text: &[u8],
    tail: &[u8],
) -> [u8; POLY1305_DIGEST_SIZE] {
    let mut ctx = MaybeUninit::<bindings::poly1305_desc_ctx>::uninit();
    let mut tag = [0; POLY1305_DIGEST_SIZE];
    // SAFETY: `ctx` is valid for writes, `key` for reads. The call initialises every part of `ctx`
    // that the later calls read.
    unsafe { bindings::poly1305_init(ctx.as_mut_ptr(), key.as_ptr()) };
    let mut update = |part: &[u8]| {
        // SAFETY: `ctx` was initialised above; `part` is valid for reads of its length, and the
        // number passed is no larger than that.
        unsafe { bindings::poly1305_update(ctx.as_mut_ptr(), part.as_ptr(), part.len() as u32) };
    };
    update(text);
    if !tail.is_empty() {
        update(tail);
    }
    // SAFETY: `ctx` was initialised above, and `tag` is valid for writes of a tag. The call zeroes
    // `ctx`.
    unsafe { bindings::poly1305_final(ctx.as_mut_ptr(), tag.as_mut_ptr()) };
    tag
}
