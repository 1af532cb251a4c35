// SPDX-License-Identifier: GPL-2.0

//! RCU-protected boxes, for contents whose destructor sleeps.
//!
//! [`RcuPtr`](super::rcu::RcuPtr) leaves dropping to an RCU callback, which may not sleep. Here the
//! caller that takes the contents out waits for the readers, and owns the contents alone
//! afterwards.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ops::Deref,
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
    GracePeriod,
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

// SAFETY: The place is a `KBox<T>` that is exchanged atomically, and whose contents are shared.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T: Send + Sync> RcuBox<T> {
    /// An empty place.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            ptr: Atomic::new(core::ptr::null_mut()),
            _p: PhantomData,
        }
    }

    /// `rcu_dereference()`: the present contents, for as long as `guard` lasts.
    #[inline]
    pub(crate) fn load<'g>(&'g self, _guard: &'g Guard) -> Option<&'g T> {
        // SAFETY: By the type invariant the pointer is null or a box that the place owned when it
        // was read. A caller that takes the box out gets a `Taken`, which waits for the end of this
        // critical section before it gives up or drops the box. The place itself is not dropped
        // while it is borrowed.
        NonNull::new(dereference(&self.ptr)).map(|ptr| unsafe { &*ptr.as_ptr() })
    }

    /// Puts `value` here, and takes out the old contents. Any context.
    pub(crate) fn exchange(&self, value: Option<KBox<T>>) -> Option<Taken<T>> {
        let new = value.map_or(core::ptr::null_mut(), KBox::into_raw);
        // INVARIANT: The new box passes to this place, the old one from this place to the caller.
        let ptr = NonNull::new(self.ptr.xchg(new, Full))?;
        // SAFETY: By the type invariant the place owned the box. The exchange was atomic, so no
        // other caller takes it over. Only shared references to it are made before the readers are
        // gone: see `Taken`.
        let value = unsafe { KBox::from_raw(ptr.as_ptr()) };
        // INVARIANT: From here on no reader finds the box.
        Some(Taken {
            readers: Readers(GracePeriod::next()),
            value,
        })
    }
}

/// The readers of a box that was taken out. Dropping the value waits until they are gone.
struct Readers(GracePeriod);

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// A box that was taken out of an [`RcuBox`], and that readers may still look at.
///
/// Dropping it waits for them, as [`Taken::wait`] does.
///
/// # Invariants
///
/// No reader that began after the grace period of `readers` was made has the box.
#[must_use = "dropping it may wait for a grace period"]
pub(crate) struct Taken<T: Send + Sync> {
    // Fields are dropped in this order: the box when its readers are gone.
    readers: Readers,
    value: KBox<T>,
}

impl<T: Send + Sync> Taken<T> {
    /// Waits until no reader looks at the box any more. There is no wait if a grace period has
    /// passed since it was taken out.
    ///
    /// Process context, outside of RCU read-side critical sections: it sleeps.
    pub(crate) fn wait(self) -> KBox<T> {
        let Self { readers, value } = self;
        drop(readers);
        value
    }
}

impl<T: Send + Sync> Deref for Taken<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Send + Sync> Drop for RcuBox<T> {
    fn drop(&mut self) {
        if let Some(ptr) = NonNull::new(*self.ptr.get_mut()) {
            // SAFETY: By the type invariant the place owns the box. There are no readers: they
            // borrow the place.
            drop(unsafe { KBox::from_raw(ptr.as_ptr()) });
        }
    }
}

#[kernel::macros::kunit_tests(rust_rcu_box)]
mod tests {
    use super::{
        super::rcu::synchronize_net,
        *, //
    };

    /// A grace period does not pass while a reader is there. It counts for every box that was taken
    /// out before it.
    #[test]
    fn grace_periods() {
        let guard = Guard::new();
        let first = GracePeriod::next();
        assert!(!first.has_passed());
        drop(guard);
        synchronize_net();
        assert!(first.has_passed());
        let guard = Guard::new();
        assert!(!GracePeriod::next().has_passed());
        drop(guard);
    }

    /// A box that was taken out stays for its readers, and is not found any more.
    #[test]
    fn taken_out() -> Result {
        let place = RcuBox::new();
        assert!(place.exchange(Some(KBox::new(1, GFP_KERNEL)?)).is_none());
        let second = KBox::new(2, GFP_KERNEL)?;
        let guard = Guard::new();
        let seen = place.load(&guard);
        assert_eq!(seen, Some(&1));
        let taken = place.exchange(Some(second)).ok_or(ENOENT)?;
        assert_eq!((seen, place.load(&guard), *taken), (Some(&1), Some(&2), 1));
        drop(guard);
        assert_eq!(*taken.wait(), 1);
        assert_eq!(place.exchange(None).map(|last| *last.wait()), Some(2));
        assert!(place.exchange(None).is_none());
        Ok(())
    }
}
