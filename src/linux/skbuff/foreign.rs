// SPDX-License-Identifier: GPL-2.0

//! Packets whose owner keeps them as a pointer, as a ring of pointers does.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    ffi::c_void,
    types::ForeignOwnable, //
};

use super::{
    bindings,
    SkBuff,
    SkBuffMut, //
};

// SAFETY: `into_foreign()` returns the pointer to the buffer, which is not null and has the
// alignment of its type.
unsafe impl ForeignOwnable for SkBuff {
    const FOREIGN_ALIGN: usize = align_of::<bindings::sk_buff>();

    type Borrowed<'a> = SkBuffRef<'a>;
    type BorrowedMut<'a> = SkBuffMut<'a>;

    fn into_foreign(self) -> *mut c_void {
        self.into_raw().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: By the safety requirement `ptr` comes from `into_foreign()`, so it is not null.
        let ptr = unsafe { NonNull::new_unchecked(ptr.cast()) };
        // SAFETY: By the safety requirement the buffer, which `into_foreign()` gave away, passes to
        // the new value.
        unsafe { Self::from_raw(ptr) }
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> SkBuffRef<'a> {
        SkBuffRef {
            // SAFETY: By the safety requirement the buffer stays owned by the foreign side for
            // `'a`, without being used exclusively; `ManuallyDrop` leaves it there.
            skb: ManuallyDrop::new(unsafe { Self::from_foreign(ptr) }),
            _p: PhantomData,
        }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> SkBuffMut<'a> {
        SkBuffMut {
            // SAFETY: As above, and by the safety requirement no other borrow overlaps with `'a`.
            skb: ManuallyDrop::new(unsafe { Self::from_foreign(ptr) }),
            _p: PhantomData,
        }
    }
}

/// A packet with another owner, borrowed for reading.
pub(crate) struct SkBuffRef<'a> {
    skb: ManuallyDrop<SkBuff>,
    _p: PhantomData<&'a SkBuff>,
}

impl Deref for SkBuffRef<'_> {
    type Target = SkBuff;

    fn deref(&self) -> &SkBuff {
        &self.skb
    }
}
