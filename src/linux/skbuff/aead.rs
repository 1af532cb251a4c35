// SPDX-License-Identifier: GPL-2.0

//! Authenticated encryption of packets where they are.
//!
//! C headers: [`include/crypto/chacha20poly1305.h`](srctree/include/crypto/chacha20poly1305.h),
//! [`include/linux/scatterlist.h`](srctree/include/linux/scatterlist.h)

use core::ptr;
use kernel::{
    error::to_result,
    prelude::*, //
};

use super::SkBuff;
use crate::linux::{
    bindings,
    errno::EBADMSG, //
};

/// Bytes of the authentication tag that [`SkBuff::seal`] appends and [`SkBuff::open`] takes away.
const TAG_LEN: usize = bindings::chacha20poly1305_lengths_CHACHA20POLY1305_AUTHTAG_SIZE as usize;
/// Most bytes of padding that [`SkBuff::seal`] puts behind the data.
const MAX_PAD: usize = 65_535;
/// Scatterlist entries that fit any packet which `skb_cow_data()` left in pieces.
const MAX_SG: usize = bindings::MAX_SKB_FRAGS as usize + 8;

impl SkBuff {
    /// Encrypts the data in place and authenticates it with ChaCha20-Poly1305.
    ///
    /// `pad` zero bytes are appended first, then the data is encrypted, then the 16-byte tag appended and
    /// `header`, which is neither encrypted nor authenticated, put in front. The data is copied if somebody
    /// else refers to it. There must be `header.len()` bytes of headroom: see [`SkBuff::cow_head`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is not that much headroom or `pad` is more than 65,535, `EMSGSIZE` if the packet is too long
    /// or in too many pieces, `ENOMEM`. What is in the packet then is not for anyone to see: it is to be dropped.
    pub(crate) fn seal(&mut self, header: &[u8], pad: usize, nonce: u64, key: &[u8; 32]) -> Result {
        if pad > MAX_PAD {
            return Err(EINVAL);
        }
        // None of these overflows: the length of a packet has 32 bits.
        let trailer_len = pad.wrapping_add(TAG_LEN);
        let plain_len = self.len().wrapping_add(pad);
        let sealed_len = plain_len.wrapping_add(TAG_LEN);
        if i32::try_from(sealed_len.saturating_add(header.len())).is_err() {
            return Err(EMSGSIZE);
        }
        let tailbits = trailer_len as i32;
        let mut trailer = ptr::null_mut();
        // SAFETY: The buffer is valid and ours; `trailer` is set on success to the last buffer of the packet,
        // which then has `tailbits` bytes of tailroom, and all data is writable.
        let frags = unsafe { bindings::skb_cow_data(self.as_raw(), tailbits, &mut trailer) };
        to_result(frags)?;
        // SAFETY: `trailer` has `trailer_len` bytes of tailroom (see above), of which `pad` are cleared.
        unsafe { ptr::write_bytes(bindings::skb_tail_pointer(trailer), 0, pad) };
        self.push(header.len())?;
        // SAFETY: The data now starts with at least `header.len()` linear bytes that are ours: they were
        // headroom, and `skb_cow_data()` has copied the buffer if it was shared.
        unsafe { ptr::copy_nonoverlapping(header.as_ptr(), self.skb().data, header.len()) };
        // SAFETY: `trailer` is the last buffer of this packet and has the room.
        unsafe { bindings::pskb_put(self.as_raw(), trailer, tailbits) };
        if self.skb().data_len == 0 {
            // SAFETY: The linear part is `header`, `plain_len` bytes and the tag; it is ours alone, and the
            // library allows to encrypt in place.
            unsafe {
                let data = self.skb().data.add(header.len());
                bindings::chacha20poly1305_encrypt(
                    data,
                    data,
                    plain_len,
                    ptr::null(),
                    0,
                    nonce,
                    key.as_ptr(),
                )
            };
            return Ok(());
        }
        self.with_sg(frags, header.len(), sealed_len, |sg| {
            // SAFETY: The scatterlist covers the plain text and the tag of this packet.
            unsafe {
                bindings::chacha20poly1305_encrypt_sg_inplace(
                    sg,
                    plain_len,
                    ptr::null(),
                    0,
                    nonce,
                    key.as_ptr(),
                )
            }
        })
    }

    /// Checks the tag of the data and decrypts it in place with ChaCha20-Poly1305.
    ///
    /// On success the data is the plain text: the 16-byte tag is gone. Everything from the network header on
    /// stays in the linear part, before the data. Fails with `EBADMSG` if the tag is wrong.
    pub(crate) fn open(&mut self, nonce: u64, key: &[u8; 32]) -> Result {
        // The outer headers are copied along with the data if it has to be copied.
        let outer = usize::try_from(self.network_offset().wrapping_neg()).map_err(|_| EINVAL)?;
        self.push(outer)?;
        let mut trailer = ptr::null_mut();
        // SAFETY: The buffer is valid and ours; on success all of its data is writable.
        let frags = unsafe { bindings::skb_cow_data(self.as_raw(), 0, &mut trailer) };
        self.pull(outer)?;
        to_result(frags)?;
        let len = self.len();
        let ok = if self.skb().data_len == 0 {
            let data = self.skb().data;
            // SAFETY: The linear part has `len` bytes that are ours alone, and the library allows to decrypt
            // in place.
            unsafe {
                bindings::chacha20poly1305_decrypt(
                    data,
                    data,
                    len,
                    ptr::null(),
                    0,
                    nonce,
                    key.as_ptr(),
                )
            }
        } else {
            self.with_sg(frags, 0, len, |sg| {
                // SAFETY: The scatterlist covers the data of this packet.
                unsafe {
                    bindings::chacha20poly1305_decrypt_sg_inplace(
                        sg,
                        len,
                        ptr::null(),
                        0,
                        nonce,
                        key.as_ptr(),
                    )
                }
            })
            .is_ok()
        };
        if !ok {
            return Err(EBADMSG);
        }
        // The headers are put back for the time of trimming: if it has to move data, they move along.
        self.push(outer)?;
        let trimmed = self.trim(self.len().wrapping_sub(TAG_LEN));
        self.pull(outer)?;
        trimmed
    }

    /// Runs `f` on a scatterlist of `len` bytes of the data from `offset` on.
    fn with_sg(
        &mut self,
        frags: i32,
        offset: usize,
        len: usize,
        f: impl FnOnce(*mut bindings::scatterlist) -> bool,
    ) -> Result {
        let frags = usize::try_from(frags).map_err(|_| EINVAL)?;
        if frags > MAX_SG {
            return Err(EMSGSIZE);
        }
        let (offset, len) = (
            i32::try_from(offset).map_err(|_| EMSGSIZE)?,
            i32::try_from(len).map_err(|_| EMSGSIZE)?,
        );
        let mut sg: [bindings::scatterlist; MAX_SG] = [pin_init::zeroed(); MAX_SG];
        // SAFETY: `sg` has at least `frags` entries, `skb_cow_data()` said that the packet has no more pieces.
        unsafe { bindings::sg_init_table(sg.as_mut_ptr(), frags as u32) };
        // SAFETY: As above; the range lies in the packet, or the function fails.
        let n = unsafe { bindings::skb_to_sgvec(self.as_raw(), sg.as_mut_ptr(), offset, len) };
        if n > 0 && f(sg.as_mut_ptr()) {
            Ok(())
        } else {
            Err(EBADMSG)
        }
    }
}
