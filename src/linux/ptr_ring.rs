// SPDX-License-Identifier: GPL-2.0

//! Bounded queues of owned pointers, with a lock for each end.
//!
//! C header: [`include/linux/ptr_ring.h`](srctree/include/linux/ptr_ring.h)

use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

use super::bindings;

/// A first-in first-out queue of a fixed number of pointers, for any number of producers and
/// consumers.
///
/// Producers only contend with producers and consumers with consumers. A consumer takes entries off
/// in the order in which they were produced. The slots of consumed entries are reused a group at a
/// time (two cache lines of them, or half the ring if that is less), so a ring may be full a little
/// before it holds its size.
///
/// # Invariants
///
/// * `ring` is an initialised `ptr_ring`, which is never resized and is only used through this
///   type.
/// * Every entry is from [`ForeignOwnable::into_foreign`] of a `P` that the ring owns.
#[pin_data(PinnedDrop)]
pub(crate) struct PtrRing<P: ForeignOwnable + Send> {
    #[pin]
    ring: Opaque<bindings::ptr_ring>,
    _p: PhantomData<P>,
}

// SAFETY: The ring owns its entries, which are `Send`; the C structure may be used on any CPU.
unsafe impl<P: ForeignOwnable + Send> Send for PtrRing<P> {}
// SAFETY: Through a shared reference entries are only moved in and out, which is sending them,
// under the locks of the C structure.
unsafe impl<P: ForeignOwnable + Send> Sync for PtrRing<P> {}

impl<P: ForeignOwnable + Send> PtrRing<P> {
    /// An empty ring for `size` entries, which is at least 1. Process context: it allocates with
    /// `GFP_KERNEL`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is 0 or does not fit an `i32`, `ENOMEM` without memory.
    pub(crate) fn new(size: usize) -> impl PinInit<Self, Error> {
        // INVARIANT: The ring is initialised, and it has no entries.
        try_pin_init!(Self {
            ring <- Opaque::try_ffi_init(move |slot: *mut bindings::ptr_ring| {
                let size = i32::try_from(size).map_err(|_| EINVAL)?;
                if size == 0 {
                    return Err(EINVAL);
                }
                // SAFETY: `slot` is valid for writes, and `size` is positive.
                to_result(unsafe {
                    bindings::ptr_ring_init_noprof(slot, size, bindings::GFP_KERNEL)
                })
            }),
            _p: PhantomData,
        })
    }

    /// `ptr_ring_produce_bh()`: appends an entry; gives it back if the ring is full.
    ///
    /// Process and softirq context.
    #[inline]
    pub(crate) fn produce(&self, entry: P) -> Result<(), P> {
        let entry = entry.into_foreign();
        // INVARIANT: The ring owns the entry.
        // SAFETY: By the type invariant the ring is initialised. The entry is not null and ours.
        let ret = unsafe { bindings::ptr_ring_produce_bh(self.ring.get(), entry) };
        if ret == 0 {
            Ok(())
        } else {
            // SAFETY: The pointer comes from `into_foreign()` above, and the ring did not take it.
            Err(unsafe { P::from_foreign(entry) })
        }
    }

    /// `ptr_ring_consume_bh()`: takes the oldest entry, if there is one.
    ///
    /// Process and softirq context.
    #[inline]
    pub(crate) fn consume(&self) -> Option<P> {
        // SAFETY: By the type invariant the ring is initialised.
        let entry = unsafe { bindings::ptr_ring_consume_bh(self.ring.get()) };
        // SAFETY: By the type invariant an entry comes from `into_foreign()`. This one is off the
        // ring, which gives out each entry once, so it is ours.
        unsafe { P::try_from_foreign(entry) }
    }
}

#[pinned_drop]
impl<P: ForeignOwnable + Send> PinnedDrop for PtrRing<P> {
    /// Drops the entries, then the ring. Process context or softirq, as the entries allow.
    fn drop(self: Pin<&mut Self>) {
        while let Some(entry) = self.consume() {
            drop(entry);
        }
        // SAFETY: By the type invariant the ring is initialised. It has no users and no entries any
        // more.
        unsafe { bindings::ptr_ring_cleanup(self.ring.get(), None) };
    }
}
