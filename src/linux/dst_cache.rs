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
    route::{
        Route4,
        Route6, //
    }, //
};

/// A `struct dst_cache`: for every CPU the last route used on it, with the source address that
/// belongs to the route.
///
/// The cached routes are counted references, but they keep neither a device nor a namespace from
/// going away.
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
        let inner: Opaque<bindings::dst_cache> = Opaque::uninit();
        // `dst_cache_init()` only sets one of the fields; this initialises the others.
        // SAFETY: `inner` is a local place for a `struct dst_cache`, valid for writes.
        unsafe { inner.get().write(bindings::dst_cache::default()) };
        // SAFETY: The pointer is to a `struct dst_cache` to be initialised. The structure may be
        // moved afterwards: it refers to per-CPU memory, and nothing refers to it.
        to_result(unsafe { bindings::dst_cache_init(inner.get(), bindings::GFP_KERNEL) })?;
        // INVARIANT: `inner` was just initialised.
        Ok(Self { inner })
    }

    /// The IPv4 route that this CPU has cached, with its source address; `None` if there is none or
    /// it is no longer valid.
    #[inline]
    pub(crate) fn get_ip4(&self, _bh: &BhGuard) -> Option<(Route4, [u8; 4])> {
        let mut saddr = 0;
        // SAFETY: By the type invariant the cache is initialised; bottom halves are off.
        let rt = unsafe { bindings::helper_dst_cache_get_ip4(self.inner.get(), &mut saddr) };
        // SAFETY: `rt` is null or an IPv4 route, as the helper has checked the family. It comes
        // with a reference that is ours.
        unsafe { Route4::from_raw(rt) }.map(|route| (route, saddr.to_ne_bytes()))
    }

    /// Caches an IPv4 route for this CPU, with the source address to use with it.
    pub(crate) fn set_ip4(&self, _bh: &BhGuard, route: &Route4, saddr: [u8; 4]) {
        // SAFETY: As in `get_ip4()`. The function takes a reference of its own.
        unsafe {
            bindings::dst_cache_set_ip4(self.inner.get(), route.as_dst(), u32::from_ne_bytes(saddr))
        };
    }

    /// The IPv6 route that this CPU has cached, with its source address; `None` if there is none or
    /// it is no longer valid.
    #[inline]
    pub(crate) fn get_ip6(&self, _bh: &BhGuard) -> Option<(Route6, [u8; 16])> {
        let mut saddr = bindings::in6_addr::default();
        // SAFETY: By the type invariant the cache is initialised; bottom halves are off.
        let dst = unsafe { bindings::helper_dst_cache_get_ip6(self.inner.get(), &mut saddr) };
        // SAFETY: `dst` is null or an IPv6 route, as the helper has checked the family. It comes
        // with a reference that is ours.
        let route = unsafe { Route6::from_raw(dst) }?;
        // SAFETY: The union was initialised above, and any 16 bytes are an address.
        Some((route, unsafe { saddr.in6_u.u6_addr8 }))
    }

    /// Caches an IPv6 route for this CPU, with the source address to use with it.
    pub(crate) fn set_ip6(&self, _bh: &BhGuard, route: &Route6, saddr: [u8; 16]) {
        let mut addr = bindings::in6_addr::default();
        addr.in6_u.u6_addr8 = saddr;
        // SAFETY: As in `get_ip6()`. The function takes a reference of its own.
        unsafe { bindings::dst_cache_set_ip6(self.inner.get(), route.as_dst(), &addr) };
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
