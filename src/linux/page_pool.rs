// SPDX-License-Identifier: GPL-2.0

//! Pools of pages for packets, one for each CPU: a page returns to its pool when the packets in it
//! are gone, and is used again without being cleared.
//!
//! C header: [`include/net/page_pool/helpers.h`](srctree/include/net/page_pool/helpers.h)

use core::ptr::NonNull;
use kernel::prelude::*;

use super::bindings;

/// A `page_pool` for each possible CPU.
///
/// Packets may outlive the pools: the core keeps the memory of each pool until its last page has
/// returned.
///
/// # Invariants
///
/// The pointer is one of `helper_page_pools_create()`, and nothing else destroys the pools.
pub(crate) struct PagePools(NonNull<bindings::page_pool_bh>);

// SAFETY: The pools are created and destroyed in any task. `helper_page_pools_alloc()`, the only
// other user, takes memory from the pool of its CPU, where each excludes the others.
unsafe impl Send for PagePools {}

// SAFETY: As above.
unsafe impl Sync for PagePools {}

impl PagePools {
    /// Pools of pages of at least `size` bytes each (0 counts as 1; a power of two of the machine's
    /// pages). Each pool keeps up to `count` pages that have returned, and as many again at hand
    /// for the next packets. 0 means as many as the core thinks fit, and 16,384 are the most.
    ///
    /// Process context. `ENOMEM`.
    pub(crate) fn new(size: u32, count: u32) -> Result<Self> {
        // SAFETY: Any numbers may be passed: the page allocator has no pages that are too large.
        let pools = unsafe { bindings::helper_page_pools_create(size.max(1), count) };
        // INVARIANT: The pools are new.
        Ok(Self(NonNull::new(pools).ok_or(ENOMEM)?))
    }

    /// The pools, for C.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::page_pool_bh {
        self.0.as_ptr()
    }
}

impl Drop for PagePools {
    /// Process context.
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pools are ours. Whoever allocates from them borrows
        // this value.
        unsafe { bindings::helper_page_pools_destroy(self.0.as_ptr()) };
    }
}
