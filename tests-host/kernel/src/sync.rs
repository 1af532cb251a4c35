// SPDX-License-Identifier: GPL-2.0

//! Atomics, locks and reference counts.

use crate::{
    alloc::{
        AllocError,
        Flags,
        KBox, //
    },
    error::{
        Error,
        Result, //
    }, //
};
use core::{
    ops::Deref,
    pin::Pin, //
};
use pinned_init::PinInit;
use std::sync::Condvar;

pub mod atomic;
pub mod rcu;

pub use crate::new_mutex;

/// A reference counted, pinned allocation.
pub struct Arc<T>(std::sync::Arc<Pin<KBox<T>>>);

impl<T> Arc<T> {
    /// Allocates `value` with one reference.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(std::sync::Arc::new(KBox::pin(value, flags)?)))
    }

    /// Initialises a `T` in place, with one reference.
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        Ok(Self(std::sync::Arc::new(KBox::pin_init(init, flags)?)))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A reference count.
pub struct Refcount(atomic::Atomic<i32>);

impl Refcount {
    /// A count that begins with `count`.
    pub const fn new(count: i32) -> Self {
        Self(atomic::Atomic::new(count))
    }

    /// Adds a reference.
    pub fn inc(&self) {
        self.0.fetch_add(1, atomic::ordering::Relaxed);
    }

    /// Removes a reference. Returns whether it was the last.
    pub fn dec_and_test(&self) -> bool {
        self.0.fetch_sub(1, atomic::ordering::Full) == 1
    }

    /// The count as a number.
    pub fn as_atomic(&self) -> &atomic::Atomic<i32> {
        &self.0
    }
}

/// Locks in general.
pub mod lock {
    use core::{
        marker::PhantomData,
        ops::{
            Deref,
            DerefMut, //
        }, //
    };

    /// Mutexes as a kind of lock.
    pub mod mutex {
        /// The marker type of a mutex.
        pub struct MutexBackend;
    }

    /// The proof that a lock is held.
    pub struct Guard<'a, T, B> {
        pub(super) held: std::sync::MutexGuard<'a, T>,
        pub(super) _backend: PhantomData<B>,
    }

    impl<T, B> Deref for Guard<'_, T, B> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.held
        }
    }

    impl<T, B> DerefMut for Guard<'_, T, B> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.held
        }
    }
}

/// A mutex.
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that is not locked.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> lock::Guard<'_, T, lock::mutex::MutexBackend> {
        lock::Guard {
            held: self
                .0
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
            _backend: core::marker::PhantomData,
        }
    }
}

/// A [`Mutex`]. Its name is not used here.
#[macro_export]
macro_rules! new_mutex {
    ($value:expr $(, $name:literal)?) => {
        $crate::sync::Mutex::new($value)
    };
}

/// An event that happens once, and that threads wait for.
pub struct Completion {
    done: std::sync::Mutex<bool>,
    changed: Condvar,
}

impl Completion {
    /// An event that has not happened yet.
    pub const fn new() -> Self {
        Self {
            done: std::sync::Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// Makes the event happen, and wakes all waiters.
    pub fn complete_all(&self) {
        *self.done.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until the event has happened.
    pub fn wait_for_completion(&self) {
        let done = self.done.lock().unwrap();
        drop(self.changed.wait_while(done, |done| !*done).unwrap());
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}
