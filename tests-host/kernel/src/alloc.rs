// SPDX-License-Identifier: GPL-2.0

//! Boxes and vectors whose allocations can fail, but do not here.

use crate::error::{
    Error,
    Result, //
};
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    pin::Pin, //
};
use pinned_init::PinInit;

/// How to allocate. It makes no difference here.
#[derive(Clone, Copy)]
pub struct Flags;

/// The flags there are.
pub mod flags {
    /// May sleep.
    pub const GFP_KERNEL: super::Flags = super::Flags;
    /// May not sleep.
    pub const GFP_ATOMIC: super::Flags = super::Flags;
}

/// The error for a lack of memory.
#[derive(Debug)]
pub struct AllocError;

/// A heap allocation with one owner.
#[repr(transparent)]
pub struct KBox<T: ?Sized>(Box<T>);

impl<T> KBox<T> {
    /// Allocates a box for `value`.
    pub fn new(value: T, _flags: Flags) -> Result<Self, AllocError> {
        Ok(Self(Box::new(value)))
    }

    /// Allocates a pinned box for `value`.
    pub fn pin(value: T, _flags: Flags) -> Result<Pin<Self>, AllocError> {
        Ok(Self::into_pin(Self(Box::new(value))))
    }

    /// Initialises a `T` in place, in a pinned box.
    pub fn try_pin_init<E>(init: impl PinInit<T, E>, _flags: Flags) -> Result<Pin<Self>, E> {
        let mut place = Box::<T>::new_uninit();
        // SAFETY: The place is valid for writes, is dropped as uninitialised memory if this fails,
        // and is pinned below.
        unsafe { init.__pinned_init(place.as_mut_ptr())? };
        // SAFETY: The initialiser has succeeded, so the place is initialised.
        Ok(Self::into_pin(Self(unsafe { place.assume_init() })))
    }

    /// [`Self::try_pin_init`] with an error number.
    pub fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Pin<Self>>
    where
        Error: From<E>,
    {
        Ok(Self::try_pin_init(init, flags)?)
    }

    /// Gives up the ownership of the allocation.
    pub fn into_raw(this: Self) -> *mut T {
        Box::into_raw(this.0)
    }

    /// As [`Self::into_raw`], as a reference.
    pub fn leak<'a>(this: Self) -> &'a mut T {
        Box::leak(this.0)
    }

    /// Takes over the allocation that [`Self::into_raw`] has given up.
    ///
    /// # Safety
    ///
    /// `ptr` comes from [`Self::into_raw`], and is taken over only once.
    pub unsafe fn from_raw(ptr: *mut T) -> Self {
        // SAFETY: By the safety requirements, `ptr` comes from `Box::into_raw()` and has no owner.
        Self(unsafe { Box::from_raw(ptr) })
    }

    /// Pins the content of the box.
    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: The content of a box stays in its place when the box is moved, and from a pinned
        // box it cannot be moved out.
        unsafe { Pin::new_unchecked(this) }
    }
}

impl<T: ?Sized> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector.
pub struct KVec<T>(Vec<T>);

/// A vector that may be large.
pub type KVVec<T> = KVec<T>;

/// The error for an index beyond the end.
#[derive(Debug)]
pub struct RemoveError;

impl<T> KVec<T> {
    /// An empty vector.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty vector with room for exactly `capacity` elements.
    pub fn with_capacity(capacity: usize, _flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Vec::new();
        vec.reserve_exact(capacity);
        Ok(Self(vec))
    }

    /// A vector of `count` clones of `value`.
    pub fn from_elem(value: T, count: usize, _flags: Flags) -> Result<Self, AllocError>
    where
        T: Clone,
    {
        Ok(Self(vec![value; count]))
    }

    /// The number of elements that there is room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Appends `value`.
    pub fn push(&mut self, value: T, _flags: Flags) -> Result<(), AllocError> {
        self.0.push(value);
        Ok(())
    }

    /// Appends `value` if there is room.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), T> {
        if self.0.len() == self.0.capacity() {
            return Err(value);
        }
        self.0.push(value);
        Ok(())
    }

    /// Appends all of `values`.
    pub fn extend_from_slice(&mut self, values: &[T], _flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.0.extend_from_slice(values);
        Ok(())
    }

    /// Removes and returns the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Removes and returns element number `at`.
    pub fn remove(&mut self, at: usize) -> Result<T, RemoveError> {
        if at < self.0.len() {
            Ok(self.0.remove(at))
        } else {
            Err(RemoveError)
        }
    }

    /// Drops all elements after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
