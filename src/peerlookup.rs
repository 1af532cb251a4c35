// SPDX-License-Identifier: GPL-2.0

//! The two ways to find a peer: by the index that a message names, and by its public key.
//!
//! Both are read under RCU when a message arrives. Their values are the engine's: the tables know
//! nothing of peers.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

use crate::linux::{
    random::get_random_u32,
    rcu::{
        AtomicDrop,
        Guard, //
    },
    rhashtable::{
        Entry,
        RandomKey,
        RhashTable, //
    }, //
};

#[cfg(CONFIG_KUNIT = "y")]
mod tests;

/// The length of a public key in bytes (Curve25519).
const PUBLIC_KEY_LEN: usize = 32;

/// The indices by which the messages of others name our handshakes and keypairs ("receiver" in
/// section 5.4 of the paper).
///
/// An index is random, so that it says nothing about the peer or about how many there are. As a
/// number it is the value of the message's little-endian field.
#[pin_data]
pub(crate) struct IndexTable<V: AtomicDrop + Send + Sync + 'static> {
    #[pin]
    table: RhashTable<RandomKey, V>,
}

impl<V: AtomicDrop + Send + Sync + 'static> IndexTable<V> {
    /// An empty table.
    ///
    /// Process context, as is dropping it. `ENOMEM` if there is no memory for it.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- RhashTable::new(),
        }? Error)
    }

    /// Gives `value` an index that nothing else in the table has, and returns the index.
    ///
    /// `ENOMEM`, `EBUSY`, `E2BIG`: there is no room for it right now.
    ///
    /// Process and softirq context, with `flags` as the context needs them.
    pub(crate) fn insert_random(&self, value: V, flags: Flags) -> Result<u32> {
        self.insert_drawn(value, flags, get_random_u32)
    }

    /// [`Self::insert_random`] with indices from `draw`.
    fn insert_drawn(&self, value: V, flags: Flags, mut draw: impl FnMut() -> u32) -> Result<u32> {
        let mut index = draw();
        let mut entry = Entry::new(RandomKey(index), value, flags)?;
        loop {
            match self.table.insert(entry) {
                Ok(()) => return Ok(index),
                // One in a thousand draws at a million peers with three indices each.
                Err((err, back)) if err == EEXIST => {
                    entry = back;
                    index = draw();
                    entry.set_key(RandomKey(index));
                }
                Err((err, _)) => return Err(err),
            }
        }
    }

    /// The value that `index` stands for.
    ///
    /// Process and softirq context.
    pub(crate) fn lookup<'g>(&self, index: u32, guard: &'g Guard) -> Option<&'g V> {
        self.table.lookup(&RandomKey(index), guard)
    }

    /// Frees `index` if `is_it` returns true for its value, and returns whether it did.
    ///
    /// The index may have been freed and given to something else since the caller got it, hence the
    /// question. The value is dropped after a grace period. `is_it` may not sleep.
    ///
    /// Process and softirq context.
    pub(crate) fn remove_if(&self, index: u32, is_it: impl FnOnce(&V) -> bool) -> bool {
        self.table.remove_if(&RandomKey(index), is_it)
    }

    /// The number of indices in use, which others may be changing.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// The peers of a device by their static public keys.
#[pin_data]
pub(crate) struct PubkeyTable<V: AtomicDrop + Send + Sync + 'static> {
    #[pin]
    table: RhashTable<[u8; PUBLIC_KEY_LEN], V>,
}

impl<V: AtomicDrop + Send + Sync + 'static> PubkeyTable<V> {
    /// An empty table.
    ///
    /// Process context, as is dropping it. `ENOMEM` if there is no memory for it.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- RhashTable::new(),
        }? Error)
    }

    /// Adds `value` under `key`.
    ///
    /// `EEXIST` if there is a value under this key; `ENOMEM`, `EBUSY`, `E2BIG`: there is no room
    /// for it right now.
    ///
    /// Process and softirq context, with `flags` as the context needs them.
    pub(crate) fn insert(&self, key: &[u8; PUBLIC_KEY_LEN], value: V, flags: Flags) -> Result {
        let entry = Entry::new(*key, value, flags)?;
        self.table.insert(entry).map_err(|(err, _)| err)
    }

    /// The value under `key`.
    ///
    /// Process and softirq context.
    pub(crate) fn lookup<'g>(&self, key: &[u8; PUBLIC_KEY_LEN], guard: &'g Guard) -> Option<&'g V> {
        self.table.lookup(key, guard)
    }

    /// Removes the value under `key` if `is_it` returns true for it, and returns whether it did.
    ///
    /// The value is dropped after a grace period. `is_it` may not sleep.
    ///
    /// Process and softirq context.
    pub(crate) fn remove_if(
        &self,
        key: &[u8; PUBLIC_KEY_LEN],
        is_it: impl FnOnce(&V) -> bool,
    ) -> bool {
        self.table.remove_if(key, is_it)
    }

    /// The number of keys, which others may be changing.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}
