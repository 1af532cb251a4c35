// SPDX-License-Identifier: GPL-2.0

//! Types for C objects.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit, //
};

/// A C object of which Rust assumes nothing.
#[repr(transparent)]
pub struct Opaque<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Opaque<T> {
    /// All zeros.
    pub const fn zeroed() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// A pointer to the object.
    pub const fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}
