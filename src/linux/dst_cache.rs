// SPDX-License-Identifier: GPL-2.0

//! Per-CPU caches of one route: what a tunnel keeps for each of its far ends.
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

/// A `struct dst_cache`: for every CPU the last route that was used there, and the source address that goes with it.
///
/// The cached routes are references: they keep neither a device nor a namespace from going away.
///
/// # Invariants
///
/// `inner` is initialised.
pub(crate) struct DstCache {
    inner: Opaque<bindings::dst_cache>,
}

// SAFETY: The routes are reference counted atomically and may be released on any CPU.
unsafe impl Send for DstCache {}
// SAFETY: What takes `&self` touches the entry of the current CPU only, with bottom halves off, or writes one word
// atomically.
unsafe impl Sync for DstCache {}

// What the structure points to is per-CPU memory, and nothing points to the structure.
impl Unpin for DstCache {}

impl DstCache {
    /// An empty cache. Process context; `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let inner: Opaque<bindings::dst_cache> = Opaque::uninit();
        // So that all of it is initialised: C only sets one of the fields.
        // SAFETY: It is our own place for a `struct dst_cache`, valid for writes.
        unsafe { inner.get().write(bindings::dst_cache::default()) };
        // SAFETY: It points to a `struct dst_cache` to be initialised, which may be moved: it refers to per-CPU
        // memory, and nothing refers to it.
        to_result(unsafe { bindings::dst_cache_init(inner.get(), bindings::GFP_KERNEL) })?;
        // INVARIANT: It was just initialised.
        Ok(Self { inner })
    }

    /// The IPv4 route of this CPU and the source address it was put in with, if there is one and it is still good.
    #[inline]
    pub(crate) fn get_ip4(&self, _bh: &BhGuard) -> Option<(Route4, [u8; 4])> {
        let mut saddr = 0;
        // SAFETY: By the type invariant it is initialised; bottom halves are off.
        let rt = unsafe { bindings::helper_dst_cache_get_ip4(self.inner.get(), &mut saddr) };
        // SAFETY: It is null or an IPv4 route with a reference for us: the helper looked at its family.
        unsafe { Route4::from_raw(rt) }.map(|route| (route, saddr.to_ne_bytes()))
    }

    /// Puts in an IPv4 route and the source address to use with it.
    pub(crate) fn set_ip4(&self, _bh: &BhGuard, route: &Route4, saddr: [u8; 4]) {
        // SAFETY: As in `get_ip4()`. The function takes a reference of its own.
        unsafe {
            bindings::dst_cache_set_ip4(self.inner.get(), route.as_dst(), u32::from_ne_bytes(saddr))
        };
    }

    /// The IPv6 route of this CPU and the source address it was put in with, if there is one and it is still good.
    #[inline]
    pub(crate) fn get_ip6(&self, _bh: &BhGuard) -> Option<(Route6, [u8; 16])> {
        let mut saddr = bindings::in6_addr::default();
        // SAFETY: By the type invariant it is initialised; bottom halves are off.
        let dst = unsafe { bindings::helper_dst_cache_get_ip6(self.inner.get(), &mut saddr) };
        // SAFETY: It is null or an IPv6 route with a reference for us: the helper looked at its family.
        let route = unsafe { Route6::from_raw(dst) }?;
        // SAFETY: The union was initialised above, and any bytes are an address.
        Some((route, unsafe { saddr.in6_u.u6_addr8 }))
    }

    /// Puts in an IPv6 route and the source address to use with it.
    pub(crate) fn set_ip6(&self, _bh: &BhGuard, route: &Route6, saddr: [u8; 16]) {
        let mut addr = bindings::in6_addr::default();
        addr.in6_u.u6_addr8 = saddr;
        // SAFETY: As in `get_ip6()`. The function takes a reference of its own.
        unsafe { bindings::dst_cache_set_ip6(self.inner.get(), route.as_dst(), &addr) };
    }

    /// `dst_cache_reset()`: lets no CPU use what it has cached. The routes stay referred to until the CPU looks, or
    /// until [`DstCache::reset_now`]. Any context.
    pub(crate) fn reset(&self) {
        // SAFETY: By the type invariant it is initialised. It is one atomic write.
        unsafe { bindings::dst_cache_reset(self.inner.get()) };
    }

    /// `dst_cache_reset_now()`: drops what all CPUs have cached. Any context but hard interrupts.
    pub(crate) fn reset_now(&mut self) {
        // SAFETY: By the type invariant it is initialised; it is borrowed exclusively, so nobody uses it.
        unsafe { bindings::dst_cache_reset_now(self.inner.get()) };
    }
}

impl Drop for DstCache {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is initialised, and nobody uses it any more. Neither releasing a route
        // nor freeing per-CPU memory sleeps.
        unsafe { bindings::dst_cache_destroy(self.inner.get()) };
    }
}
