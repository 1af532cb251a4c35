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
//! C headers: [`include/crypto/blake2s.h`](srctree/include/crypto/blake2s.h),
//! [`include/crypto/chacha20poly1305.h`](srctree/include/crypto/chacha20poly1305.h),
//! [`include/crypto/curve25519.h`](srctree/include/crypto/curve25519.h),
//! [`include/crypto/utils.h`](srctree/include/crypto/utils.h),
//! `memzero_explicit()` of [`include/linux/string.h`](srctree/include/linux/string.h)

use core::{
    mem::MaybeUninit,
    slice, //
};
use kernel::prelude::*;

use super::{
    bindings,
    random, //
};

/// Longest BLAKE2s digest, in bytes (`BLAKE2S_HASH_SIZE`).
pub(crate) const BLAKE2S_HASH_SIZE: usize = 32;
/// Length of the block BLAKE2s works on, in bytes (`BLAKE2S_BLOCK_SIZE`).
pub(crate) const BLAKE2S_BLOCK_SIZE: usize = 64;
/// Longest BLAKE2s key, in bytes (`BLAKE2S_KEY_SIZE`).
pub(crate) const BLAKE2S_KEY_SIZE: usize = 32;
/// Length of a ChaCha20-Poly1305 or XChaCha20-Poly1305 key, in bytes (`CHACHA20POLY1305_KEY_SIZE`).
pub(crate) const CHACHA20POLY1305_KEY_SIZE: usize = 32;
/// Length of the tag that either appends to the ciphertext, in bytes
/// (`CHACHA20POLY1305_AUTHTAG_SIZE`).
pub(crate) const CHACHA20POLY1305_AUTHTAG_SIZE: usize = 16;
/// Length of a block of ChaCha20 key stream, in bytes (`CHACHA_BLOCK_SIZE`).
pub(crate) const CHACHA_BLOCK_SIZE: usize = 64;
/// Longest text, in bytes, that [`chacha20poly1305_open`] decrypts by way of a copy on the stack,
/// in one pass of the cipher with the authenticator's key. Copying a longer text takes longer than
/// a second pass.
const SMALL_TEXT: usize = 256;
/// Length of a block of Poly1305, in bytes (`POLY1305_BLOCK_SIZE`).
const POLY1305_BLOCK_SIZE: usize = 16;
/// Length of a Poly1305 key, in bytes (`POLY1305_KEY_SIZE`).
const POLY1305_KEY_SIZE: usize = 32;
/// Rounds of ChaCha20.
const CHACHA_ROUNDS: i32 = 20;
/// Length of an XChaCha20-Poly1305 nonce, in bytes (`XCHACHA20POLY1305_NONCE_SIZE`).
pub(crate) const XCHACHA20POLY1305_NONCE_SIZE: usize = 24;
/// Length of a Curve25519 scalar or point, in bytes (`CURVE25519_KEY_SIZE`).
pub(crate) const CURVE25519_KEY_SIZE: usize = 32;

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

/// Checks that the library processes a text of `len` bytes as a whole.
///
/// The library counts in `unsigned int` internally: it would silently leave the rest of a longer
/// text unencrypted.
fn check_len(len: usize) -> Result {
    if len > i32::MAX as usize {
        return Err(EINVAL);
    }
    Ok(())
}

/// Encrypts `src` into `dst`, whose last [`CHACHA20POLY1305_AUTHTAG_SIZE`] bytes become the tag
/// over `ad` and the ciphertext. RFC 8439; the last eight bytes of the 96-bit nonce are `nonce` in
/// little-endian order, the first four are zero.
///
/// # Errors
///
/// `EINVAL` when `dst` is not exactly one tag longer than `src`, or `src` is longer than `i32::MAX`
/// bytes. Nothing is written then.
pub(crate) fn chacha20poly1305_encrypt(
    dst: &mut [u8],
    src: &[u8],
    ad: &[u8],
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(src.len())?;
    if dst.len().checked_sub(CHACHA20POLY1305_AUTHTAG_SIZE) != Some(src.len()) {
        return Err(EINVAL);
    }
    // SAFETY: `src`, `ad` and `key` are valid for reads of the lengths given, `dst` for writes of
    // the length of `src` and the tag, as checked above.
    unsafe {
        bindings::chacha20poly1305_encrypt(
            dst.as_mut_ptr(),
            src.as_ptr(),
            src.len(),
            ad.as_ptr(),
            ad.len(),
            nonce,
            key.as_ptr(),
        )
    };
    Ok(())
}

/// Checks the tag at the end of `src` and decrypts the text before it into `dst`. RFC 8439, with
/// `nonce` as in [`chacha20poly1305_encrypt`].
///
/// # Errors
///
/// `EBADMSG` when the tag is wrong, `EINVAL` when `dst` is not exactly one tag shorter than `src`,
/// or `src` is longer than `i32::MAX` bytes. Nothing is written then.
pub(crate) fn chacha20poly1305_decrypt(
    dst: &mut [u8],
    src: &[u8],
    ad: &[u8],
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(src.len())?;
    if src.len().checked_sub(CHACHA20POLY1305_AUTHTAG_SIZE) != Some(dst.len()) {
        return Err(EINVAL);
    }
    // SAFETY: `src`, `ad` and `key` are valid for reads of the lengths given, `dst` for writes of
    // the length of `src` less the tag, as checked above.
    let authentic = unsafe {
        bindings::chacha20poly1305_decrypt(
            dst.as_mut_ptr(),
            src.as_ptr(),
            src.len(),
            ad.as_ptr(),
            ad.len(),
            nonce,
            key.as_ptr(),
        )
    };
    if authentic {
        Ok(())
    } else {
        Err(EBADMSG)
    }
}

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
/// The result is that of [`chacha20poly1305_encrypt`] without additional data. That function makes
/// the authenticator's key in a call of its own, with the library's slow code for a single block.
/// RFC 8439, section 2.8.
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
/// As [`chacha20poly1305_seal`], it makes the authenticator's key with the library's quick code,
/// and may overwrite the tag and [`CHACHA20POLY1305_AUTHTAG_SIZE`] bytes behind it.
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
    let mut state = ChachaState::zeroed();
    state.start(nonce, key);
    if len <= SMALL_TEXT {
        let mut blocks = Secret::<{ CHACHA_BLOCK_SIZE + SMALL_TEXT }>::zeroed();
        let text = buf.get_mut(..len).ok_or(EINVAL)?;
        let (_, rest) = blocks.0.split_at_mut(CHACHA_BLOCK_SIZE);
        let copy = rest.get_mut(..len).ok_or(EINVAL)?;
        copy.copy_from_slice(text);
        state.crypt_in_place(&mut blocks.0, CHACHA_BLOCK_SIZE.wrapping_add(len))?;
        let (block, rest) = blocks.0.split_at(CHACHA_BLOCK_SIZE);
        let block = block.first_chunk().ok_or(EINVAL)?;
        if !ct_eq(&poly1305_in_place(block, buf, len), &tag) {
            return Err(EBADMSG);
        }
        let text = buf.get_mut(..len).ok_or(EINVAL)?;
        text.copy_from_slice(rest.get(..len).ok_or(EINVAL)?);
        return Ok(());
    }
    // One block more than needed: the library has no quick code for a single block.
    let mut blocks = Secret::<{ 2 * CHACHA_BLOCK_SIZE }>::zeroed();
    state.crypt_in_place(&mut blocks.0, 2 * CHACHA_BLOCK_SIZE)?;
    let block = blocks.0.first_chunk().ok_or(EINVAL)?;
    if !ct_eq(&poly1305_in_place(block, buf, len), &tag) {
        return Err(EBADMSG);
    }
    state.set_counter(1);
    state.crypt_in_place(buf, len)
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
            &mut state.0,
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
            poly1305_key.0.as_mut_ptr(),
            block.as_ptr(),
            before,
            POLY1305_KEY_SIZE as u32,
        )
    };
    *block = kept;
    // A partial last block is authenticated in one piece with the lengths: each additional piece
    // costs time.
    let (blocks, rest) = text.split_at(text.len() & !(POLY1305_BLOCK_SIZE - 1));
    let mut tail = poly1305_end(text.len());
    let tail = if rest.is_empty() {
        tail.get(POLY1305_BLOCK_SIZE..).ok_or(EINVAL)?
    } else {
        tail.get_mut(..rest.len())
            .ok_or(EINVAL)?
            .copy_from_slice(rest);
        &tail
    };
    if ct_eq(&poly1305(&poly1305_key.0, blocks, tail), tag) {
        return Ok(());
    }
    // `poly1305_key` was wrong if the bytes at `before` changed between the two calls that read
    // them.
    let mut right_key = Secret::<POLY1305_KEY_SIZE>::zeroed();
    state.start(nonce, key);
    state.crypt_in_place(&mut right_key.0, POLY1305_KEY_SIZE)?;
    Err(if ct_eq(&right_key.0, &poly1305_key.0) {
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

/// The state of ChaCha20, zeroed when dropped.
struct ChachaState(bindings::chacha_state);

impl ChachaState {
    /// A state for [`ChachaState::start`] to fill in.
    const fn zeroed() -> Self {
        Self(bindings::chacha_state { x: [0; 16] })
    }

    /// Sets the state before the first block, number 0. RFC 8439, section 2.3, with `nonce` as in
    /// [`chacha20poly1305_encrypt`].
    #[inline(always)]
    fn start(&mut self, nonce: u64, key: &[u8; CHACHA20POLY1305_KEY_SIZE]) {
        let [k0, k1, k2, k3, k4, k5, k6, k7]: [zerocopy::little_endian::U32; 8] =
            zerocopy::transmute!(*key);
        let [n0, n1]: [zerocopy::little_endian::U32; 2] = zerocopy::transmute!(nonce.to_le_bytes());
        self.0.x = [
            bindings::chacha_constants_CHACHA_CONSTANT_EXPA,
            bindings::chacha_constants_CHACHA_CONSTANT_ND_3,
            bindings::chacha_constants_CHACHA_CONSTANT_2_BY,
            bindings::chacha_constants_CHACHA_CONSTANT_TE_K,
            k0.get(),
            k1.get(),
            k2.get(),
            k3.get(),
            k4.get(),
            k5.get(),
            k6.get(),
            k7.get(),
            0,
            0,
            n0.get(),
            n1.get(),
        ];
    }

    /// Encrypts or decrypts the first `len` bytes of `buf`. `EINVAL` if `buf` is shorter than that,
    /// or longer than `i32::MAX` bytes.
    #[inline(always)]
    fn crypt_in_place(&mut self, buf: &mut [u8], len: usize) -> Result {
        check_len(buf.len())?;
        let start = buf.get_mut(..len).ok_or(EINVAL)?.as_mut_ptr();
        // SAFETY: `buf` has `len` bytes, and the cipher reads each block before it writes it.
        unsafe { bindings::chacha_crypt(&mut self.0, start, start, len as u32, CHACHA_ROUNDS) };
        Ok(())
    }

    /// Sets the number of the next block, counted from 0.
    fn set_counter(&mut self, block: u32) {
        let [.., counter, _, _, _] = &mut self.0.x;
        *counter = block;
    }
}

impl Drop for ChachaState {
    fn drop(&mut self) {
        // SAFETY: The state is valid for writes and consists of integers, for which zero is a valid
        // value.
        unsafe {
            bindings::memzero_explicit((&raw mut self.0).cast(), size_of_val(&self.0));
        }
    }
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

/// The Poly1305 tag of `text` followed by `tail`. RFC 8439, section 2.5.
fn poly1305(
    key: &[u8; POLY1305_KEY_SIZE],
    text: &[u8],
    tail: &[u8],
) -> [u8; CHACHA20POLY1305_AUTHTAG_SIZE] {
    let mut ctx = MaybeUninit::<bindings::poly1305_desc_ctx>::uninit();
    let mut tag = [0; CHACHA20POLY1305_AUTHTAG_SIZE];
    // SAFETY: `ctx` is valid for writes, `key` for reads. The call initialises every part of `ctx`
    // that the later calls read.
    unsafe { bindings::poly1305_init(ctx.as_mut_ptr(), key.as_ptr()) };
    // SAFETY: `ctx` was initialised above; `text` is valid for reads of its length, which fits a
    // `u32` by `check_len()` in the callers.
    unsafe { bindings::poly1305_update(ctx.as_mut_ptr(), text.as_ptr(), text.len() as u32) };
    if !tail.is_empty() {
        // SAFETY: As above; the tail has at most two blocks.
        unsafe { bindings::poly1305_update(ctx.as_mut_ptr(), tail.as_ptr(), tail.len() as u32) };
    }
    // SAFETY: `ctx` was initialised above, and `tag` is valid for writes of a tag. The call zeroes
    // `ctx`.
    unsafe { bindings::poly1305_final(ctx.as_mut_ptr(), tag.as_mut_ptr()) };
    tag
}

/// Encrypts `src` into `dst`, whose last [`CHACHA20POLY1305_AUTHTAG_SIZE`] bytes become the tag
/// over `ad` and the ciphertext. draft-irtf-cfrg-xchacha.
///
/// # Errors
///
/// As for [`chacha20poly1305_encrypt`].
pub(crate) fn xchacha20poly1305_encrypt(
    dst: &mut [u8],
    src: &[u8],
    ad: &[u8],
    nonce: &[u8; XCHACHA20POLY1305_NONCE_SIZE],
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(src.len())?;
    if dst.len().checked_sub(CHACHA20POLY1305_AUTHTAG_SIZE) != Some(src.len()) {
        return Err(EINVAL);
    }
    // SAFETY: `src`, `ad`, `nonce` and `key` are valid for reads of the lengths given, `dst` for
    // writes of the length of `src` and the tag, as checked above.
    unsafe {
        bindings::xchacha20poly1305_encrypt(
            dst.as_mut_ptr(),
            src.as_ptr(),
            src.len(),
            ad.as_ptr(),
            ad.len(),
            nonce.as_ptr(),
            key.as_ptr(),
        )
    };
    Ok(())
}

/// Checks the tag at the end of `src` and decrypts the text before it into `dst`.
/// draft-irtf-cfrg-xchacha.
///
/// # Errors
///
/// As for [`chacha20poly1305_decrypt`].
pub(crate) fn xchacha20poly1305_decrypt(
    dst: &mut [u8],
    src: &[u8],
    ad: &[u8],
    nonce: &[u8; XCHACHA20POLY1305_NONCE_SIZE],
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_len(src.len())?;
    if src.len().checked_sub(CHACHA20POLY1305_AUTHTAG_SIZE) != Some(dst.len()) {
        return Err(EINVAL);
    }
    // SAFETY: `src`, `ad`, `nonce` and `key` are valid for reads of the lengths given, `dst` for
    // writes of the length of `src` less the tag, as checked above.
    let authentic = unsafe {
        bindings::xchacha20poly1305_decrypt(
            dst.as_mut_ptr(),
            src.as_ptr(),
            src.len(),
            ad.as_ptr(),
            ad.len(),
            nonce.as_ptr(),
            key.as_ptr(),
        )
    };
    if authentic {
        Ok(())
    } else {
        Err(EBADMSG)
    }
}

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
/// [`random::wait_for_random_bytes`].
pub(crate) fn curve25519_generate_secret(secret: &mut Secret<CURVE25519_KEY_SIZE>) {
    secret.randomize();
    curve25519_clamp_secret(secret);
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
