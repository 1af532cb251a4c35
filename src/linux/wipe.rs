// SPDX-License-Identifier: GPL-2.0

//! Memory that is wiped once it is no longer used.
//!
//! [`Wiped`] zeroes the place of a value when the value is dropped, padding included. Memory that a
//! value owns elsewhere is dropped with the value, and wiped only if it is wrapped itself.
//!
//! A move leaves the bytes of a value behind in the old place. So write a secret directly to the
//! place where it stays.
//!
//! C header: `memzero_explicit()` of [`include/linux/string.h`](srctree/include/linux/string.h)

use core::{
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::prelude::*;

use super::{
    bindings,
    compat::raw_try_init, //
};

/// A value whose place is zeroed when the value is dropped.
///
/// # Invariants
///
/// `0` is initialised until the wrapper is dropped. If the wrapper is pinned, so is the value.
#[repr(transparent)]
pub(crate) struct Wiped<T>(MaybeUninit<T>);

// The value is pinned with the wrapper.
impl<T: Unpin> Unpin for Wiped<T> {}

impl<T> Wiped<T> {
    /// Wraps `value`. Its bytes can still be read in the place that it came from.
    pub(crate) const fn new(value: T) -> Self {
        // INVARIANT: The value is initialised.
        Self(MaybeUninit::new(value))
    }

    /// Initialises the value in place.
    pub(crate) fn pin_init<E>(init: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        let init = move |slot: *mut Self| {
            // SAFETY: `slot` is valid for writes and does not move. The wrapper is transparent, so
            // `slot` is a place for a `T`. An error leaves nothing initialised.
            // INVARIANT: The value is initialised if this succeeds.
            unsafe { raw_try_init(slot.cast::<T>(), init) }
        };
        // SAFETY: The closure initialises the slot or returns an error, and moves nothing.
        unsafe { pin_init::pin_init_from_closure(init) }
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariant.
        unsafe { self.0.assume_init_ref() }
    }
}

// There is no `&mut` to a wrapper that is pinned, unless the value may be moved.
impl<T> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariant.
        unsafe { self.0.assume_init_mut() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the value is initialised, and it is not used again. It is
        // dropped in place, so a pinned value is not moved.
        unsafe { self.0.assume_init_drop() };
        // SAFETY: The place is valid for writes of its size. Its contents count as uninitialised.
        unsafe { bindings::memzero_explicit(self.0.as_mut_ptr().cast(), size_of::<T>()) };
    }
}

#[kernel::macros::kunit_tests(rust_wipe)]
mod tests {
    use super::*;
    use kernel::{
        new_mutex,
        sync::Mutex, //
    };

    /// The bytes in the place of a value of 40 bytes.
    type Left = [u8; 40];

    /// A value with padding, that needs to be dropped.
    #[repr(C)]
    struct Value {
        flag: u8,
        words: [u64; 3],
        owned: Option<KBox<u32>>,
    }

    fn value() -> Result<Value> {
        Ok(Value {
            flag: 1,
            words: [u64::MAX; 3],
            owned: Some(KBox::new(7, GFP_KERNEL)?),
        })
    }

    #[test]
    fn nothing_is_left_of_a_value() -> Result {
        const { core::assert!(size_of::<Value>() == size_of::<Left>()) };
        // The pattern covers the padding, too.
        let mut place = MaybeUninit::<Wiped<Value>>::uninit();
        // SAFETY: The place is valid for writes.
        unsafe { place.as_mut_ptr().cast::<Left>().write([0xa5; 40]) };
        let wiped = place.write(Wiped::new(value()?));
        assert_eq!(wiped.words, [u64::MAX; 3]);
        wiped.words[1] = 5;
        assert!(wiped.owned.as_deref() == Some(&7));
        // SAFETY: The value was initialised above, and is not used again.
        unsafe { place.assume_init_drop() };
        // SAFETY: The wipe has written the whole place.
        assert!(unsafe { place.as_ptr().cast::<Left>().read() } == [0; 40]);
        Ok(())
    }

    #[test]
    fn values_are_initialised_in_place() -> Result {
        let boxed: Pin<KBox<Wiped<Mutex<u64>>>> =
            KBox::pin_init(Wiped::pin_init(new_mutex!(6)), GFP_KERNEL)?;
        *boxed.lock() += 1;
        assert_eq!(*boxed.lock(), 7);
        Ok(())
    }
}
