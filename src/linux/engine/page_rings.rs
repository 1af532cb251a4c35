// SPDX-License-Identifier: GPL-2.0

//! Pages for datagrams that are made, which are used again without being cleared once the datagrams
//! are gone.
//!
//! A page pool would not do: packets that share a page of one give it back only where each of them
//! says so, and the segments of a GSO packet do not. Here whoever is done with a page drops his
//! reference, as with any page, and nothing else. What drivers did before there were page pools.
//!
//! C header: [`include/linux/page_ref.h`](srctree/include/linux/page_ref.h)

use core::ptr::NonNull;
use kernel::prelude::*;

use crate::linux::bindings;

/// The pages that each possible CPU has given to datagrams last: 16 of 32 KB.
///
/// # Invariants
///
/// The pointer is one of `helper_page_rings_create()`, and nothing else destroys the rings.
pub(crate) struct PageRings(NonNull<bindings::helper_page_ring>);

// SAFETY: The rings are created and destroyed in any task. `helper_alloc_frag()`, the only other
// user, takes pages from the ring of its CPU, where each excludes the others.
unsafe impl Send for PageRings {}

// SAFETY: As above.
unsafe impl Sync for PageRings {}

impl PageRings {
    /// Empty rings. Process context. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: In process context the function may be called any time.
        let rings = unsafe { bindings::helper_page_rings_create() };
        // INVARIANT: The rings are new.
        Ok(Self(NonNull::new(rings).ok_or(ENOMEM)?))
    }

    /// The rings, for C.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::helper_page_ring {
        self.0.as_ptr()
    }
}

impl Drop for PageRings {
    /// Datagrams may still have the pages. Process context.
    fn drop(&mut self) {
        // SAFETY: By the type invariant the rings are ours. Whoever allocates from them borrows
        // this value.
        unsafe { bindings::helper_page_rings_destroy(self.0.as_ptr()) };
    }
}
