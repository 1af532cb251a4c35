// SPDX-License-Identifier: GPL-2.0

//! ChaCha20.
//!
//! C header: [`include/crypto/chacha.h`](srctree/include/crypto/chacha.h)

use kernel::prelude::*;
use zerocopy::IntoBytes;

use super::{
    bindings,
    check_len,
    memzero_explicit,
    CHACHA20POLY1305_KEY_SIZE, //
};

/// Length of a block of ChaCha20 key stream, in bytes (`CHACHA_BLOCK_SIZE`).
pub(crate) const CHACHA_BLOCK_SIZE: usize = 64;
/// Rounds of ChaCha20.
pub(in crate::linux) const CHACHA_ROUNDS: i32 = 20;

/// The state of ChaCha20, zeroed when dropped.
pub(in crate::linux) struct ChachaState(bindings::chacha_state);

impl ChachaState {
    /// A state for [`ChachaState::start`] to fill in.
    pub(in crate::linux) const fn zeroed() -> Self {
        Self(bindings::chacha_state { x: [0; 16] })
    }

    /// Sets the state before the first block, number 0. RFC 8439, section 2.3, with `nonce` as in
    /// [`chacha20poly1305_encrypt`](super::chacha20poly1305_encrypt).
    #[inline(always)]
    pub(in crate::linux) fn start(&mut self, nonce: u64, key: &[u8; CHACHA20POLY1305_KEY_SIZE]) {
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
    pub(in crate::linux) fn crypt_in_place(&mut self, buf: &mut [u8], len: usize) -> Result {
        check_len(buf.len())?;
        let start = buf.get_mut(..len).ok_or(EINVAL)?.as_mut_ptr();
        // SAFETY: `buf` has `len` bytes, and the cipher reads each block before it writes it.
        unsafe { bindings::chacha_crypt(&mut self.0, start, start, len as u32, CHACHA_ROUNDS) };
        Ok(())
    }

    /// The C structure, for `chacha_crypt()` from one place to another.
    #[inline(always)]
    pub(in crate::linux) fn as_raw(&mut self) -> *mut bindings::chacha_state {
        &raw mut self.0
    }

    /// Sets the number of the next block, counted from 0.
    pub(in crate::linux) fn set_counter(&mut self, block: u32) {
        let [.., counter, _, _, _] = &mut self.0.x;
        *counter = block;
    }
}

impl Drop for ChachaState {
    fn drop(&mut self) {
        memzero_explicit(self.0.x.as_mut_bytes());
    }
}
