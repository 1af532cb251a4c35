// SPDX-License-Identifier: GPL-2.0

//! Tests of the table with each kind of keys, and of the hash.

use super::*;
use kernel::{
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full, //
            },
            Atomic, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// A value that counts how many of its kind are alive.
struct Value(u64, Arc<Atomic<u64>>);

impl Value {
    fn new(number: u64, alive: &Arc<Atomic<u64>>) -> Self {
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

/// Fills a table with keys of one type and empties it in part. Returns what was wrong, or an
/// empty string.
fn exercise<K: Key>(key: impl Fn(u64) -> K) -> Result<&'static str> {
    const MANY: u64 = 3_000;

    let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let table = KBox::pin_init(RhashTable::<K, Value>::new(), GFP_KERNEL)?;
    for number in 0..MANY {
        let entry = Entry::new(key(number), Value::new(number, &alive), GFP_KERNEL)?;
        table.insert(entry).map_err(|(err, _)| err)?;
    }
    let entry = Entry::new(key(5), Value::new(0, &alive), GFP_KERNEL)?;
    match table.insert(entry) {
        Err((err, mut entry)) if err == EEXIST => {
            if entry.value().0 != 0 {
                return Ok("another entry came back");
            }
            entry.set_key(key(MANY));
            table.insert(entry).map_err(|(err, _)| err)?;
        }
        _ => return Ok("inserted twice"),
    }
    for number in 0..MANY {
        let guard = Guard::new();
        if table.lookup(&key(number), &guard).map(|value| value.0) != Some(number) {
            return Ok("not found");
        }
        if table.lookup(&key(number + MANY + 1), &guard).is_some() {
            return Ok("found what is not there");
        }
    }

    // The table may still be growing, which may hide an entry from a walk; so walk again.
    let odd = |_: &K, value: &Value| value.0 % 2 == 1;
    let mut removed = 0;
    for _ in 0..100 {
        removed += table.retain(odd);
        if removed as u64 > MANY / 2 {
            break;
        }
        fsleep(Delta::from_millis(10));
    }
    if removed as u64 != MANY / 2 + 1 || table.len() as u64 != MANY / 2 {
        return Ok("wrong number removed");
    }
    for number in 0..MANY {
        let guard = Guard::new();
        if table.lookup(&key(number), &guard).is_some() != (number % 2 == 1) {
            return Ok("wrong entry removed");
        }
    }
    rcu::barrier();
    if alive.load(Acquire) != MANY / 2 {
        return Ok("not freed after removal");
    }
    drop(table);
    rcu::barrier();
    if alive.load(Acquire) != 0 {
        return Ok("not freed with the table");
    }
    Ok("")
}

#[kernel::macros::kunit_tests(rust_rhashtable)]
mod cases {
    use super::*;

    #[test]
    fn random_keys() -> Result {
        assert_eq!(exercise(|number| RandomKey(number as u32))?, "");
        Ok(())
    }

    #[test]
    fn keys_of_many_words() -> Result {
        assert_eq!(exercise(|number| [0, number, 1])?, "");
        Ok(())
    }

    #[test]
    fn keys_of_odd_length() -> Result {
        let key = |number: u64| {
            let [a, b, c, ..] = number.to_le_bytes();
            [0, 0, 0, 0, a, b, c]
        };
        assert_eq!(exercise(key)?, "");
        Ok(())
    }

    #[test]
    fn what_was_found_stays_while_the_table_goes() -> Result {
        let alive = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let table = KBox::pin_init(RhashTable::<RandomKey, Value>::new(), GFP_KERNEL)?;
        for number in 0..3 {
            let value = Value::new(number.into(), &alive);
            let entry = Entry::new(RandomKey(number), value, GFP_KERNEL)?;
            table.insert(entry).map_err(|(err, _)| err)?;
        }
        {
            let guard = Guard::new();
            let one = table.lookup(&RandomKey(1), &guard).ok_or(ENOENT)?;
            let two = table.lookup(&RandomKey(2), &guard).ok_or(ENOENT)?;
            assert!(table.remove(&RandomKey(1)));
            assert!(!table.remove(&RandomKey(1)));
            assert_eq!((one.0, two.0), (1, 2));
            assert_eq!(alive.load(Acquire), 3);
        }
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 2);
        drop(table);
        rcu::barrier();
        assert_eq!(alive.load(Acquire), 0);
        Ok(())
    }

    #[test]
    fn the_hash_is_siphash() {
        // The first 24, 32 and 7 of the bytes 0, 1, 2, … with the key 0, 1, …, 15: the vectors of
        // the reference code, of which the table uses the lower half.
        let data: Aligned<[u8; 32]> = Aligned(core::array::from_fn(|i| i as u8));
        let mut key = bindings::siphash_key_t {
            key: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
        };
        let hash = |len: u32, key: &bindings::siphash_key_t| {
            // SAFETY: The data is aligned and has at least `len` bytes.
            unsafe { bindings::helper_siphash(data.0.as_ptr().cast(), len, key) }
        };
        assert_eq!(hash(24, &key), 0xf649_af94);
        assert_eq!(hash(32, &key), 0x72f2_7cce);
        assert_eq!(hash(7, &key), 0x8b01_d137);
        key.key[1] ^= 1;
        assert_ne!(hash(32, &key), 0x72f2_7cce);
    }

    #[test]
    fn keys_that_meet_in_jhash_are_spread() -> Result {
        // The seed is the table's own, which an attacker does not know.
        let table = KBox::pin_init(RhashTable::<[u64; 4], Value>::new(), GFP_KERNEL)?;
        // SAFETY: The table is initialised, and nothing else changes it.
        let ht = unsafe { &*table.ht.get() };
        let hashfn = ht.p.hashfn.ok_or(EINVAL)?;
        // SAFETY: As above.
        let seed = unsafe { (*ht.tbl).hash_rnd };
        let mut hit = 0u64;
        let mut number = 0u64;
        for _ in 0..64 {
            let key = loop {
                number += 1;
                let key = Aligned([number, 1, 2, 3]);
                // SAFETY: The key has eight words of four bytes.
                let jhash = unsafe { bindings::jhash2((&raw const key).cast(), 8, seed) };
                if jhash % 64 == 0 {
                    break key;
                }
            };
            // SAFETY: The key has that many bytes, and is aligned.
            let hash = unsafe { hashfn((&raw const key).cast(), 32, seed) };
            hit |= 1 << (hash % 64);
        }
        // Random keys hit 40.6 buckets on average, and fewer than 25 with a probability of 2.4e-11.
        assert!(hit.count_ones() >= 25);
        Ok(())
    }
}
