// SPDX-License-Identifier: GPL-2.0

//! Authenticated encryption of packets.
//!
//! C header: [`include/crypto/chacha20poly1305.h`](srctree/include/crypto/chacha20poly1305.h)

use core::ptr::NonNull;
use kernel::prelude::*;

use crate::linux::{
    bindings,
    crypto::{
        CHACHA20POLY1305_AUTHTAG_SIZE as TAG_LEN,
        CHACHA_BLOCK_SIZE, //
    },
    engine::aead::{
        chacha20poly1305_open,
        chacha20poly1305_open_from,
        chacha20poly1305_seal, //
    },
    page_pool::PagePools,
    skbuff::{
        DropReason,
        Linear,
        SkBuff, //
    },
};

/// Most bytes of padding that [`SkBuff::seal`] appends to the data.
const MAX_PAD: usize = 65_535;

impl SkBuff {
    /// Encrypts the data in place and authenticates it with ChaCha20-Poly1305.
    ///
    /// First `pad` zero bytes are appended and the data is encrypted. Then the 16-byte tag is
    /// appended, and `header`, which is neither encrypted nor authenticated, is put in front. The
    /// data is copied if it is in pieces or shared. There must be 64 bytes of headroom: see
    /// [`SkBuff::cow_head`].
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is less headroom, if `header` is longer than 64 bytes, or if `pad` is more
    /// than 65,535. `EMSGSIZE` if the packet is too long, `ENOMEM`. After an error nothing may read
    /// the packet: it must be dropped.
    pub(crate) fn seal(&mut self, header: &[u8], pad: usize, nonce: u64, key: &[u8; 32]) -> Result {
        let front = CHACHA_BLOCK_SIZE.checked_sub(header.len()).ok_or(EINVAL)?;
        if pad > MAX_PAD || self.headroom() < CHACHA_BLOCK_SIZE {
            return Err(EINVAL);
        }
        // None of these overflows: the length of a packet has 32 bits.
        let trailer_len = pad.wrapping_add(TAG_LEN);
        let text_len = self.len();
        let plain_len = text_len.wrapping_add(pad);
        let sealed_len = plain_len.wrapping_add(TAG_LEN);
        if i32::try_from(sealed_len.saturating_add(header.len())).is_err() {
            return Err(EMSGSIZE);
        }
        let mut linear = self.make_linear(trailer_len)?;
        linear.put(trailer_len)?;
        linear.push(header.len())?;
        // There are `front` bytes of headroom, as there were `CHACHA_BLOCK_SIZE` before the header
        // was put in front.
        let memory = linear.memory(front, slack(&linear)).ok_or(EINVAL)?;
        part(memory, front, header.len())?.copy_from_slice(header);
        part(memory, CHACHA_BLOCK_SIZE.wrapping_add(text_len), pad)?.fill(0);
        chacha20poly1305_seal(memory, plain_len, nonce, key)
    }

    /// Checks the tag of the data behind their first `skip` bytes, and decrypts that data with
    /// ChaCha20-Poly1305. The packet that comes back has lost the `skip` bytes and the 16-byte tag.
    ///
    /// The data of that packet are in one piece, which is not shared. The headers in front of the
    /// data, from the network header on, its protocol, control block and incoming interface are
    /// those of this packet. If the data are in pieces or shared, they have to be copied: then the
    /// packet is a new one, and the data are decrypted on the way.
    ///
    /// Process or softirq context.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if the tag is wrong, `EINVAL` if the packet is too short, `ENOMEM`.
    pub(crate) fn open(
        mut self,
        skip: usize,
        nonce: u64,
        key: &[u8; 32],
        pools: &PagePools,
    ) -> Result<Self> {
        match self.try_open(skip, nonce, key, pools) {
            Ok(None) => Ok(self),
            Ok(Some(opened)) => {
                self.consume();
                Ok(opened)
            }
            Err(error) => {
                self.discard(DropReason::no_room(&error, DropReason::DriverHeader));
                Err(error)
            }
        }
    }

    /// As [`Self::open`]. Returns the packet if it is a new one.
    fn try_open(
        &mut self,
        skip: usize,
        nonce: u64,
        key: &[u8; 32],
        pools: &PagePools,
    ) -> Result<Option<Self>> {
        let plain_len = self
            .len()
            .checked_sub(skip)
            .and_then(|len| len.checked_sub(TAG_LEN))
            .ok_or(EINVAL)?;
        match self.open_from(skip, nonce, key, pools) {
            Err(error) if error == EAGAIN => {}
            opened => return opened.map(Some),
        }
        let mut linear = self.linearize_cow()?;
        linear.pull(skip)?;
        let memory = linear.memory(0, slack(&linear)).ok_or(EINVAL)?;
        chacha20poly1305_open(memory, plain_len, nonce, key)?;
        self.trim(plain_len)?;
        // SAFETY: The buffer is valid and ours, and its data are linear.
        unsafe { bindings::helper_skb_account_linear(self.as_raw()) };
        Ok(None)
    }

    /// [`Self::open`] for data that lie in a fragment: decrypts them from there into a new packet.
    /// `EAGAIN` if they do not lie so, or if there is no memory.
    fn open_from(
        &self,
        skip: usize,
        nonce: u64,
        key: &[u8; 32],
        pools: &PagePools,
    ) -> Result<Self> {
        let (Ok(offset), Some(len)) = (u32::try_from(skip), self.len().checked_sub(skip)) else {
            return Err(EAGAIN);
        };
        if !self.has_headers() {
            return Err(EAGAIN);
        }
        // SAFETY: The buffer is valid.
        let source = unsafe { bindings::helper_skb_source(self.as_raw(), offset) }.cast::<u8>();
        if source.is_null() {
            return Err(EAGAIN);
        }
        // SAFETY: The buffer is valid, and its headers are in front of its data (see above).
        // The length of a packet fits.
        let text =
            unsafe { bindings::helper_skb_alloc_text(self.as_raw(), len as u32, pools.as_raw()) };
        let text = NonNull::new(text).ok_or(EAGAIN)?;
        // SAFETY: The buffer is new and ours.
        let mut text = unsafe { Self::from_raw(text) };
        let mut linear = text.linear().ok_or(EINVAL)?;
        // The new buffer has a block's worth in front of its data, of which there are none yet, and
        // room for `len` bytes of them.
        let memory = linear.memory(CHACHA_BLOCK_SIZE, len).ok_or(EINVAL)?;
        // SAFETY: By `helper_skb_source()` the `len` bytes of the packet are at `source`, and
        // nothing writes to them. The block's worth in front of them can be read.
        let opened = unsafe { chacha20poly1305_open_from(memory, source, nonce, key) };
        let plain_len = len.checked_sub(TAG_LEN).ok_or(EINVAL);
        match opened.and_then(|()| linear.put(plain_len?)) {
            Ok(()) => Ok(text),
            Err(error) => {
                // The packet is lost, not the place for its text.
                text.consume();
                Err(error)
            }
        }
    }
}

/// How many bytes behind the data the cipher may overwrite. It has no use for more than a tag's
/// length.
fn slack(linear: &Linear<'_>) -> usize {
    linear.tailroom().min(TAG_LEN)
}

/// The `len` bytes of `memory` from `start` on. `EINVAL` if there are fewer.
fn part(memory: &mut [u8], start: usize, len: usize) -> Result<&mut [u8]> {
    memory
        .get_mut(start..)
        .and_then(|rest| rest.get_mut(..len))
        .ok_or(EINVAL)
}
