// SPDX-License-Identifier: GPL-2.0

//! Atomic operations with the orderings of the kernel's memory model.

use core::cell::UnsafeCell;
use std::sync::atomic as std_atomic;

/// How an operation is ordered with others.
pub mod ordering {
    use std::sync::atomic::Ordering::{self, *};

    /// An ordering as a type.
    pub trait Any {
        /// The ordering of an operation that reads and writes.
        const RMW: Ordering;
        /// The ordering of a load.
        const LOAD: Ordering;
        /// The ordering of a store.
        const STORE: Ordering;
    }

    macro_rules! orderings {
        ($($name:ident: $rmw:expr, $load:expr, $store:expr;)*) => {$(
            #[doc = concat!("`", stringify!($name), "`")]
            pub struct $name;

            impl Any for $name {
                const RMW: Ordering = $rmw;
                const LOAD: Ordering = $load;
                const STORE: Ordering = $store;
            }
        )*};
    }

    orderings! {
        Relaxed: Ordering::Relaxed, Ordering::Relaxed, Ordering::Relaxed;
        Acquire: Ordering::Acquire, Ordering::Acquire, SeqCst;
        Release: Ordering::Release, SeqCst, Ordering::Release;
        Full: SeqCst, SeqCst, SeqCst;
    }
}

/// A value that is read and written as a whole.
#[repr(C, align(8))]
pub struct Atomic<T>(UnsafeCell<T>);

// SAFETY: It is read and written by atomic operations only, or through a raw pointer.
unsafe impl<T> Sync for Atomic<T> {}
// SAFETY: Its value is a plain number, or a raw pointer, whose every use needs a promise of its
// own.
unsafe impl<T> Send for Atomic<T> {}

impl<T> Atomic<T> {
    /// An atomic with this value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// A pointer to the value.
    pub const fn as_ptr(&self) -> *mut T {
        self.0.get()
    }
}

macro_rules! atomics {
    ($($type:ty: $atomic:ty $(, <$param:ident>)?;)*) => {$(
        impl$(<$param>)? Atomic<$type> {
            fn inner(&self) -> &$atomic {
                // SAFETY: The place is aligned and lives as long as `self`. Meanwhile it is used by
                // atomic operations only.
                unsafe { <$atomic>::from_ptr(self.0.get()) }
            }

            /// Reads the value.
            pub fn load<O: ordering::Any>(&self, _: O) -> $type {
                self.inner().load(O::LOAD)
            }

            /// Writes `value`.
            pub fn store<O: ordering::Any>(&self, value: $type, _: O) {
                self.inner().store(value, O::STORE);
            }

            /// Writes `value` and returns the one before.
            pub fn xchg<O: ordering::Any>(&self, value: $type, _: O) -> $type {
                self.inner().swap(value, O::RMW)
            }

            /// Writes `new` if the value is `old`. Returns the value before, as an error if it was
            /// another.
            pub fn cmpxchg<O: ordering::Any>(
                &self,
                old: $type,
                new: $type,
                _: O,
            ) -> Result<$type, $type> {
                self.inner().compare_exchange(old, new, O::RMW, std_atomic::Ordering::Relaxed)
            }
        }
    )*};
}

atomics! {
    bool: std_atomic::AtomicBool;
    i32: std_atomic::AtomicI32;
    i64: std_atomic::AtomicI64;
    u32: std_atomic::AtomicU32;
    u64: std_atomic::AtomicU64;
    *mut P: std_atomic::AtomicPtr<P>, <P>;
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Atomic<$type> {
            /// Adds `value` and returns the number before.
            pub fn fetch_add<O: ordering::Any>(&self, value: $type, _: O) -> $type {
                self.inner().fetch_add(value, O::RMW)
            }

            /// Subtracts `value` and returns the number before.
            pub fn fetch_sub<O: ordering::Any>(&self, value: $type, _: O) -> $type {
                self.inner().fetch_sub(value, O::RMW)
            }
        }
    )*};
}

numbers! { i32 i64 u32 u64 }
