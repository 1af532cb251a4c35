// SPDX-License-Identifier: GPL-2.0

//! Chains of packets.

use core::{
    marker::PhantomData,
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    },
};
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

use super::{
    DropReason,
    SkBuff, //
};
use crate::linux::bindings;

/// A chain of packets, linked by `skb->next`.
///
/// # Invariants
///
/// * `head` and `tail` are both null, or the first and the last buffer of a chain that ends with a
///   null `next`. This value owns all buffers of the chain as [`SkBuff`] does.
/// * `len` is the number of buffers.
pub(crate) struct SkbList {
    head: *mut bindings::sk_buff,
    tail: *mut bindings::sk_buff,
    len: usize,
}

// SAFETY: The packets of the list belong to its holder.
unsafe impl Send for SkbList {}
// SAFETY: Through a shared reference the packets are only read.
unsafe impl Sync for SkbList {}

/// The place of the link to the next packet of a chain.
#[inline]
fn next_of(skb: *mut bindings::sk_buff) -> *mut *mut bindings::sk_buff {
    // Only the list fields of the union are in use here.
    const NEXT: usize = offset_of!(bindings::sk_buff, __bindgen_anon_1.__bindgen_anon_1.next);
    skb.wrapping_byte_add(NEXT).cast()
}

impl SkbList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The list is empty.
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            len: 0,
        }
    }

    /// Takes over a null-terminated chain. Its packets forget their device.
    ///
    /// # Safety
    ///
    /// The buffers linked from `first` must be valid. The caller must own them as [`SkBuff`] does,
    /// their device aside, and gives them away.
    pub(super) unsafe fn from_raw(first: NonNull<bindings::sk_buff>) -> Self {
        let mut list = Self::new();
        let mut next = first.as_ptr();
        while let Some(ptr) = NonNull::new(next) {
            // SAFETY: By the safety requirement the packet is valid.
            next = unsafe { *next_of(ptr.as_ptr()) };
            // SAFETY: By the safety requirement; `push_back()` unlinks the packet.
            let mut skb = unsafe { SkBuff::from_raw(ptr) };
            // SAFETY: No device has to stay valid for a null pointer.
            unsafe { skb.set_dev(ptr::null_mut()) };
            list.push_back(skb);
        }
        list
    }

    /// Packets in the list.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the list has no packets.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a packet.
    pub(crate) fn push_back(&mut self, mut skb: SkBuff) {
        let links = &mut skb.skb_mut().__bindgen_anon_1;
        links.__bindgen_anon_1.next = ptr::null_mut();
        // C reads a `prev` that is not null as "on a list".
        links.__bindgen_anon_1.prev = ptr::null_mut();
        let skb = skb.into_raw();
        if self.tail.is_null() {
            self.head = skb;
        } else {
            // SAFETY: By the type invariant `tail` is the last packet of the list.
            unsafe { *next_of(self.tail) = skb };
        }
        // INVARIANT: The packet is the new end of the chain.
        self.tail = skb;
        self.len = self.len.wrapping_add(1);
    }

    /// The first packet.
    pub(crate) fn front_mut(&mut self) -> Option<SkBuffMut<'_>> {
        self.iter_mut().next()
    }

    /// Takes the first packet off the list.
    pub(crate) fn pop_front(&mut self) -> Option<SkBuff> {
        let skb = NonNull::new(self.head)?;
        // INVARIANT: The chain starts at the next packet, or is empty if there is none.
        // SAFETY: By the type invariant the packet is valid and ours.
        self.head = unsafe { next_of(skb.as_ptr()).replace(ptr::null_mut()) };
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        self.len = self.len.wrapping_sub(1);
        // SAFETY: The packet is off the list and its ownership passes on.
        Some(unsafe { SkBuff::from_raw(skb) })
    }

    /// Appends the packets of `other`.
    pub(crate) fn append(&mut self, mut other: SkbList) {
        if self.head.is_null() {
            core::mem::swap(self, &mut other);
            return;
        }
        if other.head.is_null() {
            return;
        }
        // SAFETY: By the type invariant `tail` is the last packet of this list.
        unsafe { *next_of(self.tail) = other.head };
        // INVARIANT: The chains are joined, and the packets pass from `other` to `self`.
        self.tail = other.tail;
        self.len = self.len.wrapping_add(other.len);
        other.head = ptr::null_mut();
        other.tail = ptr::null_mut();
        other.len = 0;
    }

    /// Takes all packets, leaving an empty list.
    pub(crate) fn take(&mut self) -> SkbList {
        core::mem::replace(self, Self::new())
    }

    /// Frees the packets as [`SkBuff::consume`] does.
    pub(crate) fn consume(mut self) {
        while let Some(skb) = self.pop_front() {
            skb.consume();
        }
    }

    /// Frees the packets as [`SkBuff::discard`] does.
    pub(crate) fn discard(mut self, reason: DropReason) {
        while let Some(skb) = self.pop_front() {
            skb.discard(reason);
        }
    }

    /// Iterates over the packets, in order.
    pub(crate) fn iter_mut(&mut self) -> IterMut<'_> {
        IterMut {
            next: self.head,
            _p: PhantomData,
        }
    }
}

impl Drop for SkbList {
    fn drop(&mut self) {
        while let Some(skb) = self.pop_front() {
            drop(skb);
        }
    }
}

/// Iterator over the packets of a [`SkbList`].
///
/// # Invariants
///
/// `next` is null or a packet of the list that is borrowed for `'a`, not handed out before.
pub(crate) struct IterMut<'a> {
    next: *mut bindings::sk_buff,
    _p: PhantomData<&'a mut SkbList>,
}

impl<'a> Iterator for IterMut<'a> {
    type Item = SkBuffMut<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let ptr = NonNull::new(self.next)?;
        // INVARIANT: The next packet of the list has not been handed out yet.
        // SAFETY: By the type invariant the packet is valid and ours.
        self.next = unsafe { *next_of(ptr.as_ptr()) };
        Some(SkBuffMut {
            // SAFETY: The list is borrowed exclusively for `'a` and hands out every packet once, so
            // the packet is used through this value only. `ManuallyDrop` leaves the ownership with
            // the list.
            skb: ManuallyDrop::new(unsafe { SkBuff::from_raw(ptr) }),
            _p: PhantomData,
        })
    }
}

/// A packet of a [`SkbList`], borrowed for changing it in its place.
///
/// Derefs to [`SkBuff`] for reading only. Methods that change the packet are passed through one by
/// one, so the packet cannot be swapped for another one that the list does not own.
pub(crate) struct SkBuffMut<'a> {
    pub(super) skb: ManuallyDrop<SkBuff>,
    pub(super) _p: PhantomData<&'a mut SkbList>,
}

impl core::ops::Deref for SkBuffMut<'_> {
    type Target = SkBuff;

    fn deref(&self) -> &SkBuff {
        &self.skb
    }
}

impl SkBuffMut<'_> {
    /// See [`SkBuff::cb`].
    pub(crate) fn cb<T: FromBytes + IntoBytes>(&mut self) -> &mut T {
        self.skb.cb()
    }

    /// See [`SkBuff::orphan`].
    pub(crate) fn orphan(&mut self) {
        self.skb.orphan();
    }
}
