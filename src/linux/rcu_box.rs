// SPDX-License-Identifier: GPL-2.0

//! RCU-protected boxes, for contents whose destructor sleeps.
//!
//! [`RcuPtr`](super::rcu::RcuPtr) leaves dropping to an RCU callback, which may not sleep. Here the one who takes the
//! contents out waits for the readers, and has them to himself afterwards.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Full,
        Atomic, //
    }, //
};

use super::rcu::{
    dereference,
    synchronize_net,
    Guard, //
};

/// A place for a [`KBox`] that is read under RCU.
///
/// # Invariants
///
/// `ptr` is null or comes from [`KBox::into_raw`], and this place owns the box.
pub(crate) struct RcuBox<T: Send + Sync> {
    ptr: Atomic<*mut T>,
    _p: PhantomData<KBox<T>>,
}

// SAFETY: It is a `KBox<T>` that is exchanged atomically, and whose contents are shared.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T: Send + Sync> RcuBox<T> {
    /// An empty place.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self {
            ptr: Atomic::new(core::ptr::null_mut()),
            _p: PhantomData,
        }
    }

    /// `rcu_dereference()`: what is here now, for as long as `guard` lasts.
    #[inline]
    pub(crate) fn load<'g>(&'g self, _guard: &'g Guard) -> Option<&'g T> {
        // SAFETY: By the type invariant it is null or a box that was owned when it was read. Whoever takes it out
        // waits for the end of this critical section before he does anything else with it; and the place itself is
        // not dropped while it is borrowed.
        NonNull::new(dereference(&self.ptr)).map(|ptr| unsafe { &*ptr.as_ptr() })
    }

    /// Puts `value` here, waits until nobody looks at what was here before, and returns that.
    ///
    /// Process context, outside of RCU read-side critical sections: it sleeps for a grace period, expedited if the
    /// RTNL is held, unless there was nothing.
    pub(crate) fn replace(&self, value: Option<KBox<T>>) -> Option<KBox<T>> {
        let new = value.map_or(core::ptr::null_mut(), KBox::into_raw);
        // INVARIANT: The box passes to this place, the old one from this place to us.
        let old = NonNull::new(self.ptr.xchg(new, Full))?;
        synchronize_net();
        // SAFETY: By the type invariant the place owned the box, and as it was exchanged atomically nobody else
        // takes it over. Readers that saw it are gone.
        Some(unsafe { KBox::from_raw(old.as_ptr()) })
    }
}

impl<T: Send + Sync> Drop for RcuBox<T> {
    fn drop(&mut self) {
        if let Some(ptr) = NonNull::new(*self.ptr.get_mut()) {
            // SAFETY: By the type invariant the place owns the box. There are no readers: they borrow the place.
            drop(unsafe { KBox::from_raw(ptr.as_ptr()) });
        }
    }
}
