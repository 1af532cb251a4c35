// SPDX-License-Identifier: GPL-2.0

//! Workqueues of the module's own, for the work items of [`kernel::workqueue`].
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::{
    ops::BitOr,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    bindings::work_struct,
    fmt,
    prelude::*,
    workqueue::{
        HasWork,
        RawWorkItem,
        Work, //
    },
};

use super::bindings;

/// `WQ_*`: the kind of a workqueue. Flags are joined with `|`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// `WQ_BH`: an item runs in softirq context, on the CPU that it was queued for. The item must
    /// not sleep. Only [`Flags::PERCPU`] may be joined to it, and `max_active` must be 0.
    pub(crate) const BH: Self = Self(bindings::wq_flags_WQ_BH);
    /// `WQ_PERCPU`: an item runs on the CPU it was queued on.
    pub(crate) const PERCPU: Self = Self(bindings::wq_flags_WQ_PERCPU);
    /// `WQ_UNBOUND`: the scheduler chooses the CPU that an item runs on.
    pub(crate) const UNBOUND: Self = Self(bindings::wq_flags_WQ_UNBOUND);
    /// `WQ_FREEZABLE`: no item starts while the system is being suspended.
    pub(crate) const FREEZABLE: Self = Self(bindings::wq_flags_WQ_FREEZABLE);
    /// `WQ_MEM_RECLAIM`: a rescuer thread lets items make progress under memory pressure.
    pub(crate) const MEM_RECLAIM: Self = Self(bindings::wq_flags_WQ_MEM_RECLAIM);
    /// `WQ_CPU_INTENSIVE`: a running item does not keep other items of its CPU from starting.
    pub(crate) const CPU_INTENSIVE: Self = Self(bindings::wq_flags_WQ_CPU_INTENSIVE);
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A workqueue of the module's own.
///
/// Dropping it waits until the queued items have run, including the items that they queue in turn.
/// So the drop sleeps, and in an item of the queue it never returns.
///
/// Delayed work is left out on purpose. Destroying a workqueue does not wait for an item whose time
/// is yet to come, and that item would be queued on freed memory.
///
/// # Invariants
///
/// `wq` is a valid workqueue that this value owns.
pub(crate) struct OwnedQueue {
    wq: NonNull<bindings::workqueue_struct>,
}

// SAFETY: A workqueue may be used and destroyed by any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: The C functions called through a shared reference lock what they touch.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// `alloc_workqueue()`: a new workqueue, with `name` (at most 31 bytes are used) as
    /// `fmt!("name-{}", …)`. Process context.
    ///
    /// `flags` has one of [`Flags::PERCPU`] and [`Flags::UNBOUND`]. `max_active` is how many items
    /// of the queue may run concurrently: on each CPU with the first, in all with the second. 0 is
    /// the default, 1024.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or flags or a `max_active` that do not go with [`Flags::BH`].
    pub(crate) fn new(name: fmt::Arguments<'_>, flags: Flags, max_active: u32) -> Result<Self> {
        let max_active = i32::try_from(max_active).unwrap_or(i32::MAX);
        // SAFETY: `%pA` takes a pointer to `fmt::Arguments`, which is valid during the call; it is
        // formatted before the function returns.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%pA".as_char_ptr(),
                flags.0,
                max_active,
                ptr::from_ref(&name),
            )
        };
        // INVARIANT: The workqueue is new.
        Ok(Self {
            wq: NonNull::new(wq).ok_or(ENOMEM)?,
        })
    }

    /// `queue_work()`: queues an item, on the current CPU if the queue is per CPU. Any context.
    ///
    /// For a work item in an `Arc`, `Err` gives it back if it is queued already and has not begun
    /// to run.
    #[inline]
    pub(crate) fn enqueue<W, const ID: u64>(&self, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.enqueue_on(u32::MAX, item)
    }

    /// `queue_work_on()`: queues an item on a CPU. Any context.
    ///
    /// An item for a CPU that is not online, or for a number that no CPU has, is queued as by
    /// [`OwnedQueue::enqueue`]. If the CPU goes offline before the item has run, it runs on another
    /// CPU. Otherwise like [`OwnedQueue::enqueue`].
    #[inline]
    pub(crate) fn enqueue_on<W, const ID: u64>(&self, cpu: u32, item: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        let wq = self.wq.as_ptr();
        let queue = move |work| {
            // SAFETY: `__enqueue()` guarantees that the pointer is valid during the closure, and,
            // if the item was queued, until its function is called. The queue is valid by the type
            // invariant, and stays so until all of its items have run. Any number may be passed for
            // the CPU.
            unsafe { bindings::helper_queue_work_on(cpu, wq, work) }
        };
        // SAFETY: The closure only returns `false` if the `work_struct` is already in a workqueue.
        // `W` is `Send` and `'static`, so its function may be called anywhere at any time.
        unsafe { item.__enqueue(queue) }
    }
}

/// The C structure of the item in `object`.
#[inline]
fn raw_work<T: HasWork<T, ID>, const ID: u64>(object: &T) -> *mut work_struct {
    // SAFETY: The object is valid; only the address of its field is taken.
    let work = unsafe { T::raw_get_work(ptr::from_ref(object).cast_mut()) };
    // SAFETY: As above.
    unsafe { Work::raw_get(work) }
}

/// `flush_work()`: waits until the item, if it is queued or running, has run. It does not wait for
/// an item that is queued meanwhile.
///
/// Process context: it sleeps. In the item itself, or with a lock held that the item takes, it
/// never returns.
pub(crate) fn flush_work<T: HasWork<T, ID>, const ID: u64>(object: &T) {
    // SAFETY: The item is initialised with the object, and stays valid during the call.
    unsafe { bindings::flush_work(raw_work(object)) };
}

/// `work_pending()`: whether the item is queued and has not begun to run. Any context.
///
/// If so, its function will see what the caller did with a lock held, before the call, that the
/// function takes, too.
#[inline]
pub(crate) fn is_queued<T: HasWork<T, ID>, const ID: u64>(object: &T) -> bool {
    // SAFETY: The item is initialised with the object, and is only read.
    unsafe { bindings::helper_work_is_queued(raw_work(object)) }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the queue is valid and ours. Nothing outside queues on it
        // any more, as that takes a reference to this value. The function waits for items that are
        // queued.
        unsafe { bindings::destroy_workqueue(self.wq.as_ptr()) };
    }
}
