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

/// The next packet of a chain, or null.
#[inline]
fn next(skb: &SkBuff) -> *mut bindings::sk_buff {
    // SAFETY: The packet is valid and borrowed, and any pointer is a valid value.
    unsafe { *next_of(skb.as_raw()) }
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
        let mut following = Some(first);
        while let Some(ptr) = following {
            // SAFETY: By the safety requirement; `push_back()` unlinks the packet.
            let mut skb = unsafe { SkBuff::from_raw(ptr) };
            following = NonNull::new(next(&skb));
            skb.clear_dev();
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
        // INVARIANT: The packet is a chain by itself.
        self.append(Self {
            head: skb,
            tail: skb,
            len: 1,
        });
    }

    /// The first packet.
    pub(crate) fn front_mut(&mut self) -> Option<SkBuffMut<'_>> {
        self.iter_mut().next()
    }

    /// Takes the first packet off the list.
    pub(crate) fn pop_front(&mut self) -> Option<SkBuff> {
        let first = NonNull::new(self.head)?;
        // SAFETY: By the type invariant the packet is valid and ours. It is taken off the list
        // below, and its ownership passes on.
        let mut skb = unsafe { SkBuff::from_raw(first) };
        // INVARIANT: The chain starts at the next packet, or is empty if there is none.
        self.head = next(&skb);
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        self.len = self.len.wrapping_sub(1);
        skb.skb_mut().__bindgen_anon_1.__bindgen_anon_1.next = ptr::null_mut();
        Some(skb)
    }

    /// Appends the packets of `other`.
    #[inline]
    pub(crate) fn append(&mut self, other: SkbList) {
        // The packets pass to `self`.
        let other = ManuallyDrop::new(other);
        if self.tail.is_null() {
            self.head = other.head;
        } else {
            // SAFETY: By the type invariant `tail` is the last packet of this list.
            unsafe { *next_of(self.tail) = other.head };
        }
        // INVARIANT: The chains are joined; that of `other` may be empty.
        if !other.tail.is_null() {
            self.tail = other.tail;
        }
        self.len = self.len.wrapping_add(other.len);
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
        // SAFETY: By the type invariant the packet is valid. The list is borrowed exclusively for
        // `'a` and hands out every packet once, so the packet is used through this value only.
        // `ManuallyDrop` leaves the ownership with the list.
        let skb = ManuallyDrop::new(unsafe { SkBuff::from_raw(ptr) });
        // INVARIANT: The next packet of the list has not been handed out yet.
        self.next = next(&skb);
        Some(SkBuffMut {
            skb,
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
