// SPDX-License-Identifier: GPL-2.0

//! ChaCha20-Poly1305 and XChaCha20-Poly1305, from one piece of memory into another.
//!
//! C header: [`include/crypto/chacha20poly1305.h`](srctree/include/crypto/chacha20poly1305.h)

use kernel::prelude::*;

use crate::linux::compat::code::EBADMSG;

use super::bindings;

/// Length of a ChaCha20-Poly1305 or XChaCha20-Poly1305 key, in bytes (`CHACHA20POLY1305_KEY_SIZE`).
pub(crate) const CHACHA20POLY1305_KEY_SIZE: usize = 32;
/// Length of the tag that either appends to the ciphertext, in bytes
/// (`CHACHA20POLY1305_AUTHTAG_SIZE`).
pub(crate) const CHACHA20POLY1305_AUTHTAG_SIZE: usize = 16;
/// Length of an XChaCha20-Poly1305 nonce, in bytes (`XCHACHA20POLY1305_NONCE_SIZE`).
pub(crate) const XCHACHA20POLY1305_NONCE_SIZE: usize = 24;

/// Checks that the library processes a text of `len` bytes as a whole.
///
/// The library counts in `unsigned int` internally: it would silently leave the rest of a longer
/// text unencrypted.
pub(in crate::linux) fn check_len(len: usize) -> Result {
    if len > i32::MAX as usize {
        return Err(EINVAL);
    }
    Ok(())
}

/// Checks that `sealed` is one tag longer than `text`, and that the library processes all of it.
fn check_sealed(sealed: &[u8], text: &[u8]) -> Result {
    check_len(sealed.len())?;
    if sealed.len().checked_sub(CHACHA20POLY1305_AUTHTAG_SIZE) != Some(text.len()) {
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
/// `EINVAL` when `dst` is not exactly one tag longer than `src`, or longer than `i32::MAX` bytes.
/// Nothing is written then.
pub(crate) fn chacha20poly1305_encrypt(
    dst: &mut [u8],
    src: &[u8],
    ad: &[u8],
    nonce: u64,
    key: &[u8; CHACHA20POLY1305_KEY_SIZE],
) -> Result {
    check_sealed(dst, src)?;
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
    check_sealed(src, dst)?;
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
    authentic.then_some(()).ok_or(EBADMSG)
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
    check_sealed(dst, src)?;
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
    check_sealed(src, dst)?;
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
    authentic.then_some(()).ok_or(EBADMSG)
}
