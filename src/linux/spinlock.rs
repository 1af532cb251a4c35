// SPDX-License-Identifier: GPL-2.0

//! Spinlocks that keep softirqs off while they are held, for data that process context and softirqs
//! share.
//!
//! The lock is a backend of [`kernel::sync::lock::Lock`], so [`LockedBy`](kernel::sync::LockedBy)
//! and the rest work with it.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use kernel::{
    bindings::{
        lock_class_key,
        spinlock_t, //
    },
    ffi::c_char,
    sync::lock::{
        Backend,
        Guard,
        Lock, //
    },
};

use super::bindings;

/// A `spinlock_t` taken with `spin_lock_bh()`: its holder is not interrupted by a softirq.
///
/// It may be taken in process and softirq context, but not in hard interrupt context or with
/// interrupts off. Made with [`new_spinlock_bh!`].
pub(crate) type SpinLockBh<T> = Lock<T, SpinLockBhBackend>;

/// The guard of a locked [`SpinLockBh`]; dropping it is `spin_unlock_bh()`.
pub(crate) type SpinLockBhGuard<'a, T> = Guard<'a, T, SpinLockBhBackend>;

/// Makes an initialiser of a [`SpinLockBh`] with the given contents and name (for lockdep), and a
/// lock class of its own: `new_spinlock_bh!(value, "name")`.
macro_rules! new_spinlock_bh {
    ($inner:expr, $name:literal $(,)?) => {
        $crate::linux::spinlock::SpinLockBh::new(
            $inner,
            ::kernel::optional_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_bh;

/// Backend of [`SpinLockBh`].
pub(crate) struct SpinLockBhBackend;

// SAFETY: A `spinlock_t` excludes every other CPU, and every softirq of this one, between `lock`
// and `unlock`; a hard interrupt that takes the lock by mistake deadlocks, which does not make it a
// second owner. `relock` is the default implementation, which uses `lock`.
unsafe impl Backend for SpinLockBhBackend {
    type State = spinlock_t;
    type GuardState = ();

    #[inline]
    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut lock_class_key) {
        // SAFETY: The caller promises that `ptr` is valid for writes, and that `name` and `key`
        // stay valid.
        unsafe { kernel::bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The caller promises that the lock is initialised. Both types are `spinlock_t`.
        unsafe { bindings::spin_lock_bh(ptr.cast()) }
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &Self::GuardState) {
        // SAFETY: The caller promises that it owns the lock, which it took in this task: the guard
        // is not `Send`.
        unsafe { bindings::spin_unlock_bh(ptr.cast()) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        // SAFETY: The caller promises that the lock is initialised.
        let taken = unsafe { bindings::helper_spin_trylock_bh(ptr.cast()) };
        (taken != 0).then_some(())
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The caller promises that the lock is initialised.
        unsafe { kernel::bindings::spin_assert_is_held(ptr) }
    }
}
