// SPDX-License-Identifier: GPL-2.0

//! A hash table that is read under RCU: the face of the module's, but of a fixed size.

use core::hash::{
    BuildHasher,
    BuildHasherDefault,
    Hash, //
};
use kernel::{
    alloc::Flags,
    prelude::*, //
};
use std::{
    hash::DefaultHasher,
    sync::{
        atomic::{
            AtomicUsize,
            Ordering::Relaxed, //
        },
        Mutex, //
    }, //
};

use super::rcu::{
    AtomicDrop,
    Guard,
    RcuArc,
    RcuPtr, //
};

const BUCKETS: usize = 4096;

/// A type of keys.
pub(crate) trait Key: Copy + Eq + Hash + Send + Sync + 'static {}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Key for K {}

/// A random number as a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RandomKey(pub(crate) u32);

/// An entry that is in no table.
pub(crate) struct Entry<K: Key, V: AtomicDrop + Send + Sync + 'static> {
    key: K,
    value: V,
}

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> Entry<K, V> {
    /// Makes an entry. Never fails.
    pub(crate) fn new(key: K, value: V, _flags: Flags) -> Result<Self> {
        Ok(Self { key, value })
    }

    /// Gives the entry another key.
    pub(crate) fn set_key(&mut self, key: K) {
        self.key = key;
    }
}

struct Node<K: Key, V: AtomicDrop + Send + Sync + 'static> {
    entry: Entry<K, V>,
    next: RcuPtr<Node<K, V>>,
}

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> AtomicDrop for Node<K, V> {}

/// A hash table from `K` to `V`.
pub(crate) struct RhashTable<K: Key, V: AtomicDrop + Send + Sync + 'static> {
    buckets: Vec<RcuPtr<Node<K, V>>>,
    len: AtomicUsize,
    writers: Mutex<()>,
}

impl<K: Key, V: AtomicDrop + Send + Sync + 'static> RhashTable<K, V> {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        Ok(Self {
            buckets: (0..BUCKETS).map(|_| RcuPtr::none()).collect(),
            len: AtomicUsize::new(0),
            writers: Mutex::new(()),
        })
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    fn bucket(&self, key: &K) -> &RcuPtr<Node<K, V>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        &self.buckets[hash as usize % BUCKETS]
    }

    fn find<'g>(&self, key: &K, guard: &'g Guard) -> Option<&'g Node<K, V>> {
        let mut next = self.bucket(key).load(guard);
        while let Some(node) = next {
            let node = node.get_ref();
            if node.entry.key == *key {
                return Some(node);
            }
            next = node.next.load(guard);
        }
        None
    }

    /// Inserts `entry`. Returns it with `EEXIST` if the table has its key already.
    pub(crate) fn insert(&self, entry: Entry<K, V>) -> Result<(), (Error, Entry<K, V>)> {
        let _writer = self.writers.lock().unwrap();
        if self.find(&entry.key, &Guard::new()).is_some() {
            return Err((EEXIST, entry));
        }
        let slot = self.bucket(&entry.key);
        let node = Node {
            entry,
            next: RcuPtr::new(slot.get()),
        };
        let Ok(node) = RcuArc::new(node, GFP_ATOMIC) else {
            panic!("allocations do not fail");
        };
        slot.replace(Some(node));
        self.len.fetch_add(1, Relaxed);
        Ok(())
    }

    /// The value for `key`.
    pub(crate) fn lookup<'g>(&self, key: &K, guard: &'g Guard) -> Option<&'g V> {
        self.find(key, guard).map(|node| &node.entry.value)
    }

    /// Removes the entries of a chain for which `keep` returns false, and returns their number.
    fn retain_chain(
        &self,
        chain: &RcuPtr<Node<K, V>>,
        mut keep: impl FnMut(&K, &V) -> bool,
    ) -> usize {
        let _writer = self.writers.lock().unwrap();
        let guard = Guard::new();
        let mut removed = 0;
        let mut slot = chain;
        while let Some(node) = slot.load(&guard) {
            let node = node.get_ref();
            if keep(&node.entry.key, &node.entry.value) {
                slot = &node.next;
            } else {
                slot.replace(node.next.get());
                self.len.fetch_sub(1, Relaxed);
                removed += 1;
            }
        }
        removed
    }

    /// Removes the entry for `key` if `is_it` returns true for its value. Returns whether it was
    /// removed.
    pub(crate) fn remove_if(&self, key: &K, is_it: impl FnOnce(&V) -> bool) -> bool {
        let mut is_it = Some(is_it);
        let keep =
            |other: &K, value: &V| other != key || !is_it.take().is_some_and(|is_it| is_it(value));
        self.retain_chain(self.bucket(key), keep) > 0
    }

    /// Removes the entries for which `keep` returns false, and returns their number.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> usize {
        let chains = self.buckets.iter();
        chains
            .map(|chain| self.retain_chain(chain, &mut keep))
            .sum()
    }
}
