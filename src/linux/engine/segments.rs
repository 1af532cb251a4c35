// SPDX-License-Identifier: GPL-2.0

//! Aggregates: datagrams of one size that walk the stack as one skb. [`Segments`] makes one while
//! it encrypts.
//!
//! A program gets the same with `UDP_SEGMENT`. The stack splits the aggregate when it leaves by a
//! device that cannot do that itself, and wherever the datagrams have to be seen or fragmented.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h) (`SKB_GSO_UDP_L4`)

use core::{
    ptr,
    slice, //
};
use kernel::prelude::*;

use crate::linux::{
    bindings,
    crypto::{
        CHACHA20POLY1305_AUTHTAG_SIZE,
        CHACHA20POLY1305_KEY_SIZE,
        CHACHA_BLOCK_SIZE, //
    },
    engine::{
        aead::chacha20poly1305_seal,
        PageRings, //
    },
    skbuff::{
        SkBuff,
        UDP_HEADER_LEN, //
    }, //
};

/// Most bytes to allocate in one piece: up to this size the page allocator is quick.
const MAX_CHUNK: usize = 32_768;
/// Most bytes of datagrams in an aggregate: the largest IP length, less the largest headers (UDP,
/// IPv6).
const MAX_BYTES: usize = 65_535 - 8 - 40;
/// Bytes behind a datagram that the cipher overwrites if it may.
const SLACK: usize = CHACHA20POLY1305_AUTHTAG_SIZE;
/// Longest datagram, in bytes, that is made in the linear part. When the core splits an aggregate,
/// it copies linear data, and a receiver decrypts the copy in place. Of data in fragments each
/// datagram refers to a shared page and is decrypted into one more buffer. For short datagrams the
/// copy is cheaper.
const MAX_LINEAR_LEN: usize = 256;
/// Most bytes of the linear part. Larger aggregates lie in fragments.
const MAX_LINEAR_BYTES: usize = 4096;
/// `UDP_MAX_SEGMENTS`: most datagrams of an aggregate.
const MAX_SEGMENTS: usize = 128;

/// Most datagrams of `len` bytes that an aggregate can have; 0 if `len` is 0 or too long.
pub(super) fn most_datagrams(len: usize) -> usize {
    MAX_BYTES.checked_div(len).unwrap_or(0).min(MAX_SEGMENTS)
}

/// An aggregate that is being made.
///
/// # Invariants
///
/// * The data of `skb` are `count` datagrams of `segment_len` bytes, except that the last may be
///   shorter. They are in its linear part if `linear` is set, else in its fragments. Nothing else
///   refers to their memory.
/// * Either `chunk` is null, and `used` is `size`. Or `chunk` is memory of `size` bytes: after the
///   first [`CHACHA_BLOCK_SIZE`] bytes come the linear data or the last fragment, which end at
///   `used`.
pub(crate) struct Segments<'a> {
    skb: SkBuff,
    pages: &'a PageRings,
    segment_len: usize,
    count: usize,
    /// How many datagrams there are to be.
    wanted: usize,
    chunk: *mut u8,
    used: usize,
    size: usize,
    /// The datagrams are short and few enough for the linear part.
    linear: bool,
    /// No datagram can follow.
    complete: bool,
}

impl<'a> Segments<'a> {
    /// An empty aggregate for at most `wanted` datagrams of `segment_len` bytes, with `headroom`
    /// bytes in front for the headers that they will share, the UDP header among them. Its memory
    /// comes from `pages`, unless it is short.
    ///
    /// Any context but hard interrupts. `EINVAL` if such a datagram is too long, or if the headroom
    /// is too small or too large; `ENOMEM`.
    pub(crate) fn new(
        headroom: usize,
        segment_len: usize,
        wanted: usize,
        pages: &'a PageRings,
    ) -> Result<Self> {
        let wanted = wanted.min(most_datagrams(segment_len));
        if wanted == 0 || segment_len > MAX_CHUNK - CHACHA_BLOCK_SIZE || headroom < UDP_HEADER_LEN {
            return Err(EINVAL);
        }
        let bytes = wanted.wrapping_mul(segment_len);
        let linear = segment_len <= MAX_LINEAR_LEN && bytes <= MAX_LINEAR_BYTES;
        let (front, size) = if linear {
            (headroom.max(CHACHA_BLOCK_SIZE), bytes)
        } else {
            (headroom, 0)
        };
        let mut skb = SkBuff::alloc(front, size)?;
        skb.set_inner_network_header();
        let (chunk, used) = if linear {
            let data = skb.skb().data;
            (data.wrapping_sub(CHACHA_BLOCK_SIZE), CHACHA_BLOCK_SIZE)
        } else {
            (ptr::null_mut(), 0)
        };
        // INVARIANT: There are no data. If `linear` is set, the memory is the last block's worth of
        // the headroom, and the room for `size` bytes behind it.
        Ok(Self {
            skb,
            pages,
            segment_len,
            count: 0,
            wanted,
            chunk,
            used,
            size: used.wrapping_add(size),
            linear,
            complete: false,
        })
    }

    /// Largest length of the next datagram, in bytes; 0 if none can follow.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        if self.complete {
            0
        } else {
            self.segment_len
        }
    }

    /// Appends a datagram: `header`, then `text` and `pad` zero bytes, both encrypted with
    /// ChaCha20-Poly1305, then the tag.
    ///
    /// Any context but hard interrupts. `EINVAL` if the datagram is longer than [`Self::room`] or
    /// the text cannot be written, `ENOMEM`. An error appends nothing.
    pub(crate) fn push(
        &mut self,
        text: &impl Text,
        header: &[u8],
        pad: usize,
        nonce: u64,
        key: &[u8; CHACHA20POLY1305_KEY_SIZE],
    ) -> Result {
        let overhead = header
            .len()
            .checked_add(pad)
            .and_then(|len| len.checked_add(CHACHA20POLY1305_AUTHTAG_SIZE))
            .ok_or(EINVAL)?;
        let text_len = text.len();
        let len = overhead.checked_add(text_len).ok_or(EINVAL)?;
        if len > self.room() || header.len() > CHACHA_BLOCK_SIZE {
            return Err(EINVAL);
        }
        if self.size.wrapping_sub(self.used) < len {
            self.grow(len)?;
        }
        let unused = self.size.wrapping_sub(self.used);
        let start = self
            .chunk
            .wrapping_add(self.used.wrapping_sub(CHACHA_BLOCK_SIZE));
        let whole = CHACHA_BLOCK_SIZE.wrapping_add(unused.min(len.wrapping_add(SLACK)));
        // SAFETY: By the type invariant these are bytes of `chunk`: at least `len` of them are not
        // used yet, and a block's worth lies in front of them. C leaves them uninitialised, but any
        // value is as good as any other.
        let memory = unsafe { slice::from_raw_parts_mut(start, whole) };
        // The cipher seals the text and needs a block's worth in front of it. The header is the end
        // of that block.
        let sealed = memory.get_mut(header.len()..).ok_or(EINVAL)?;
        let (data, rest) = sealed
            .get_mut(CHACHA_BLOCK_SIZE..)
            .and_then(|plain| plain.split_at_mut_checked(text_len))
            .ok_or(EINVAL)?;
        text.write(data).ok_or(EINVAL)?;
        rest.get_mut(..pad).ok_or(EINVAL)?.fill(0);
        let plain_len = text_len.wrapping_add(pad);
        chacha20poly1305_seal(sealed, plain_len, nonce, key)?;
        memory
            .get_mut(CHACHA_BLOCK_SIZE..)
            .and_then(|datagram| datagram.get_mut(..header.len()))
            .ok_or(EINVAL)?
            .copy_from_slice(header);

        self.append(len)
    }

    /// Makes the first `len` unused bytes part of the data, as a datagram. `EINVAL` if there are
    /// fewer.
    fn append(&mut self, len: usize) -> Result {
        if len > self.size.wrapping_sub(self.used) {
            return Err(EINVAL);
        }
        if self.linear {
            self.skb.linear().ok_or(EINVAL)?.put(len)?;
        } else {
            // By the type invariant the unused bytes lie right behind the last fragment, in memory
            // that the buffer already accounts for.
            let last = usize::from(self.skb.shinfo().nr_frags).wrapping_sub(1);
            let shinfo = self.skb.shinfo_mut().ok_or(EINVAL)?;
            let frag = shinfo.frags.get_mut(last).ok_or(EINVAL)?;
            frag.len = frag.len.wrapping_add(len as u32);
            let skb = self.skb.skb_mut();
            skb.len = skb.len.wrapping_add(len as u32);
            skb.data_len = skb.data_len.wrapping_add(len as u32);
        }
        // INVARIANT: The new datagram is behind the others. If it is shorter, no other follows.
        self.used = self.used.wrapping_add(len);
        self.count = self.count.wrapping_add(1);
        self.complete = len < self.segment_len || self.count >= self.wanted;
        Ok(())
    }

    /// Allocates memory for a datagram of `len` bytes, and for those that are to follow it.
    fn grow(&mut self, len: usize) -> Result {
        let index = usize::from(self.skb.shinfo().nr_frags);
        if self.linear || index >= bindings::MAX_SKB_FRAGS as usize {
            self.complete = true;
            return Err(ENOMEM);
        }
        let left = self.wanted.wrapping_sub(self.count);
        let whole = (MAX_CHUNK - CHACHA_BLOCK_SIZE)
            .checked_div(self.segment_len)
            .unwrap_or(0)
            .min(left)
            .wrapping_mul(self.segment_len);
        let (mut offset, mut size) = (0, 0);
        // SAFETY: Both are valid for writes. `whole` is at most what a page of a ring has, and so
        // is `len`, which was checked against `room()`.
        let page = unsafe {
            bindings::helper_alloc_frag(
                self.pages.as_raw(),
                CHACHA_BLOCK_SIZE.wrapping_add(whole.max(len)) as u32,
                CHACHA_BLOCK_SIZE.wrapping_add(len) as u32,
                &mut offset,
                &mut size,
            )
        };
        if page.is_null() {
            return Err(ENOMEM);
        }
        let (offset, size) = (offset as usize, size as usize);
        // SAFETY: The buffer is ours and has a free fragment slot. The reference of the page passes
        // to it.
        unsafe {
            bindings::skb_add_rx_frag(
                self.skb.as_raw(),
                index as i32,
                page,
                offset.wrapping_add(CHACHA_BLOCK_SIZE) as i32,
                0,
                size as u32,
            )
        };
        // SAFETY: The pages are in the kernel's direct map.
        let start = unsafe { bindings::lowmem_page_address(page) }.cast::<u8>();
        // INVARIANT: Nothing else refers to this part of the page. The last fragment has no bytes,
        // and begins behind the first block's worth of the memory.
        self.chunk = start.wrapping_add(offset);
        self.used = CHACHA_BLOCK_SIZE;
        self.size = size;
        Ok(())
    }

    /// The aggregate, to be sent as UDP; `None` if it has no datagram.
    ///
    /// The aggregate has the flow hash of `like` and belongs to its socket, which is charged for
    /// it. So all packets that were pushed must have the [same owner](SkBuff::same_owner) and the
    /// [same flow](SkBuff::same_flow), and none may be one that [goes alone](SkBuff::goes_alone).
    pub(crate) fn finish(self, like: &SkBuff) -> Option<SkBuff> {
        let Self {
            mut skb,
            segment_len,
            count,
            size,
            ..
        } = self;
        if count == 0 {
            // Nothing is lost with it.
            skb.consume();
            return None;
        }
        // SAFETY: The buffer is ours, and the last fragment accounts for `size` bytes.
        unsafe { bindings::helper_skb_drop_empty_frag(skb.as_raw(), size as u32) };
        let (from, to) = (like.headers(), skb.headers_mut());
        to.hash = from.hash;
        to.set_l4_hash(from.l4_hash());
        to.set_sw_hash(from.sw_hash());
        to.set_tstamp_type(from.tstamp_type());
        // SAFETY: Both buffers are valid, and the new one is ours. The socket of `like`, if it has
        // one, lives for as long as `like`. The function charges it for the new buffer, which keeps
        // it alive from then on.
        unsafe { bindings::helper_skb_charge_like(skb.as_raw(), like.as_raw()) };
        if count > 1 {
            // Both numbers fit 16 bits: `new()` has bounded them.
            skb.set_udp_gso(segment_len as u16, count as u16)?;
        }
        Some(skb)
    }
}

/// The plaintext of a datagram of [`Segments`].
pub(crate) trait Text {
    /// Its length in bytes.
    fn len(&self) -> usize;

    /// Writes the text to `out`, which must be that long. `None` if it cannot.
    fn write(&self, out: &mut [u8]) -> Option<()>;
}

impl Text for SkBuff {
    fn len(&self) -> usize {
        SkBuff::len(self)
    }

    /// Computes a checksum that was left to the device on the way.
    fn write(&self, out: &mut [u8]) -> Option<()> {
        if out.len() != self.len() {
            return None;
        }
        let Some((start, place)) = self.left_checksum().ok()? else {
            return self.copy_bits(out);
        };
        let (front, rest) = out.split_at_mut_checked(start)?;
        front.copy_from_slice(self.head().get(..start)?);
        let sum = self.copy_and_csum_bits(start, rest)?;
        out.get_mut(place..)?
            .first_chunk_mut()?
            .clone_from(&checksum(sum.into()));
        Some(())
    }
}

/// The checksum with this sum, in the byte order of the packet. It is never 0: in UDP that means
/// "no checksum", which over IPv6 is an error. Like `skb_checksum_help()` (`CSUM_MANGLED_0`) this
/// treats all protocols alike.
pub(super) fn checksum(sum: u64) -> [u8; 2] {
    match !fold(sum) {
        0 => [0xff; 2],
        check => check.to_ne_bytes(),
    }
}

/// Folds the carries of a sum into 16 bits. RFC 1071.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    sum as u16
}
