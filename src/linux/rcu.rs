// SPDX-License-Identifier: GPL-2.0

//! RCU-protected pointers to reference counted objects.
//!
//! [`RcuArc`] is a reference counted allocation whose contents are dropped one grace period after
//! the last reference goes away. [`RcuPtr`] is a place that holds such a reference. Readers look at
//! it under [`rcu::Guard`](kernel::sync::rcu::Guard) without taking a lock or a reference.
//!
//! # What is dropped by a callback
//!
//! A callback runs in softirq context, where nothing may sleep. So a type that a callback drops
//! implements [`AtomicDrop`]: its destructor does not sleep.
//!
//! # Sleeping under a guard
//!
//! Safe code may keep a borrow under [`Guard`] for as long as the guard, even across a function
//! that sleeps. With preemptible RCU (`CONFIG_PREEMPT_RCU`) the read-side critical section then
//! lasts as long as the guard, and the kernel reports the sleep.
//!
//! Debian's cloud kernel for arm64 has no preemptible RCU. There the guard disables preemption. A
//! sleep is a "scheduling while atomic" report, and it ends the critical section: the borrow
//! dangles. So on such a kernel memory safety also needs a rule that the compiler does not check:
//! no function that sleeps is called under a guard. The debug kernel with KASAN checks the rule for
//! the same source: it reports each call under a guard to a function that may sleep, even if the
//! function does not sleep that time. The build refuses a kernel that would not report the sleep,
//! either (neither `CONFIG_PREEMPT_RCU` nor `CONFIG_PREEMPT_COUNT`).
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Deref,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Refcount, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    compat::{
        rcu_barrier,
        rcu_gp_seq, //
    },
    wipe::Wiped, //
};

pub(crate) use kernel::sync::rcu::Guard;

#[cfg(not(any(CONFIG_PREEMPT_RCU, CONFIG_PREEMPT_COUNT)))]
compile_error!("this kernel does not report a sleep under an RCU guard (see CONFIG_PREEMPTION)");

/// The destructor does not sleep: a value may be dropped in softirq context.
///
/// Memory safety does not depend on it: a destructor that sleeps there is a "scheduling while
/// atomic" report, and may be a deadlock. The compiler cannot check what a destructor does, so each
/// type implements this trait itself, next to its fields. None of the fields may own a mutex that
/// is held, a work queue, a socket or the last reference to one of these.
pub(crate) trait AtomicDrop {}

/// Dropping the last reference drops the object.
impl<T: AtomicDrop> AtomicDrop for kernel::sync::Arc<T> {}

/// Contents of this module that were handed to `call_rcu()` and are not dropped yet.
static PENDING: Atomic<i64> = Atomic::new(0);

/// Tells [`drain()`] to wait for one more RCU callback, which is about to be handed to
/// `call_rcu()`.
pub(super) fn deferred_begin() {
    PENDING.fetch_add(1, Full);
}

/// Tells [`drain()`] that such a callback has done its work. The callback calls this last: pairs
/// with the load in [`drain()`], which then sees all drops done.
pub(super) fn deferred_end() {
    PENDING.fetch_sub(1, Full);
}

/// `rcu_dereference()` of a place that is written with release semantics.
///
/// Like the C macro this is an untorn load, which the compiler may not repeat; later loads through
/// the pointer are ordered behind it by address dependency. [`Atomic`]'s own load would be a
/// function call here.
#[inline(always)]
pub(super) fn dereference<T>(place: &Atomic<*mut T>) -> *mut T {
    // SAFETY: The pointer is valid and aligned for as long as `place` is borrowed. A volatile
    // access of a word is an atomic one in the kernel's memory model (`READ_ONCE()`).
    unsafe { place.as_ptr().read_volatile() }
}

/// Waits for one RCU grace period, an expedited one when the RTNL is held.
///
/// Process context only: it sleeps.
pub(crate) fn synchronize_net() {
    // SAFETY: The function may be called from any context that may sleep, which this function
    // demands. A call from another context is a "scheduling while atomic" report and touches no
    // memory.
    unsafe { bindings::synchronize_net() };
}

/// A grace period that begins no sooner than the value is made. A later wait for it is short, or
/// needs no waiting at all.
///
/// Grace periods of both kinds count, normal and expedited ones.
#[derive(Clone, Copy)]
pub(crate) struct GracePeriod(rcu_gp_seq);

impl GracePeriod {
    /// The next grace period from now. This starts none: another user of RCU may start one anyway.
    /// Any context.
    pub(crate) fn next() -> Self {
        let mut seq = rcu_gp_seq::default();
        // SAFETY: The place is valid for writing.
        unsafe { bindings::get_state_synchronize_rcu_full(&mut seq) };
        Self(seq)
    }

    /// Whether the grace period has passed. Any context.
    pub(crate) fn has_passed(mut self) -> bool {
        // SAFETY: The cookie comes from `get_state_synchronize_rcu_full()`.
        unsafe { bindings::poll_state_synchronize_rcu_full(&mut self.0) }
    }

    /// Waits until the grace period has passed; the wait is expedited when the RTNL is held.
    /// Process context: it sleeps.
    pub(crate) fn wait(self) {
        if !self.has_passed() {
            synchronize_net();
        }
    }
}

/// Waits until all deferred drops of this module are done: the contents of every [`RcuArc`] whose
/// last reference is gone, and every entry removed from an
/// [`RhashTable`](super::rhashtable::RhashTable). Drops that another such drop caused are included.
///
/// Process context only: it sleeps. For the end of the module, when nothing of it runs any more:
/// the loop does not end while such objects go on being dropped.
pub(super) fn drain() {
    loop {
        let done = PENDING.load(Acquire) == 0;
        // Needed even if the count is zero: the last callback may have counted itself out, but not
        // returned yet. It does not wait for a callback that one of those queues, as the drop of an
        // `RcuArc` does if it held the last reference to another.
        rcu_barrier();
        if done {
            break;
        }
    }
}

/// [`drain()`], for tests.
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) fn barrier() {
    drain();
}

/// The contents of the allocation behind [`RcuArc`], which is a [`Wiped`].
#[repr(C)]
#[pin_data]
struct Inner<T> {
    refcount: Refcount,
    rcu: Opaque<bindings::callback_head>,
    #[pin]
    data: T,
}

/// A reference counted allocation that is dropped one grace period after its last reference.
///
/// The contents are dropped by an RCU callback, in softirq context: see [`AtomicDrop`]. The
/// allocation is zeroed as a whole before it is freed.
///
/// # Invariants
///
/// * `ptr` points to a valid, pinned [`Inner`] and owns one count of its `refcount`.
/// * The [`Inner`] is freed no sooner than one grace period after `refcount` has dropped to zero.
pub(crate) struct RcuArc<T: AtomicDrop + Send + Sync + 'static> {
    ptr: NonNull<Inner<T>>,
    _p: PhantomData<Inner<T>>,
}

// SAFETY: An `RcuArc<T>` gives shared access to `T` (so `T: Sync`), and the last of them may drop
// the `T` on another CPU (so `T: Send`). The count is atomic.
unsafe impl<T: AtomicDrop + Send + Sync + 'static> Send for RcuArc<T> {}
// SAFETY: As above.
unsafe impl<T: AtomicDrop + Send + Sync + 'static> Sync for RcuArc<T> {}

// The contents are pinned, the reference to them is not.
impl<T: AtomicDrop + Send + Sync + 'static> Unpin for RcuArc<T> {}

impl<T: AtomicDrop + Send + Sync + 'static> RcuArc<T> {
    /// Allocates `contents` with one reference.
    pub(crate) fn new(contents: T, flags: Flags) -> Result<Self> {
        Self::pin_init(contents, flags)
    }

    /// Allocates and initialises the contents in place with one reference.
    pub(crate) fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let init = try_pin_init!(Inner {
            refcount: Refcount::new(1),
            rcu: Opaque::zeroed(),
            data <- init,
        }? Error);
        let inner = KBox::try_pin_init(Wiped::pin_init(init), flags)?;
        // SAFETY: The contents stay pinned: until they are dropped, in place, they are only reached
        // through shared references.
        let inner = unsafe { Pin::into_inner_unchecked(inner) };
        // INVARIANT: `inner` was just made with a count of one, which this value owns. A `Wiped` is
        // transparent.
        Ok(Self {
            ptr: NonNull::from(KBox::leak(inner)).cast(),
            _p: PhantomData,
        })
    }

    /// Whether both refer to the same allocation.
    pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.ptr == other.ptr
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: By the type invariant `ptr` is valid while this reference is owned.
        unsafe { self.ptr.as_ref() }
    }

    fn into_raw(self) -> *mut Inner<T> {
        core::mem::ManuallyDrop::new(self).ptr.as_ptr()
    }

    /// # Safety
    ///
    /// `ptr` must be null or come from [`RcuArc::into_raw`]. The count that `into_raw()` gave up
    /// passes to the new value.
    unsafe fn from_raw(ptr: *mut Inner<T>) -> Option<Self> {
        // INVARIANT: By the safety requirement the pointer, if it is not null, owns one count.
        NonNull::new(ptr).map(|ptr| Self {
            ptr,
            _p: PhantomData,
        })
    }

    /// The RCU callback that drops the contents, and wipes and frees the allocation.
    ///
    /// # Safety
    ///
    /// `head` is the `rcu` field of an [`Inner<T>`] with no references left, a grace period after
    /// the last one was dropped.
    unsafe extern "C" fn free(head: *mut bindings::callback_head) {
        let inner: *mut Wiped<Inner<T>> = head.wrapping_byte_sub(offset_of!(Inner<T>, rcu)).cast();
        // SAFETY: By the safety requirement `head` lies in an `Inner<T>`, which starts at `inner`.
        // The allocation came from a `KBox` in `pin_init()`. No reference is left, and no reader
        // from before the grace period is either.
        drop(unsafe { KBox::from_raw(inner) });
        deferred_end();
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Deref for RcuArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().data
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Clone for RcuArc<T> {
    fn clone(&self) -> Self {
        self.inner().refcount.inc();
        // INVARIANT: The new value owns the count just added.
        Self {
            ptr: self.ptr,
            _p: PhantomData,
        }
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Drop for RcuArc<T> {
    fn drop(&mut self) {
        if self.inner().refcount.dec_and_test() {
            deferred_begin();
            let head = self.inner().rcu.get();
            // SAFETY: The count has just gone to zero. Only this place uses `rcu`, and only once: a
            // count of zero is never raised again. The allocation stays until `free()` runs.
            unsafe { bindings::call_rcu(head, Some(Self::free)) };
        }
    }
}

/// A borrow of the contents of an [`RcuArc`] for as long as an RCU read-side critical section
/// lasts.
///
/// # Invariants
///
/// `ptr` points to an [`Inner`] that is not freed during `'g`.
pub(crate) struct RcuBorrow<'g, T: AtomicDrop + Send + Sync + 'static> {
    ptr: NonNull<Inner<T>>,
    _p: PhantomData<&'g Inner<T>>,
}

impl<T: AtomicDrop + Send + Sync + 'static> Clone for RcuBorrow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Copy for RcuBorrow<'_, T> {}

impl<'g, T: AtomicDrop + Send + Sync + 'static> RcuBorrow<'g, T> {
    fn inner(self) -> &'g Inner<T> {
        // SAFETY: By the type invariant.
        unsafe { self.ptr.as_ref() }
    }

    /// The contents, for the whole of the critical section.
    pub(crate) fn get_ref(self) -> &'g T {
        &self.inner().data
    }

    /// A reference that outlives the critical section, or `None` if the last one is already gone.
    pub(crate) fn try_get(self) -> Option<RcuArc<T>> {
        let count = self.inner().refcount.as_atomic();
        let mut old = count.load(Relaxed);
        loop {
            // Zero: the object is about to be freed. Negative: the count is saturated, and stays
            // so.
            if old == 0 {
                return None;
            }
            if old < 0 {
                break;
            }
            match count.cmpxchg(old, old.wrapping_add(1), Relaxed) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        // INVARIANT: The new value owns the count just added (or the object is saturated and is
        // never freed).
        Some(RcuArc {
            ptr: self.ptr,
            _p: PhantomData,
        })
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Deref for RcuBorrow<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get_ref()
    }
}

/// A place for an [`RcuArc`] that is read under RCU and written from anywhere.
///
/// # Invariants
///
/// `ptr` is null or comes from [`RcuArc::into_raw`] and owns that reference.
pub(crate) struct RcuPtr<T: AtomicDrop + Send + Sync + 'static> {
    ptr: Atomic<*mut Inner<T>>,
    _p: PhantomData<RcuArc<T>>,
}

// SAFETY: The place is an `RcuArc<T>` that is exchanged atomically.
unsafe impl<T: AtomicDrop + Send + Sync + 'static> Send for RcuPtr<T> {}
// SAFETY: As above.
unsafe impl<T: AtomicDrop + Send + Sync + 'static> Sync for RcuPtr<T> {}

impl<T: AtomicDrop + Send + Sync + 'static> RcuPtr<T> {
    /// A place that holds nothing.
    pub(crate) const fn none() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            ptr: Atomic::new(core::ptr::null_mut()),
            _p: PhantomData,
        }
    }

    /// A place that holds `value`.
    pub(crate) fn new(value: Option<RcuArc<T>>) -> Self {
        // INVARIANT: The reference moves into the new place.
        Self {
            ptr: Atomic::new(value.map_or(core::ptr::null_mut(), RcuArc::into_raw)),
            _p: PhantomData,
        }
    }

    /// `rcu_dereference()`: the present contents, for as long as `guard` lasts.
    #[inline]
    pub(crate) fn load<'g>(&self, _guard: &'g Guard) -> Option<RcuBorrow<'g, T>> {
        // INVARIANT: When the pointer was read, the place still owned its reference. So the count
        // drops to zero, if at all, after the critical section began, and the object is freed after
        // its end.
        NonNull::new(dereference(&self.ptr)).map(|ptr| RcuBorrow {
            ptr,
            _p: PhantomData,
        })
    }

    /// `rcu_access_pointer()`: whether this place holds `other` now.
    pub(crate) fn holds(&self, other: &RcuArc<T>) -> bool {
        self.ptr.load(Relaxed) == other.ptr.as_ptr()
    }

    /// Whether this place holds nothing now.
    pub(crate) fn is_none(&self) -> bool {
        self.ptr.load(Relaxed).is_null()
    }

    /// A reference to the present contents.
    pub(crate) fn get(&self) -> Option<RcuArc<T>> {
        let guard = Guard::new();
        self.load(&guard)?.try_get()
    }

    /// `rcu_assign_pointer()`: puts `value` here and returns the old contents.
    ///
    /// Readers that already look at the old object keep it until the end of their critical section:
    /// dropping the returned reference is always fine.
    pub(crate) fn replace(&self, value: Option<RcuArc<T>>) -> Option<RcuArc<T>> {
        let new = value.map_or(core::ptr::null_mut(), RcuArc::into_raw);
        let old = self.ptr.xchg(new, Full);
        // SAFETY: By the type invariant `old` owned its reference. The exchange was atomic, so no
        // other caller takes it over.
        unsafe { RcuArc::from_raw(old) }
    }

    /// Puts `new` here if this place holds `old` now. Returns whether it did.
    pub(crate) fn replace_if(&self, old: Option<&RcuArc<T>>, new: RcuArc<T>) -> bool {
        let old = old.map_or(core::ptr::null_mut(), |old| old.ptr.as_ptr());
        let new = new.into_raw();
        let (replaced, unused) = match self.ptr.cmpxchg(old, new, Full) {
            Ok(old) => (true, old),
            Err(_) => (false, new),
        };
        // SAFETY: If the pointers were exchanged, `unused` is the old contents, which owned their
        // reference, as in `replace()`. Otherwise it is the pointer from `into_raw()` above, which
        // is nowhere else.
        drop(unsafe { RcuArc::from_raw(unused) });
        replaced
    }
}

impl<T: AtomicDrop + Send + Sync + 'static> Drop for RcuPtr<T> {
    fn drop(&mut self) {
        self.replace(None);
    }
}
