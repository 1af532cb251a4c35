// SPDX-License-Identifier: GPL-2.0

//! ChaCha20-Poly1305 where the text lies, or in one pass from one place to another.
//!
//! The library's functions make the authenticator's key in a call of their own, with the slow code
//! for a single block. Here one pass of the cipher makes the key and the ciphertext: the text has a
//! block's worth of memory in front of it, which is borrowed for the key.
//!
//! C headers: [`include/crypto/chacha.h`](srctree/include/crypto/chacha.h),
//! [`include/crypto/poly1305.h`](srctree/include/crypto/poly1305.h)

use core::{
    mem::MaybeUninit,
    slice, //
};
use kernel::prelude::*;

use crate::linux::{
    bindings,
    compat::code::EBADMSG,
    crypto::{
        check_len,
        ct_eq,
        memzero_explicit,
        poly1305,
        ChachaState,
        Secret,
        CHACHA20POLY1305_AUTHTAG_SIZE,
        CHACHA20POLY1305_KEY_SIZE,
        CHACHA_BLOCK_SIZE,
        CHACHA_ROUNDS,
        POLY1305_BLOCK_SIZE,
        POLY1305_KEY_SIZE, //
    }, //
};

/// Most bytes of a text that [`chacha20poly1305_open`] decrypts in a copy: with the block for the
/// authenticator's key, as many as the library's quickest code makes in one step, which is 512.
const FIRST_PART: usize = 7 * CHACHA_BLOCK_SIZE;

/// Encrypts the `len` bytes of text in `buf` in place, in one pass of the cipher with the
/// authenticator's key.
///
/// The layout of `buf`:
/// * [`CHACHA_BLOCK_SIZE`] bytes of any content. They are overwritten meanwhile and restored before
///   the function returns.
/// * The text, `len` bytes.
/// * [`CHACHA20POLY1305_AUTHTAG_SIZE`] bytes that become the tag.
/// * Any number of further bytes. With at least [`CHACHA20POLY1305_AUTHTAG_SIZE`] of them the
///   function is quicker, and may overwrite them.
///
/// The result is that of
/// [`chacha20poly1305_encrypt`](crate::linux::crypto::chacha20poly1305_encrypt) without additional
/// data. That function makes the authenticator's key in a call of its own, with the library's slow
/// code for a single block. RFC 8439, section 2.8.
///
/// # Errors
///
/// `EINVAL` when `buf` is shorter than the first three parts, or longer than `i32::MAX` bytes.
/// Nothing is written then.
pub(crate) fn chacha20poly1305_seal(
    buf: &mut [u8],
    len: usize,
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(buf.len())?;
    let (block, sealed) = buf
        .split_first_chunk_mut::<CHACHA_BLOCK_SIZE>()
        .ok_or(EINVAL)?;
    if !tag_fits(sealed, len) {
        return Err(EINVAL);
    }
    let before = core::mem::replace(block, [0; CHACHA_BLOCK_SIZE]);
    let mut state = ChachaState::zeroed();
    state.start(nonce, key);
    state.crypt_in_place(buf, CHACHA_BLOCK_SIZE.wrapping_add(len))?;
    let (block, sealed) = buf
        .split_first_chunk_mut::<CHACHA_BLOCK_SIZE>()
        .ok_or(EINVAL)?;
    let tag = poly1305_in_place(block, sealed, len);
    if let Some(place) = sealed
        .get_mut(len..)
        .and_then(|rest| rest.first_chunk_mut())
    {
        *place = tag;
    }
    // This also overwrites the authenticator's key.
    *block = before;
    Ok(())
}

/// Checks the tag behind the first `len` bytes of `buf` and decrypts these bytes in place.
///
/// As [`chacha20poly1305_seal`], it makes the authenticator's key and text in one pass of the
/// cipher. As the text must not change before the tag is checked, the first part of it is decrypted
/// in a copy on the stack, and the rest afterwards. The function may overwrite the tag and
/// [`CHACHA20POLY1305_AUTHTAG_SIZE`] bytes behind it.
///
/// # Errors
///
/// `EBADMSG` when the tag is wrong, `EINVAL` when `buf` is too short for the text and the tag, or
/// longer than `i32::MAX` bytes. The text is unchanged then.
pub(crate) fn chacha20poly1305_open(
    buf: &mut [u8],
    len: usize,
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(buf.len())?;
    let tag: [u8; CHACHA20POLY1305_AUTHTAG_SIZE] = *buf
        .get(len..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(EINVAL)?;
    let first_len = len.min(FIRST_PART);
    let mut copy = MaybeUninit::uninit();
    let copy = PartCopy::new(&mut copy, buf.get(..first_len).ok_or(EINVAL)?)?;
    let mut state = ChachaState::zeroed();
    state.start(nonce, key);
    state.crypt_in_place(copy.0, CHACHA_BLOCK_SIZE.wrapping_add(first_len))?;
    let (block, first) = copy.0.split_first_chunk().ok_or(EINVAL)?;
    if !ct_eq(&poly1305_in_place(block, buf, len), &tag) {
        return Err(EBADMSG);
    }
    let text = buf.get_mut(..len).ok_or(EINVAL)?;
    let (text, rest) = text.split_at_mut_checked(first_len).ok_or(EINVAL)?;
    text.copy_from_slice(first);
    if !rest.is_empty() {
        state.set_counter((FIRST_PART / CHACHA_BLOCK_SIZE) as u32 + 1);
        state.crypt_in_place(rest, rest.len())?;
    }
    Ok(())
}

/// A block of zeros and a copy of text behind it, zeroed when dropped.
struct PartCopy<'a>(&'a mut [u8]);

impl<'a> PartCopy<'a> {
    /// Copies `text` to `place`. `EINVAL` if it is longer than [`FIRST_PART`].
    fn new(
        place: &'a mut MaybeUninit<[u8; CHACHA_BLOCK_SIZE + FIRST_PART]>,
        text: &[u8],
    ) -> Result<Self> {
        if text.len() > FIRST_PART {
            return Err(EINVAL);
        }
        let start = place.as_mut_ptr().cast::<u8>();
        let behind = start.wrapping_add(CHACHA_BLOCK_SIZE);
        let len = CHACHA_BLOCK_SIZE.wrapping_add(text.len());
        // SAFETY: `place` has room for a block.
        unsafe { start.write_bytes(0, CHACHA_BLOCK_SIZE) };
        // SAFETY: `place` has room for the text behind the block (see above), and is elsewhere.
        unsafe { behind.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        // SAFETY: `place` is borrowed exclusively, and its first `len` bytes are initialised.
        Ok(Self(unsafe { slice::from_raw_parts_mut(start, len) }))
    }
}

impl Drop for PartCopy<'_> {
    fn drop(&mut self) {
        memzero_explicit(self.0);
    }
}

/// Checks the tag at the end of the text at `src` and decrypts the text into `dst`, in one pass of
/// the cipher with the authenticator's key.
///
/// In front of the text both have [`CHACHA_BLOCK_SIZE`] bytes of any content. Those of `dst` are
/// overwritten meanwhile and restored before the function returns; those of `src` are only read.
/// The length of `dst` says how long the text is: `dst` has exactly [`CHACHA_BLOCK_SIZE`] bytes
/// more than the text and the tag. Otherwise as [`chacha20poly1305_open`].
///
/// # Errors
///
/// * `EBADMSG` when the tag is wrong. `dst` then holds unauthenticated text, which must not be
///   used.
/// * `EAGAIN` instead when the bytes in front of `src` changed during the call. The tag may be
///   right all the same.
/// * `EINVAL` when `dst` is too short for a block and a tag, or longer than `i32::MAX` bytes.
///   Nothing is written then.
///
/// # Safety
///
/// * `src` must be valid for reads of the text and the tag. No other thread or device may write to
///   these bytes during the call.
/// * The [`CHACHA_BLOCK_SIZE`] bytes in front of `src` must be valid for reads too. Others may
///   write to these concurrently.
/// * None of these bytes may be in `dst`.
pub(crate) unsafe fn chacha20poly1305_open_from(
    dst: &mut [u8],
    src: *const u8,
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(dst.len())?;
    let len = dst
        .len()
        .checked_sub(CHACHA_BLOCK_SIZE + CHACHA20POLY1305_AUTHTAG_SIZE)
        .ok_or(EINVAL)?;
    // SAFETY: By the safety requirement these bytes are the text and the tag, and nothing writes to
    // them.
    let src =
        unsafe { slice::from_raw_parts(src, len.wrapping_add(CHACHA20POLY1305_AUTHTAG_SIZE)) };
    let (text, tag) = src
        .split_last_chunk::<CHACHA20POLY1305_AUTHTAG_SIZE>()
        .ok_or(EINVAL)?;
    let before = src.as_ptr().wrapping_sub(CHACHA_BLOCK_SIZE);
    let mut state = ChachaState::zeroed();
    state.start(nonce, key);
    let kept: [u8; CHACHA_BLOCK_SIZE] = *dst.first_chunk().ok_or(EINVAL)?;
    // SAFETY: `dst` and the bytes from `before` on have that many bytes each, and do not overlap.
    // Only C reads the bytes that others may write to.
    unsafe {
        bindings::chacha_crypt(
            state.as_raw(),
            dst.as_mut_ptr(),
            before,
            CHACHA_BLOCK_SIZE.wrapping_add(len) as u32,
            CHACHA_ROUNDS,
        )
    };
    let block = dst.first_chunk_mut::<CHACHA_BLOCK_SIZE>().ok_or(EINVAL)?;
    let mut poly1305_key = Secret::<POLY1305_KEY_SIZE>::zeroed();
    // SAFETY: All three have at least that many bytes, and do not overlap. Only C reads the bytes
    // at `before`, as above.
    unsafe {
        bindings::__crypto_xor(
            poly1305_key.as_mut_bytes().as_mut_ptr(),
            block.as_ptr(),
            before,
            POLY1305_KEY_SIZE as u32,
        )
    };
    *block = kept;
    if ct_eq(&poly1305_shared(poly1305_key.as_bytes(), text), tag) {
        return Ok(());
    }
    // `poly1305_key` was wrong if the bytes at `before` changed between the two calls that read
    // them.
    let mut right_key = Secret::<POLY1305_KEY_SIZE>::zeroed();
    state.start(nonce, key);
    state.crypt_in_place(right_key.as_mut_bytes(), POLY1305_KEY_SIZE)?;
    Err(if right_key.ct_eq(&poly1305_key) {
        EBADMSG
    } else {
        EAGAIN
    })
}

/// Whether `sealed` has room for a tag behind its first `len` bytes.
fn tag_fits(sealed: &[u8], len: usize) -> bool {
    sealed
        .len()
        .checked_sub(len)
        .is_some_and(|rest| rest >= CHACHA20POLY1305_AUTHTAG_SIZE)
}

/// The end of the authenticator's input for a ciphertext of `len` bytes without additional data.
/// RFC 8439, section 2.8.
///
/// The first block is a place for a partial last block of the ciphertext, with zeros for its bytes
/// and its padding. The second block has the two lengths: 0 for the additional data, then `len`.
fn poly1305_end(len: usize) -> [u8; 2 * POLY1305_BLOCK_SIZE] {
    let mut end = [0; 2 * POLY1305_BLOCK_SIZE];
    if let Some(last) = end.last_chunk_mut() {
        *last = (len as u64).to_le_bytes();
    }
    end
}

/// The tag of a ciphertext without additional data: the first `len` bytes of `sealed`. The bytes
/// behind them may be overwritten. RFC 8439, section 2.8.
///
/// `block` is the first block of the ChaCha20 key stream; its first half is the authenticator's
/// key.
fn poly1305_in_place(
    block: &[u8; CHACHA_BLOCK_SIZE],
    sealed: &mut [u8],
    len: usize,
) -> [u8; CHACHA20POLY1305_AUTHTAG_SIZE] {
    let [key, _]: &[[u8; POLY1305_KEY_SIZE]; 2] = zerocopy::transmute_ref!(block);
    let tail = poly1305_end(len);
    let tail = tail
        .get(POLY1305_BLOCK_SIZE.wrapping_sub(len.wrapping_neg() & (POLY1305_BLOCK_SIZE - 1))..)
        .unwrap_or_default();
    // With the tail put behind the text, the input is one piece.
    match sealed
        .get_mut(len..)
        .and_then(|rest| rest.get_mut(..tail.len()))
    {
        Some(behind) => {
            behind.copy_from_slice(tail);
            let len = len.wrapping_add(tail.len());
            poly1305(key, sealed.get(..len).unwrap_or_default(), &[])
        }
        None => poly1305(key, sealed.get(..len).unwrap_or_default(), tail),
    }
}

/// The tag of the ciphertext `text` without additional data. Nothing is written behind the text.
///
/// A partial last block is authenticated in one piece with the lengths: each additional piece costs
/// time.
fn poly1305_shared(
    key: &[u8; POLY1305_KEY_SIZE],
    text: &[u8],
) -> [u8; CHACHA20POLY1305_AUTHTAG_SIZE] {
    let (blocks, rest) = text.split_at(text.len() & !(POLY1305_BLOCK_SIZE - 1));
    let mut tail = poly1305_end(text.len());
    let tail = match tail.get_mut(..rest.len()) {
        Some(partial) if !rest.is_empty() => {
            partial.copy_from_slice(rest);
            &tail
        }
        _ => tail.get(POLY1305_BLOCK_SIZE..).unwrap_or_default(),
    };
    poly1305(key, blocks, tail)
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
