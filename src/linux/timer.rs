// SPDX-License-Identifier: GPL-2.0

//! Timers of the timer wheel, inside an object that lives in an [`Arc`].
//!
//! An object has one [`Timer<T, ID>`] for every `ID` it implements [`TimerCallback<ID>`] for:
//!
//! ```ignore
//! #[pin_data]
//! struct Lamp {
//!     #[pin]
//!     off: Timer<Lamp, 0>,
//! }
//!
//! impl AtomicDrop for Lamp {}
//!
//! impl TimerCallback<0> for Lamp {
//!     fn timer(&self) -> &Timer<Self, 0> {
//!         &self.off
//!     }
//!
//!     fn expired(this: Arc<Self>) {
//!         pr_info!("The lamp goes out.\n");
//!     }
//! }
//!
//! let lamp = Arc::pin_init(pin_init!(Lamp { off <- new_timer!("lamp off") }), GFP_KERNEL)?;
//! timer::modify::<_, 0>(lamp.as_arc_borrow(), msecs_to_jiffies(10_000));
//! ```
//!
//! # Ownership
//!
//! ```text
//!                   modify()                          the wheel's softirq
//!     idle ───────────────────────▶ pending ─────────────────────────────▶ expiring ──▶ idle
//!       ▲    takes a reference         │  ▲                    expired() is given the reference
//!       └──────────────────────────────┘  │ modify(): another time, the same reference
//!         cancel(), cancel_sync():        └──
//!         gives the reference back
//! ```
//!
//! A pending timer owns a reference to the object it lies in, so the object is not freed before the
//! timer has expired or has been cancelled. That is a cycle: where the timer would be armed again
//! and again, cancelling it must break the cycle. A timer may be armed again while its `expired()`
//! runs, by that function too.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use core::{
    marker::PhantomData,
    pin::Pin,
    ptr, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc,
        ArcBorrow,
        LockClassKey, //
    },
    time::Jiffies,
    types::Opaque, //
};

use super::{
    bindings,
    rcu::AtomicDrop, //
};

/// How many timers of this module exist, armed or not.
static TIMERS: Atomic<usize> = Atomic::new(0);

/// Whether a timer of this module exists, whose function may still be running or may be called
/// later.
///
/// If none exists, a function may still be about to return; a grace period waits for that.
pub(super) fn any_exists() -> bool {
    TIMERS.load(Acquire) != 0
}

/// One timer in [`TIMERS`].
struct Counted;

impl Counted {
    fn new() -> Self {
        TIMERS.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // All that the timer's function did comes before. Pairs with the load in `any_exists()`.
        TIMERS.fetch_sub(1, Release);
    }
}

/// What happens when the timer `ID` of an object expires.
///
/// The object may be dropped where the timer expires, hence [`AtomicDrop`].
pub(crate) trait TimerCallback<const ID: usize>:
    AtomicDrop + Sized + Send + Sync + 'static
{
    /// The timer, which must be a field of `self`: any other is not armed.
    fn timer(&self) -> &Timer<Self, ID>;

    /// The timer has expired, and may be armed again.
    ///
    /// Softirq context: this function may not sleep. Nor may the destructor of the object, which
    /// runs here if this is the last reference. If the timer is armed from elsewhere meanwhile, the
    /// next call may start on another CPU before this one is done.
    fn expired(this: Arc<Self>);
}

/// A timer of a `T`.
///
/// # Invariants
///
/// * `timer` is initialised, with [`Timer::run`] of this type as its function.
/// * While `timer` is pending, `self` lies `offset` bytes after the start of a `T` that an [`Arc`]
///   manages, and `timer` owns a reference of that `Arc`.
#[pin_data]
#[repr(C)]
pub(crate) struct Timer<T, const ID: usize> {
    #[pin]
    timer: Opaque<bindings::timer_list>,
    /// The offset of this timer in `T`, in bytes. Set when the timer is first armed and constant
    /// from then on, because neither object can move.
    offset: Atomic<usize>,
    _counted: Counted,
    _p: PhantomData<fn(Arc<T>)>,
}

// SAFETY: A `timer_list` may be used on any CPU. `T` is only reached through the `Arc<T>`, and the
// functions that do so require it to be `Send` and `Sync`.
unsafe impl<T, const ID: usize> Send for Timer<T, ID> {}
// SAFETY: As above; the C functions that arm and cancel lock the timer.
unsafe impl<T, const ID: usize> Sync for Timer<T, ID> {}

/// Makes an initialiser of a [`Timer`] with the given name (for lockdep) and a lock class of its
/// own.
macro_rules! new_timer {
    ($name:literal) => {
        $crate::linux::timer::Timer::new(
            ::kernel::optional_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_timer;

impl<T: TimerCallback<ID>, const ID: usize> Timer<T, ID> {
    /// An idle timer. See [`new_timer!`].
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        // INVARIANT: The timer is initialised with `run`, and it is not pending.
        pin_init!(Self {
            timer <- Opaque::ffi_init(|slot: *mut bindings::timer_list| {
                // SAFETY: `slot` is valid for writes, `name` and `key` stay valid. `run` is only
                // called for a timer that was pending, as its safety section asks.
                unsafe {
                    bindings::timer_init_key(
                        slot,
                        Some(Self::run),
                        0,
                        name.as_char_ptr(),
                        key.as_ptr().cast(),
                    )
                }
            }),
            offset: Atomic::new(0),
            _counted: Counted::new(),
            _p: PhantomData,
        })
    }

    /// `timer_pending()`: whether the timer is armed at this moment. Takes no lock. Any context.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::helper_timer_pending(self.timer.get()) }
    }

    /// The offset of the timer `self` in `this`. `None`, and a warning, if it is not a part of
    /// `this`.
    #[inline]
    fn offset_in(&self, this: &T) -> Option<usize> {
        let last = size_of::<T>().checked_sub(size_of::<Self>());
        let offset = ptr::from_ref(self)
            .addr()
            .checked_sub(ptr::from_ref(this).addr())
            .filter(|offset| last.is_some_and(|last| *offset <= last));
        if offset.is_none() {
            // SAFETY: Any context.
            unsafe { bindings::helper_warn() };
        }
        offset
    }

    /// The function of the C timer.
    ///
    /// # Safety
    ///
    /// `timer` must be the `timer` of a [`Timer<T, ID>`] that was pending and has just been
    /// detached, which passes its reference on to this function.
    unsafe extern "C" fn run(timer: *mut bindings::timer_list) {
        let this: *const Self = timer.cast_const().cast();
        // SAFETY: The `Timer` starts with the C timer (`repr(C)`). It is valid because the `T` it
        // lies in is valid: the reference to that is ours.
        let offset = unsafe { &(*this).offset }.load(Relaxed);
        let object: *const T = this.wrapping_byte_sub(offset).cast();
        // SAFETY: By the type invariant, which held while the timer was pending, this is the `T`
        // which the timer lies in, and the reference to it is ours.
        T::expired(unsafe { Arc::from_raw(object) });
    }
}

/// `mod_timer()`: arms the timer to expire `delay` from now, whether it was pending or not.
///
/// Any context. The first time, and after each expiry, a reference to the object is taken. If the
/// object's [`TimerCallback::timer`] is not a field of its own, the only effect is a warning.
pub(crate) fn modify<T: TimerCallback<ID>, const ID: usize>(
    this: ArcBorrow<'_, T>,
    delay: Jiffies,
) {
    let timer = T::timer(&this);
    let raw = timer.timer.get();
    let expires = expiry(delay);
    // The common case, without touching the reference count.
    // SAFETY: The timer is initialised, and stays valid during the call. If it is pending it stays
    // so, with the reference that it has; otherwise nothing happens.
    if unsafe { bindings::mod_timer_pending(raw, expires) } != 0 {
        return;
    }
    let Some(offset) = timer.offset_in(&this) else {
        return;
    };
    // The value is the same every time, and the timer's lock, taken below, orders it before
    // `run()`.
    timer.offset.store(offset, Relaxed);
    let reference = Arc::into_raw(Arc::from(this));
    // This is `raw` again, made from a pointer to the whole object: `run()` computes that pointer
    // from it.
    let raw: *const bindings::timer_list = reference.wrapping_byte_add(offset).cast();
    // INVARIANT: If this arms the timer, the timer owns the reference, and `offset` is the one in
    // that object.
    // SAFETY: The timer is initialised, and the reference keeps it valid for as long as it is
    // pending.
    if unsafe { bindings::mod_timer(raw.cast_mut(), expires) } != 0 {
        // SAFETY: The timer was armed in between, and owns the reference from then. So this one,
        // made above, is still ours.
        drop(unsafe { Arc::from_raw(reference) });
    }
}

/// The time `delay` from now.
#[inline]
fn expiry(delay: Jiffies) -> Jiffies {
    super::ktime::jiffies().wrapping_add(delay)
}

/// `timer_delete()`: takes the timer off the wheel. Returns whether it was pending.
///
/// Any context. [`TimerCallback::expired`] may still be running, or about to run, on another CPU
/// afterwards.
pub(crate) fn cancel<T: TimerCallback<ID>, const ID: usize>(this: ArcBorrow<'_, T>) -> bool {
    cancel_with::<T, ID>(this, bindings::timer_delete)
}

/// `timer_delete_sync()`: takes the timer off the wheel and waits until no
/// [`TimerCallback::expired`] of it runs. Returns whether the timer was pending.
///
/// The timer stays idle unless it is armed again, which `expired()` may do, too. Process context. A
/// call from `expired()` itself, or with a lock held that `expired()` takes, never returns.
pub(crate) fn cancel_sync<T: TimerCallback<ID>, const ID: usize>(this: ArcBorrow<'_, T>) -> bool {
    cancel_with::<T, ID>(this, bindings::timer_delete_sync)
}

fn cancel_with<T: TimerCallback<ID>, const ID: usize>(
    this: ArcBorrow<'_, T>,
    delete: unsafe extern "C" fn(*mut bindings::timer_list) -> kernel::ffi::c_int,
) -> bool {
    let timer = T::timer(&this);
    if timer.offset_in(&this).is_none() {
        return false;
    }
    // SAFETY: The timer is initialised, and stays valid during the call.
    let pending = unsafe { delete(timer.timer.get()) } != 0;
    if pending {
        // SAFETY: The timer was pending, so by its type invariant it owned a reference to the
        // object it lies in, which is `this`. It is not pending any more, so the reference is ours.
        drop(unsafe { Arc::from_raw(ptr::from_ref::<T>(&this)) });
    }
    pending
}
