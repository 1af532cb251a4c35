// SPDX-License-Identifier: GPL-2.0

//! Resizable hash tables that are read under RCU.
//!
//! [`RhashTable`] maps keys of a fixed size to values. It allocates and owns its entries. Readers
//! find a value under [`rcu::Guard`] without a lock or a reference; a removed value is
//! dropped one grace period later. When an entry is freed, its key and its value are wiped.
//!
//! Keys are hashed with SipHash, so an attacker may choose them: without the secret key of the hash
//! no two keys with the same hash can be found. The hash also takes a number that the kernel draws
//! anew for each size of a table and whenever a chain gets suspiciously long. [`RandomKey`]s, which
//! no party chooses, are hashed with that number alone, which is quicker.
//!
//! # Context
//!
//! Looking up, inserting, replacing and removing is fine in process and in softirq context, and
//! sleeps only where the allocation flags allow it. Making, walking and dropping a table is for
//! process context.
//!
//! C header: [`include/linux/rhashtable.h`](srctree/include/linux/rhashtable.h)

use core::{
    marker::PhantomData,
    mem::offset_of,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    transmute::AsBytes,
    types::Opaque, //
};

use super::{
    bindings,
    rcu::{
        self,
        AtomicDrop,
        Guard, //
    },
    sched::cond_resched,
    wipe::Wiped, //
};

/// A key: plain bytes. Two keys are the same if all their bytes are equal.
pub(crate) trait Key: AsBytes + Copy + Send + Sync + 'static {}

impl<const N: usize> Key for [u8; N] {}
impl<const N: usize> Key for [u64; N] {}
impl Key for RandomKey {}

/// A random number as a key. Each key that is inserted must be drawn at random on this machine.
/// Keys that are only looked up may be chosen by an attacker, as a lookup makes no chain longer.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct RandomKey(pub(crate) u32);

// SAFETY: The type is a number, without padding.
unsafe impl AsBytes for RandomKey {}

/// A key, aligned to words: the hash function reads words, and is quicker if they are aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Aligned<K>(K);

/// The contents of the allocation behind an entry, which is a [`Wiped`].
#[repr(C)]
struct Node<K: Key, V: AtomicDrop + Send + Sync + 'static> {
    links: Opaque<bindings::helper_rhashtable_node>,
    key: Aligned<K>,
    value: V,
}

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> Node<K, V> {
    /// The length of the key in bytes. Asserts that the layout is the one that C assumes.
    const KEY_LEN: u16 = {
        assert!(offset_of!(Self, links) == 0);
        assert!(offset_of!(Self, key) == size_of::<bindings::helper_rhashtable_node>());
        assert!(size_of::<K>() > 0 && size_of::<K>() <= u16::MAX as usize);
        // C hashes keys of this length as random numbers.
        assert!(size_of::<K>() != size_of::<RandomKey>() || align_of::<K>() == align_of::<u32>());
        size_of::<K>() as u16
    };

    /// Where the links, with which a node begins, have their `struct rcu_head`.
    const RCU: usize = offset_of!(bindings::helper_rhashtable_node, rcu);

    fn links(this: NonNull<Self>) -> *mut bindings::helper_rhashtable_node {
        // A node begins with its links.
        this.as_ptr().cast()
    }

    /// Drops the node after a grace period.
    ///
    /// # Safety
    ///
    /// * `this` comes from [`Entry::into_raw`], and the caller owns it.
    /// * The node is in no table any more, so that only a reader that began before can still see
    ///   it.
    unsafe fn drop_deferred(this: NonNull<Self>) {
        rcu::deferred_begin();
        let head = Self::links(this).wrapping_byte_add(Self::RCU).cast();
        // SAFETY: By the safety requirements the node is valid, and its `rcu` is used only here,
        // once. `head` stays valid until `free()` frees the node it lies in.
        unsafe { bindings::call_rcu(head, Some(Self::free)) };
    }

    /// The RCU callback that drops the node, and wipes and frees it.
    ///
    /// # Safety
    ///
    /// `head` is the `rcu` of a node that was given to `drop_deferred()`, a grace period ago.
    unsafe extern "C" fn free(head: *mut bindings::callback_head) {
        // A node begins with its links.
        let node: *mut Wiped<Self> = head.wrapping_byte_sub(Self::RCU).cast();
        // SAFETY: By the safety requirement `head` lies in the links of a node, which came from
        // `Entry::into_raw`. This callback owns the node since `drop_deferred()`, and no reader has
        // it any more.
        drop(unsafe { KBox::from_raw(node) });
        rcu::deferred_end();
    }

    /// The function that `rhashtable_free_and_destroy()` calls for each entry.
    ///
    /// # Safety
    ///
    /// `this` is a node in the table that is being destroyed, which does not use it again.
    unsafe extern "C" fn destroy(this: *mut c_void, _arg: *mut c_void) {
        if let Some(this) = NonNull::new(this.cast()) {
            // SAFETY: The table owned the node, which came from `Entry::into_raw`, and gives it up
            // here.
            unsafe { Self::drop_deferred(this) };
        }
    }
}

/// An entry that is in no table.
///
/// Dropping it wipes the memory.
pub(crate) struct Entry<K: Key, V: AtomicDrop + Send + Sync + 'static>(KBox<Wiped<Node<K, V>>>);

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> Entry<K, V> {
    /// Allocates an entry.
    pub(crate) fn new(key: K, value: V, flags: Flags) -> Result<Self> {
        let node = Node {
            links: Opaque::zeroed(),
            key: Aligned(key),
            value,
        };
        Ok(Self(KBox::new(Wiped::new(node), flags)?))
    }

    /// The value, to read or change it before readers can see it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn value(&mut self) -> &mut V {
        &mut self.0.value
    }

    /// Gives the entry another key.
    pub(crate) fn set_key(&mut self, key: K) {
        self.0.key.0 = key;
    }

    fn into_raw(self) -> NonNull<Node<K, V>> {
        // A `Wiped` is transparent.
        NonNull::from(KBox::leak(self.0)).cast()
    }

    /// # Safety
    ///
    /// `node` comes from [`Self::into_raw`], nothing else refers to it, and its ownership passes to
    /// the new value.
    unsafe fn from_raw(node: NonNull<Node<K, V>>) -> Self {
        // SAFETY: By the safety requirement it came from a box.
        Self(unsafe { KBox::from_raw(node.cast().as_ptr()) })
    }
}

/// A node that was found in a table, for as long as an RCU read-side critical section lasts.
///
/// # Invariants
///
/// `node` comes from [`Entry::into_raw`], was linked in a table during `'g`, and is not freed
/// during it.
struct Found<'g, K: Key, V: AtomicDrop + Send + Sync + 'static> {
    node: NonNull<Node<K, V>>,
    _p: PhantomData<&'g Node<K, V>>,
}

impl<'g, K: Key, V: AtomicDrop + Send + Sync + 'static> Found<'g, K, V> {
    fn get(&self) -> &'g Node<K, V> {
        // SAFETY: By the type invariant.
        unsafe { self.node.as_ref() }
    }
}

/// A hash table from `K` to `V`.
///
/// # Invariants
///
/// * `ht` is an initialised `struct rhashtable` whose parameters say where in a [`Node<K, V>`] the
///   key is.
/// * The table links nodes from [`Entry::into_raw`], and owns them. A node that it gives up is
///   freed no sooner than a grace period later.
#[pin_data(PinnedDrop)]
pub(crate) struct RhashTable<K: Key, V: AtomicDrop + Send + Sync + 'static> {
    #[pin]
    ht: Opaque<bindings::rhashtable>,
    _p: PhantomData<Node<K, V>>,
}

// SAFETY: The table drops values on other CPUs than those that inserted them (`V: Send`,
// `K: Send`), and gives shared access to them (`V: Sync`, `K: Sync`). A `struct rhashtable` may be
// used from any thread.
unsafe impl<K: Key, V: AtomicDrop + Send + Sync + 'static> Send for RhashTable<K, V> {}
// SAFETY: As above; its C functions do the locking that concurrent callers need.
unsafe impl<K: Key, V: AtomicDrop + Send + Sync + 'static> Sync for RhashTable<K, V> {}

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> RhashTable<K, V> {
    /// An empty table, which grows and shrinks with the number of its entries.
    ///
    /// Process context. `ENOMEM` if there is no memory for the first buckets.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: `KEY_LEN` has checked the layout that the helper puts into the parameters.
            ht <- Opaque::try_ffi_init(|slot| {
                // SAFETY: `slot` is memory for a `struct rhashtable` that does not move once
                // initialised.
                to_result(unsafe { bindings::helper_rhashtable_init(slot, Node::<K, V>::KEY_LEN) })
            }),
            _p: PhantomData,
        }? Error)
    }

    /// The number of entries, which other CPUs may be changing.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn len(&self) -> usize {
        // SAFETY: By the type invariant `ht` is initialised; only an address is taken.
        let nelems = unsafe { &raw const (*self.ht.get()).nelems.counter };
        // SAFETY: The pointer is to the number inside an `atomic_t`; a volatile read is an atomic
        // one.
        let len = unsafe { nelems.read_volatile() };
        usize::try_from(len).unwrap_or(0)
    }

    fn find<'g>(&self, key: &K, _guard: &'g Guard) -> Option<Found<'g, K, V>> {
        let key: *const K = key;
        // SAFETY: `ht` is initialised; the guard is the proof that RCU is held; `key` has the
        // table's key length.
        let node = unsafe { bindings::helper_rhashtable_lookup(self.ht.get(), key.cast()) };
        // INVARIANT: By the type invariant the result is null or a node. The node was linked while
        // the guard existed, so it is not freed before the guard is gone.
        NonNull::new(node.cast()).map(|node| Found {
            node,
            _p: PhantomData,
        })
    }

    /// Takes a node that was found in this table out of it. Returns whether this call did so, and
    /// not another one.
    fn unlink(&self, found: &Found<'_, K, V>) -> bool {
        // SAFETY: `ht` is initialised. The node was linked in the table and is not freed yet. If it
        // has been unlinked since, the call finds it in no bucket.
        let err =
            unsafe { bindings::helper_rhashtable_remove(self.ht.get(), Node::links(found.node)) };
        if err != 0 {
            return false;
        }
        // SAFETY: The table has just given the node up, to this caller alone.
        unsafe { Node::drop_deferred(found.node) };
        true
    }

    /// Inserts `entry`.
    ///
    /// An error gives the entry back: `EEXIST` if its key is there already; `ENOMEM`, `EBUSY` or
    /// `E2BIG` if the table would have to grow first and cannot do so now.
    ///
    /// Process and softirq context.
    pub(crate) fn insert(&self, entry: Entry<K, V>) -> Result<(), (Error, Entry<K, V>)> {
        let node = entry.into_raw();
        // SAFETY: `ht` is initialised, `node` is a node in no table.
        // INVARIANT: If it succeeds the table owns the node.
        let err = unsafe { bindings::helper_rhashtable_insert(self.ht.get(), Node::links(node)) };
        // SAFETY: The insertion failed, so the node was not linked, and no reader has seen it.
        to_result(err).map_err(|err| (err, unsafe { Entry::from_raw(node) }))
    }

    /// The value for `key`, for as long as `guard` lasts.
    ///
    /// Process and softirq context.
    pub(crate) fn lookup<'g>(&self, key: &K, guard: &'g Guard) -> Option<&'g V> {
        self.find(key, guard).map(|found| &found.get().value)
    }

    /// Removes the entry for `key`. Returns whether there was one.
    ///
    /// Process and softirq context. The value is dropped after a grace period, in softirq context.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn remove(&self, key: &K) -> bool {
        self.remove_if(key, |_| true)
    }

    /// Removes the entry for `key` if `is_it` returns true for its value. Returns whether an entry
    /// was removed.
    ///
    /// Only the entry that `is_it` looked at is removed: an entry that has taken its place
    /// meanwhile stays. `is_it` may not sleep.
    ///
    /// Process and softirq context. The value is dropped after a grace period, in softirq context.
    pub(crate) fn remove_if(&self, key: &K, is_it: impl FnOnce(&V) -> bool) -> bool {
        let guard = Guard::new();
        match self.find(key, &guard) {
            Some(found) if is_it(&found.get().value) => self.unlink(&found),
            _ => false,
        }
    }

    /// Removes the entries for which `keep` returns false. Returns how many were removed.
    ///
    /// `keep` may not sleep. It may see an entry twice, and may miss one while the table grows or
    /// shrinks.
    ///
    /// Process context: sleeps now and then if the table is large.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> usize {
        /// Entries that are visited between two calls of `cond_resched()`.
        const BATCH: usize = 512;

        let mut removed = 0usize;
        let iter = Opaque::<bindings::rhashtable_iter>::uninit();
        // SAFETY: `ht` is initialised and outlives this function; `iter` does not move until it has
        // left the table's list of walkers in `rhashtable_walk_exit()`.
        unsafe { bindings::rhashtable_walk_enter(self.ht.get(), iter.get()) };
        let mut more = true;
        while more {
            // Holds RCU until `rhashtable_walk_stop()`. The result, `EAGAIN` if the table has been
            // resized and the walk begins anew, needs no handling.
            // SAFETY: `iter` has been entered, and not started.
            unsafe { bindings::rhashtable_walk_start_check(iter.get()) };
            for _ in 0..BATCH {
                // SAFETY: `iter` has been started.
                let next = unsafe { bindings::rhashtable_walk_next(iter.get()) };
                // An error is `EAGAIN`: the table has been resized, the walk begins anew.
                let Ok(node) = from_err_ptr(next) else {
                    continue;
                };
                let Some(node) = NonNull::new(node.cast()) else {
                    more = false;
                    break;
                };
                // INVARIANT: By the type invariant this is a node. It was linked while RCU was
                // held, as it is now, so it is not freed before RCU is released below, when this
                // value is gone.
                let found = Found {
                    node,
                    _p: PhantomData,
                };
                let Node { key, value, .. } = found.get();
                if !keep(&key.0, value) && self.unlink(&found) {
                    removed = removed.saturating_add(1);
                }
            }
            // If the entry at which the walk stopped was removed, the walk would skip as many
            // entries of the bucket as it has seen there. Some of those are gone, so it would skip
            // others. Let it begin the bucket anew.
            // SAFETY: `iter` has been entered, and is in use by this function alone.
            unsafe { (*iter.get()).skip = 0 };
            // SAFETY: `iter` has been started.
            unsafe { bindings::rhashtable_walk_stop(iter.get()) };
            cond_resched();
        }
        // SAFETY: `iter` has been entered, and stopped.
        unsafe { bindings::rhashtable_walk_exit(iter.get()) };
        removed
    }
}

#[pinned_drop]
impl<K: Key, V: AtomicDrop + Send + Sync + 'static> PinnedDrop for RhashTable<K, V> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `ht` is initialised, and not in use any more: lookups and walks borrow it.
        // Readers may still look at a node, so `destroy()` defers the drop.
        unsafe {
            bindings::rhashtable_free_and_destroy(
                self.ht.get(),
                Some(Node::<K, V>::destroy),
                core::ptr::null_mut(),
            )
        };
    }
}

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
