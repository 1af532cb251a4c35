// SPDX-License-Identifier: GPL-2.0

//! Socket buffers.
//!
//! [`SkBuff`] owns one buffer, [`SkbList`] a chain of them. [`SkBuff::discard`] frees a packet as a
//! drop with a reason, which drop monitors see; [`SkBuff::consume`] is for packets that arrived
//! where they should. Dropping the value is for packets in a queue that goes away, and has that
//! reason ([`DropReason::Purged`]).
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

use super::{
    bindings,
    ip::{
        Header,
        IPV4_HEADER_LEN,
        IPV6_HEADER_LEN, //
    }, //
};

mod drop_reason;
mod gso;
mod linear;
mod list;

pub(crate) use drop_reason::DropReason;
pub(in crate::linux) use gso::UDP_HEADER_LEN;
pub(in crate::linux) use linear::Linear;
pub(crate) use list::{
    SkBuffMut,
    SkbList, //
};

/// `ETH_P_IP`: the protocol of an IPv4 packet, host byte order.
pub(crate) const ETH_P_IP: u16 = bindings::ETH_P_IP as u16;
/// `ETH_P_IPV6`: the protocol of an IPv6 packet, host byte order.
pub(crate) const ETH_P_IPV6: u16 = bindings::ETH_P_IPV6 as u16;
/// `NET_SKB_PAD`: bytes of headroom that the networking core reserves in a packet, so that its
/// headers can grow without a reallocation.
pub(crate) const NET_SKB_PAD: usize = bindings::NET_SKB_PAD;
/// Largest headroom that may be asked for, in bytes: offsets of headers are 16 bits wide.
const MAX_HEADROOM: usize = 32_767;
/// Most bytes in front of the data: C keeps the offset of the data in 16 bits, and the largest
/// value stands for "none".
const MAX_OFFSET: usize = u16::MAX as usize - 1;
/// Most bytes of a new linear part. C aligns the number and adds to it in 32 bits, and keeps some
/// lengths in an `int`.
const MAX_LINEAR: usize = 1 << 30;

// `tail` and `end` are offsets, not pointers (`NET_SKBUFF_DATA_USES_OFFSET`), and the control block
// is aligned.
const _: () = assert!(size_of::<usize>() == 8);
const _: () = assert!(core::mem::offset_of!(bindings::sk_buff, cb) % 8 == 0);

/// An owned `struct sk_buff`.
///
/// # Invariants
///
/// * `ptr` points to a valid `struct sk_buff` that this value owns. It is not on any list, and
///   nothing else has a reference to it. Its data may be shared with clones.
/// * Its route, if it has one, is counted (`skb_dst_force()`), so that it stays valid for as long
///   as the buffer does. Its device is null, save while a face of this folder hands the buffer to
///   C.
/// * The data begin at most [`MAX_OFFSET`] bytes behind the head, so that 16 bits can hold that
///   offset.
#[repr(transparent)]
pub(crate) struct SkBuff {
    ptr: NonNull<bindings::sk_buff>,
}

// SAFETY: A buffer belongs to its holder, on any CPU.
unsafe impl Send for SkBuff {}
// SAFETY: Through a shared reference the buffer is only read.
unsafe impl Sync for SkBuff {}

impl SkBuff {
    /// Takes over a buffer from C.
    ///
    /// # Safety
    ///
    /// The caller must own the buffer as the type invariant says; ownership passes to the new
    /// value.
    pub(super) unsafe fn from_raw(ptr: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirement.
        Self { ptr }
    }

    /// Gives the buffer to C.
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        ManuallyDrop::new(self).ptr.as_ptr()
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.ptr.as_ptr()
    }

    pub(super) fn skb(&self) -> &bindings::sk_buff {
        // SAFETY: By the type invariant the structure is valid, and it is not written to while it
        // is borrowed.
        unsafe { self.ptr.as_ref() }
    }

    pub(super) fn skb_mut(&mut self) -> &mut bindings::sk_buff {
        // SAFETY: By the type invariant this value is the only one that uses the structure.
        unsafe { self.ptr.as_mut() }
    }

    /// The address of the structure behind the linear part.
    fn shinfo_ptr(&self) -> *mut bindings::skb_shared_info {
        self.skb().head.wrapping_add(self.skb().end as usize).cast()
    }

    pub(super) fn shinfo(&self) -> &bindings::skb_shared_info {
        // SAFETY: Every buffer has this structure there, and by the type invariant it is not
        // written to while the buffer is borrowed.
        unsafe { &*self.shinfo_ptr() }
    }

    /// The same for writing; `None` if a clone shares it.
    pub(super) fn shinfo_mut(&mut self) -> Option<&mut bindings::skb_shared_info> {
        if self.is_cloned() {
            return None;
        }
        // SAFETY: As in `shinfo()`. There is no clone, so only this value uses the structure.
        Some(unsafe { &mut *self.shinfo_ptr() })
    }

    pub(super) fn headers(&self) -> &bindings::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: The union names the same fields twice.
        unsafe { self.skb().__bindgen_anon_4.headers.as_ref() }
    }

    pub(super) fn headers_mut(&mut self) -> &mut bindings::sk_buff__bindgen_ty_4__bindgen_ty_2 {
        // SAFETY: The union names the same fields twice.
        unsafe { self.skb_mut().__bindgen_anon_4.headers.as_mut() }
    }

    /// A new, empty buffer with `headroom` bytes in front and room for `len` bytes of data.
    ///
    /// May be called from any context; allocates with `GFP_ATOMIC`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `headroom` is more than 32,767, `EOVERFLOW` if the sum with `len` is more than
    /// 2^30, `ENOMEM`.
    pub(crate) fn alloc(headroom: usize, len: usize) -> Result<Self> {
        if headroom > MAX_HEADROOM {
            return Err(EINVAL);
        }
        let size = headroom
            .checked_add(len)
            .filter(|size| *size <= MAX_LINEAR)
            .ok_or(EOVERFLOW)?;
        // SAFETY: The size is bounded as C needs it. Without memory the function returns null.
        let skb = unsafe { bindings::alloc_skb(size as u32, bindings::GFP_ATOMIC) };
        let ptr = NonNull::new(skb).ok_or(ENOMEM)?;
        // INVARIANT: The buffer is new.
        let this = Self { ptr };
        // SAFETY: The buffer is empty and has `size >= headroom` bytes of tailroom. `headroom` fits
        // an `i32`.
        unsafe { bindings::skb_reserve(this.as_raw(), headroom as i32) };
        Ok(this)
    }

    /// `consume_skb()`: frees the packet as one that has done its work, not as a drop.
    pub(crate) fn consume(self) {
        // SAFETY: The reference this value owned goes to the function.
        unsafe { bindings::consume_skb(self.into_raw()) };
    }

    /// `kfree_skb_reason()`: frees the packet as a drop. Drop monitors, and tracers of
    /// `skb:kfree_skb`, see the reason.
    pub(crate) fn discard(self, reason: DropReason) {
        let skb = self.into_raw();
        // SAFETY: The reference this value owned goes to the function. No socket has to be named.
        unsafe { bindings::sk_skb_reason_drop(ptr::null_mut(), skb, reason as u32) };
    }

    /// `skb->len`: bytes of data, those in fragments included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.skb().len as usize
    }

    /// Bytes of data that lie in the linear part.
    #[inline]
    pub(crate) fn headlen(&self) -> usize {
        self.skb().len.wrapping_sub(self.skb().data_len) as usize
    }

    /// The linear part of the data.
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        // SAFETY: `headlen` bytes from `data` are initialised, and packet data is not written while
        // it may be shared with a clone.
        unsafe { core::slice::from_raw_parts(self.skb().data, self.headlen()) }
    }

    /// Reads the first bytes of the linear part as a `T`, if there are that many.
    #[inline]
    pub(crate) fn read_head<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(self.head())
            .ok()
            .map(|(value, _)| value)
    }

    /// Reads the first bytes of the data as a `T`, wherever they lie, if there are that many.
    #[inline]
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Option<T> {
        self.read_head().or_else(|| {
            let mut value = T::new_zeroed();
            self.copy_bits(value.as_mut_bytes())?;
            Some(value)
        })
    }

    /// `skb_copy_bits()`: fills `out` with the first bytes of the data; `None` if there are fewer.
    pub(super) fn copy_bits(&self, out: &mut [u8]) -> Option<()> {
        let len = i32::try_from(out.len()).ok()?;
        // SAFETY: The buffer is valid; there is room for `len` bytes. The function fails if there
        // are not that many.
        let err =
            unsafe { bindings::skb_copy_bits(self.as_raw(), 0, out.as_mut_ptr().cast(), len) };
        (err == 0).then_some(())
    }

    /// `skb_copy_and_csum_bits()`: fills `out` with the data from `offset` on, and returns their
    /// sum; `None` if there are fewer.
    #[inline]
    pub(super) fn copy_and_csum_bits(&self, offset: usize, out: &mut [u8]) -> Option<u32> {
        let end = offset.checked_add(out.len())?;
        if end > self.len() || i32::try_from(end).is_err() {
            return None;
        }
        let (to, len) = (out.as_mut_ptr(), out.len() as i32);
        // SAFETY: The buffer is valid and has `len` bytes from `offset` on, for all of which there
        // is room.
        Some(unsafe { bindings::skb_copy_and_csum_bits(self.as_raw(), offset as i32, to, len) })
    }

    /// The linear part from the network header on, or nothing if the header lies outside of it.
    #[inline]
    pub(crate) fn network_header(&self) -> &[u8] {
        self.linear_from(self.headers().network_header as usize)
    }

    /// The linear part from the transport header on, or nothing if the header lies outside of it.
    #[inline]
    pub(crate) fn transport_header(&self) -> &[u8] {
        self.linear_from(self.headers().transport_header as usize)
    }

    /// The bytes from `offset` (from `skb->head`) to the end of the linear data.
    #[inline]
    fn linear_from(&self, offset: usize) -> &[u8] {
        let tail = self.skb().tail as usize;
        if offset >= tail {
            return &[];
        }
        let from = self.skb().head.wrapping_add(offset);
        // SAFETY: `offset < tail` and the bytes between `head` and `tail` belong to the buffer.
        // `alloc_skb()` does not clear them, but only C and the hardware fill them, so any value is
        // as good as any other.
        unsafe { core::slice::from_raw_parts(from, tail.wrapping_sub(offset)) }
    }

    /// Bytes from the start of the data to the network header; negative if the header was pulled.
    #[inline]
    pub(crate) fn network_offset(&self) -> isize {
        self.offset_of(self.headers().network_header)
    }

    /// Whether the network header, and behind it the transport header, lie in front of the data.
    pub(super) fn has_headers(&self) -> bool {
        let (network, transport) = (self.network_offset(), self.transport_offset());
        -(MAX_HEADROOM as isize) <= network && network <= transport && transport <= 0
    }

    /// Bytes from the start of the data to the transport header; negative if the header was pulled.
    #[inline]
    pub(crate) fn transport_offset(&self) -> isize {
        self.offset_of(self.headers().transport_header)
    }

    #[inline]
    fn offset_of(&self, header: u16) -> isize {
        (header as isize).wrapping_sub(self.headroom() as isize)
    }

    /// `skb_headroom()`: bytes in front of the data.
    #[inline]
    pub(super) fn headroom(&self) -> usize {
        (self.skb().data as usize).wrapping_sub(self.skb().head as usize)
    }

    /// `skb_tailroom()`: bytes behind the data; 0 if the data are in pieces.
    #[inline]
    fn tailroom(&self) -> usize {
        let skb = self.skb();
        if skb.data_len == 0 {
            skb.end.saturating_sub(skb.tail) as usize
        } else {
            0
        }
    }

    /// `skb->protocol` in host byte order.
    #[inline]
    pub(crate) fn protocol(&self) -> u16 {
        u16::from_be(self.headers().protocol)
    }

    /// Sets `skb->protocol`, given in host byte order.
    #[inline]
    pub(crate) fn set_protocol(&mut self, protocol: u16) {
        self.headers_mut().protocol = protocol.to_be();
    }

    /// The IP header that the network header is; `None` if it is not in the linear part, or not of
    /// the protocol of the packet.
    #[inline]
    pub(crate) fn ip_header(&self) -> Option<Header<'_>> {
        Header::of(self.protocol(), self.network_header())
    }

    /// TOS or traffic class of the packet whose IP header is the network header.
    #[inline]
    pub(crate) fn dsfield(&self) -> u8 {
        self.ip_header().map_or(0, Header::dsfield)
    }

    /// Makes the IP header that the data begin with linear, and reads it. `None` if there is none.
    #[inline]
    pub(crate) fn pull_ip_header(&mut self) -> Option<Header<'_>> {
        if !self.may_pull(IPV4_HEADER_LEN) {
            return None;
        }
        if Header::read(self.head()).is_none() && !self.may_pull(IPV6_HEADER_LEN) {
            return None;
        }
        Header::read(self.head())
    }

    /// `skb->skb_iif`: the index of the interface the packet came in on.
    pub(crate) fn iif(&self) -> i32 {
        self.headers().skb_iif
    }

    /// Has the packet forget its device.
    pub(super) fn clear_dev(&mut self) {
        // SAFETY: No device has to stay valid for a null pointer.
        unsafe { self.set_dev(ptr::null_mut()) };
    }

    /// Sets `skb->dev` for the time that the networking core handles the packet.
    ///
    /// # Safety
    ///
    /// `dev` must stay valid for as long as something reads `skb->dev`.
    pub(super) unsafe fn set_dev(&mut self, dev: *mut bindings::net_device) {
        self.skb_mut()
            .__bindgen_anon_1
            .__bindgen_anon_1
            .__bindgen_anon_1
            .dev = dev;
    }

    /// The control block, as a `T`. It belongs to the owner of the packet for as long as that owns
    /// the packet.
    ///
    /// When a packet arrives, the block holds leftovers of the layer before.
    #[inline]
    pub(crate) fn cb<T: FromBytes + IntoBytes>(&mut self) -> &mut T {
        const {
            assert!(size_of::<T>() <= 48);
            assert!(align_of::<T>() <= 8);
        }
        let cb: *mut T = self.skb_mut().cb.as_mut_ptr().cast();
        // SAFETY: The control block has 48 bytes aligned to 8, any bytes are a `T`, and `self` is
        // borrowed for as long as the result.
        unsafe { &mut *cb }
    }

    /// `skb_orphan()`: detaches the packet from the socket that sent it.
    pub(crate) fn orphan(&mut self) {
        // SAFETY: The buffer is valid and ours.
        unsafe { bindings::skb_orphan(self.as_raw()) };
    }

    /// `dst_mtu()` of the route the packet was sent by, if it has a real one.
    pub(crate) fn dst_mtu(&self) -> Option<u32> {
        // SAFETY: The buffer is valid.
        let mtu = unsafe { bindings::helper_skb_dst_mtu(self.as_raw()) };
        (mtu != 0).then_some(mtu)
    }

    /// `skb_dst_drop()`: forgets the route the packet was sent by.
    pub(crate) fn dst_drop(&mut self) {
        // SAFETY: The buffer is valid and ours.
        unsafe { bindings::skb_dst_drop(self.as_raw()) };
    }

    /// `skb_cow_head()`: makes the headers writable, with `headroom` bytes in front.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `headroom` is more than 32,767, `ENOMEM`.
    pub(crate) fn cow_head(&mut self, headroom: usize) -> Result {
        if headroom > MAX_HEADROOM {
            return Err(EINVAL);
        }
        let headroom = headroom as u32;
        // SAFETY: The buffer is valid and ours alone. The headroom is small enough that no size
        // overflows.
        to_result(unsafe { bindings::skb_cow_head(self.as_raw(), headroom) })
    }

    /// Whether the data are in one piece, which no clone shares, with at least `headroom` unused
    /// bytes in front and `tailroom` behind.
    #[inline]
    pub(crate) fn is_private(&self, headroom: usize, tailroom: usize) -> bool {
        self.skb().data_len == 0
            && !self.is_cloned()
            && self.headroom() >= headroom
            && self.tailroom() >= tailroom
    }

    /// `skb_cloned()`: whether a clone shares the data.
    #[inline]
    fn is_cloned(&self) -> bool {
        // SAFETY: The buffer is valid.
        self.skb().cloned() != 0 && unsafe { bindings::skb_cloned(self.as_raw()) } != 0
    }

    /// `pskb_may_pull()`: makes the first `len` bytes of the data linear.
    #[inline]
    pub(crate) fn may_pull(&mut self, len: usize) -> bool {
        if len <= self.headlen() {
            return true;
        }
        let Ok(len) = u32::try_from(len) else {
            return false;
        };
        // SAFETY: The buffer is valid and ours.
        unsafe { bindings::pskb_may_pull(self.as_raw(), len) }
    }

    /// `skb_pull()`: takes `len` bytes off the front of the data. They must be linear.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they are not, or if more than 65,534 bytes would be in front of the data.
    #[inline]
    pub(crate) fn pull(&mut self, len: usize) -> Result {
        if len > self.headlen() || self.headroom().saturating_add(len) > MAX_OFFSET {
            return Err(EINVAL);
        }
        let skb = self.skb_mut();
        skb.len = skb.len.wrapping_sub(len as u32);
        // INVARIANT: The data begin at most `MAX_OFFSET` bytes behind the head, and in the linear
        // part (see above).
        skb.data = skb.data.wrapping_add(len);
        Ok(())
    }

    /// `skb_push()`: puts the last `len` bytes of the headroom back in front of the data.
    #[inline]
    pub(in crate::linux) fn push(&mut self, len: usize) -> Result {
        if len > self.headroom() {
            return Err(EINVAL);
        }
        let skb = self.skb_mut();
        skb.len = skb
            .len
            .checked_add(u32::try_from(len).map_err(|_| EINVAL)?)
            .ok_or(EINVAL)?;
        // The headroom has `len` bytes (see above).
        skb.data = skb.data.wrapping_sub(len);
        Ok(())
    }

    /// `pskb_trim()`: cuts the data to `len` bytes if it is longer.
    pub(crate) fn trim(&mut self, len: usize) -> Result {
        let Ok(len) = u32::try_from(len) else {
            return Ok(());
        };
        if len >= self.skb().len {
            return Ok(());
        }
        // SAFETY: The buffer is valid and ours.
        to_result(unsafe { bindings::pskb_trim(self.as_raw(), len) })
    }

    /// Appends `bytes` if the linear part has room for them.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if it has not, or if a clone shares the room.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result {
        let len = self.len();
        let mut linear = self.linear().ok_or(ENOSPC)?;
        linear.put(bytes.len())?;
        linear
            .memory(0, 0)
            .and_then(|data| data.get_mut(len..)?.get_mut(..bytes.len()))
            .ok_or(ENOSPC)?
            .copy_from_slice(bytes);
        Ok(())
    }

    /// Marks the start of the data as the network header, with no link layer header in front of it.
    #[inline]
    pub(super) fn set_network_header(&mut self) {
        // By the type invariant the cast cuts nothing off.
        let start = self.headroom() as u16;
        let headers = self.headers_mut();
        headers.mac_header = start;
        headers.network_header = start;
    }

    /// Marks the start of the data as the inner network header.
    pub(crate) fn set_inner_network_header(&mut self) {
        // By the type invariant the cast cuts nothing off.
        self.headers_mut().inner_network_header = self.headroom() as u16;
    }

    /// Makes a packet that was encapsulated or decapsulated look new. All notes of the stack about
    /// it go (mark, routes, offsets, timestamps, connection tracking), and its headers start at the
    /// data.
    ///
    /// With `keep_hash` the flow hash and the kind of the transmit timestamp stay. So queueing
    /// disciplines and multi-path routing see the inner flow of an encapsulated packet.
    pub(crate) fn reset(&mut self, keep_hash: bool) {
        // SAFETY: The buffer is valid and ours.
        unsafe { bindings::helper_skb_reset(self.as_raw(), keep_hash) };
    }

    /// Declares the checksums of all layers verified (`CHECKSUM_UNNECESSARY`).
    pub(crate) fn set_checksum_verified(&mut self) {
        let headers = self.headers_mut();
        headers.set_ip_summed(bindings::CHECKSUM_UNNECESSARY as u8);
        headers.set_csum_level(3);
    }

    /// `INET_ECN_decapsulate()`: merges the congestion mark of the outer header into the inner
    /// header. `outer` and `inner` are the TOS or traffic class of the two. The network header must
    /// be linear.
    pub(crate) fn ecn_decapsulate(&mut self, outer: u8, inner: u8) {
        // SAFETY: The buffer is valid and ours.
        unsafe { bindings::INET_ECN_decapsulate(self.as_raw(), outer, inner) };
    }
}

impl Drop for SkBuff {
    fn drop(&mut self) {
        let reason = DropReason::Purged as u32;
        // SAFETY: The reference this value owned goes to the function. No socket has to be named.
        unsafe { bindings::sk_skb_reason_drop(ptr::null_mut(), self.ptr.as_ptr(), reason) };
    }
}

#[cfg(CONFIG_KUNIT = "y")]
pub(super) mod tests;
