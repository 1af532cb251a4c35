// SPDX-License-Identifier: GPL-2.0

//! Tests of both tables: of lookups, refusals and removals.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        Arc, //
    }, //
};

use super::{
    IndexTable,
    PubkeyTable, //
};
use crate::linux::rcu::{
    self,
    AtomicDrop,
    Guard, //
};

/// A value that counts how many of its kind are alive.
struct Value(u32, Arc<Atomic<u64>>);

impl Value {
    fn new(number: u32, alive: &Arc<Atomic<u64>>) -> Self {
        alive.fetch_add(1, Full);
        Self(number, alive.clone())
    }
}

impl AtomicDrop for Value {}

impl Drop for Value {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Full);
    }
}

#[kernel::macros::kunit_tests(wireguard_peerlookup)]
mod cases {
    use super::*;

    #[test]
    fn index_in_use_is_drawn_again() -> Result {
        let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let table = KBox::pin_init(IndexTable::new(), GFP_KERNEL)?;
        let draw = |numbers: &'static [u32]| {
            let mut numbers = numbers.iter();
            move || numbers.next().copied().unwrap_or(u32::MAX)
        };
        let one = table.insert_drawn(Value::new(1, &alive), GFP_KERNEL, draw(&[7]))?;
        let two = table.insert_drawn(Value::new(2, &alive), GFP_KERNEL, draw(&[7, 7, 9]))?;
        assert_eq!((one, two), (7, 9));
        {
            let guard = Guard::new();
            assert_eq!(table.lookup(7, &guard).map(|value| value.0), Some(1));
            assert_eq!(table.lookup(9, &guard).map(|value| value.0), Some(2));
            assert!(table.lookup(8, &guard).is_none());
        }
        drop(table);
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 0);
        Ok(())
    }

    #[test]
    fn index_is_freed_for_its_owner_only() -> Result {
        let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let table = KBox::pin_init(IndexTable::new(), GFP_KERNEL)?;
        let index = table.insert_random(Value::new(1, &alive), GFP_KERNEL)?;
        assert!(!table.remove_if(index, |value| value.0 == 2));
        assert!(!table.remove_if(index.wrapping_add(1), |_| true));
        {
            // A value that was found stays while the guard does.
            let guard = Guard::new();
            let found = table.lookup(index, &guard).ok_or(ENOENT)?;
            assert!(table.remove_if(index, |value| value.0 == 1));
            assert!(!table.remove_if(index, |_| true));
            assert!(table.lookup(index, &guard).is_none());
            assert_eq!(found.0, 1);
            assert_eq!(alive.load(Acquire), 1);
        }
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 0);
        assert_eq!(table.len(), 0);
        Ok(())
    }

    #[test]
    fn many_indices() -> Result {
        const MANY: u32 = 20_000;

        let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let table = KBox::pin_init(IndexTable::new(), GFP_KERNEL)?;
        let mut indices = KVVec::new();
        for number in 0..MANY {
            let index = table.insert_random(Value::new(number, &alive), GFP_KERNEL)?;
            indices.push(index, GFP_KERNEL)?;
        }
        assert_eq!(table.len(), MANY as usize);
        let mut wrong = 0;
        for (number, index) in (0..MANY).zip(&indices) {
            let guard = Guard::new();
            if table.lookup(*index, &guard).map(|value| value.0) != Some(number) {
                wrong += 1;
            }
        }
        assert_eq!(wrong, 0);
        for (number, index) in (0..MANY).zip(&indices) {
            if number % 3 != 0 && !table.remove_if(*index, |value| value.0 == number) {
                wrong += 1;
            }
        }
        assert_eq!(wrong, 0);
        rcu::barrier();
        assert_eq!(table.len() as u64, alive.load(Acquire));
        drop(table);
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 0);
        Ok(())
    }

    #[test]
    fn one_peer_a_key() -> Result {
        let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let table = KBox::pin_init(PubkeyTable::new(), GFP_KERNEL)?;
        let key = |number: u8| [number; 32];
        table.insert(&key(1), Value::new(1, &alive), GFP_KERNEL)?;
        table.insert(&key(2), Value::new(2, &alive), GFP_KERNEL)?;
        assert!(table.insert(&key(1), Value::new(3, &alive), GFP_KERNEL) == Err(EEXIST));
        assert_eq!(alive.load(Acquire), 2);
        // A key that differs in its last byte.
        let mut other = key(1);
        other[31] = 0;
        {
            let guard = Guard::new();
            assert_eq!(table.lookup(&key(1), &guard).map(|value| value.0), Some(1));
            assert_eq!(table.lookup(&key(2), &guard).map(|value| value.0), Some(2));
            assert!(table.lookup(&other, &guard).is_none());
        }
        assert!(!table.remove_if(&key(1), |value| value.0 == 2));
        assert!(table.remove_if(&key(1), |value| value.0 == 1));
        assert_eq!(table.len(), 1);
        drop(table);
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 0);
        Ok(())
    }
}
