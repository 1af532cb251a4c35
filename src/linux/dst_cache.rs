// SPDX-License-Identifier: GPL-2.0

//! Per-CPU caches of one route each. A tunnel keeps one such cache for each of its remote ends.
//!
//! C header: [`include/net/dst_cache.h`](srctree/include/net/dst_cache.h)

use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

use super::{
    bindings,
    bottom_half::BhGuard,
    ip::Version,
    route::Route, //
};

/// A `struct dst_cache`: for every CPU the last route used on it, with the source address that
/// belongs to the route.
///
/// The cached routes are counted references, but they keep neither a device nor a namespace from
/// going away. They must be dropped before the namespace of the socket that they were looked up by
/// is gone: at the latest when its [`PernetExit`](super::net_namespace::PernetExit) runs, and a
/// grace period after the last sender could have looked one up.
///
/// # Invariants
///
/// `inner` is initialised.
pub(crate) struct DstCache {
    inner: Opaque<bindings::dst_cache>,
}

// SAFETY: The routes are reference counted atomically and may be released on any CPU.
unsafe impl Send for DstCache {}
// SAFETY: Each function that takes `&self` either uses only the entry of the current CPU, with
// bottom halves off, or writes one word atomically.
unsafe impl Sync for DstCache {}

// The structure points to per-CPU memory, and nothing points to the structure.
impl Unpin for DstCache {}

impl DstCache {
    /// Makes an empty cache. Process context. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // `dst_cache_init()` only sets one of the fields; this initialises the others.
        let inner = Opaque::new(bindings::dst_cache::default());
        // SAFETY: The pointer is to a `struct dst_cache` to be initialised. The structure may be
        // moved afterwards: it refers to per-CPU memory, and nothing refers to it.
        to_result(unsafe { bindings::dst_cache_init(inner.get(), bindings::GFP_KERNEL) })?;
        // INVARIANT: `inner` was just initialised.
        Ok(Self { inner })
    }

    /// The C structure, which is initialised, for the faces of other subsystems.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::dst_cache {
        self.inner.get()
    }

    /// The route of IP version `V` that this CPU has cached, with its source address; `None` if
    /// there is none or it is no longer valid.
    #[inline]
    pub(crate) fn get<V: Version>(&self, bh: &BhGuard) -> Option<(Route<V>, V::Addr)> {
        let mut saddr = V::RawAddr::default();
        let dst = V::cache_get(self, bh, &mut saddr);
        // SAFETY: `dst` is null or a route of that version, with a reference that is ours.
        unsafe { Route::from_raw(dst) }.map(|route| (route, V::from_raw(saddr)))
    }

    /// Caches a route for this CPU, with the source address to use with it.
    pub(crate) fn set<V: Version>(&self, bh: &BhGuard, route: &Route<V>, saddr: V::Addr) {
        V::cache_set(self, bh, route, V::to_raw(saddr));
    }

    /// `dst_cache_reset()`: invalidates the routes that all CPUs have cached. Each route stays
    /// referenced until its CPU looks it up, or until [`DstCache::reset_now`]. Any context.
    pub(crate) fn reset(&self) {
        // SAFETY: By the type invariant the cache is initialised. The call is one atomic write.
        unsafe { bindings::dst_cache_reset(self.inner.get()) };
    }

    /// `dst_cache_reset_now()`: drops the routes that all CPUs have cached. Any context but hard
    /// interrupts.
    pub(crate) fn reset_now(&mut self) {
        // SAFETY: By the type invariant the cache is initialised. It is borrowed exclusively, so no
        // CPU uses it.
        unsafe { bindings::dst_cache_reset_now(self.inner.get()) };
    }
}

impl Drop for DstCache {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the cache is initialised, and no CPU uses it any more.
        // Neither releasing a route nor freeing per-CPU memory sleeps.
        unsafe { bindings::dst_cache_destroy(self.inner.get()) };
    }
}
