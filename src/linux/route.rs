// SPDX-License-Identifier: GPL-2.0

//! Routes, and the flows that they are looked up by. The lookup itself belongs to the socket that
//! sends: [`LiveSocket`](super::udp_tunnel::LiveSocket).
//!
//! C headers: [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h),
//! [`include/net/flow.h`](srctree/include/net/flow.h)

use core::ptr::NonNull;

use super::{
    bindings,
    rcu, //
};

/// An owned reference to an IPv4 route (`struct rtable`).
///
/// # Invariants
///
/// `ptr` points to a valid `struct rtable` of which this value owns one reference.
pub(crate) struct Route4 {
    ptr: NonNull<bindings::rtable>,
}

impl Route4 {
    /// Takes over a route from C; `None` if the pointer is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a valid IPv4 route, of which the caller gives away a reference.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::rtable) -> Option<Self> {
        // INVARIANT: By the safety requirement.
        NonNull::new(ptr).map(|ptr| Self { ptr })
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::rtable {
        self.ptr.as_ptr()
    }

    /// The part that routes of all families have.
    pub(super) fn as_dst(&self) -> *mut bindings::dst_entry {
        // SAFETY: By the type invariant the route is valid; no reference is made.
        unsafe { &raw mut (*self.ptr.as_ptr()).dst }
    }

    /// The index of the interface that the route goes out by, as long as that interface is not
    /// being removed.
    pub(crate) fn ifindex(&self, _guard: &rcu::Guard) -> i32 {
        // SAFETY: By the type invariant the route is valid. Its device may be exchanged any time;
        // the one that is read is not freed before the end of the critical section.
        unsafe { bindings::helper_dst_ifindex(self.as_dst()) }
    }
}

impl Drop for Route4 {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give up. Any context.
        unsafe { bindings::dst_release(self.as_dst()) };
    }
}

/// An owned reference to an IPv6 route (`struct rt6_info`).
///
/// # Invariants
///
/// `ptr` points to the `struct dst_entry` of a valid IPv6 route, of which this value owns one
/// reference.
pub(crate) struct Route6 {
    ptr: NonNull<bindings::dst_entry>,
}

impl Route6 {
    /// Takes over a route from C; `None` if the pointer is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or belong to a valid IPv6 route, of which the caller gives away a
    /// reference.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::dst_entry) -> Option<Self> {
        // INVARIANT: By the safety requirement.
        NonNull::new(ptr).map(|ptr| Self { ptr })
    }

    /// The part that routes of all families have.
    pub(super) fn as_dst(&self) -> *mut bindings::dst_entry {
        self.ptr.as_ptr()
    }
}

impl Drop for Route6 {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give up. Any context.
        unsafe { bindings::dst_release(self.as_dst()) };
    }
}

/// The key of an IPv4 route lookup: `struct flowi4`, for UDP. Addresses are in network byte order.
///
/// A lookup writes its results to it, such as the source address if none was given.
pub(crate) struct Flow4 {
    inner: bindings::flowi4,
}

impl Flow4 {
    /// A flow of UDP datagrams between two addresses with firewall mark `mark`. The source address
    /// may be 0.0.0.0 (any); ports are in host byte order.
    pub(crate) fn new(
        mark: u32,
        (saddr, sport): ([u8; 4], u16),
        (daddr, dport): ([u8; 4], u16),
    ) -> Self {
        let mut inner = bindings::flowi4 {
            saddr: u32::from_ne_bytes(saddr),
            daddr: u32::from_ne_bytes(daddr),
            ..Default::default()
        };
        inner.__fl_common.flowic_mark = mark;
        inner.__fl_common.flowic_proto = bindings::IPPROTO_UDP as u8;
        inner.uli.ports = bindings::flowi_uli__bindgen_ty_1 {
            dport: dport.to_be(),
            sport: sport.to_be(),
        };
        Self { inner }
    }

    /// The source address.
    pub(crate) fn saddr(&self) -> [u8; 4] {
        self.inner.saddr.to_ne_bytes()
    }

    /// The destination address. A lookup sets it, too, if it was 0.0.0.0.
    pub(crate) fn daddr(&self) -> [u8; 4] {
        self.inner.daddr.to_ne_bytes()
    }

    /// Sets the source address.
    pub(crate) fn set_saddr(&mut self, saddr: [u8; 4]) {
        self.inner.saddr = u32::from_ne_bytes(saddr);
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&mut self) -> *mut bindings::flowi4 {
        &raw mut self.inner
    }
}

/// The key of an IPv6 route lookup: `struct flowi6`, for UDP. Addresses are in network byte order.
///
/// A lookup writes its results to it, such as the source address if none was given.
pub(crate) struct Flow6 {
    inner: bindings::flowi6,
}

impl Flow6 {
    /// A flow of UDP datagrams between two addresses with firewall mark `mark`, out by the
    /// interface with index `oif` (0: any). The source address may be `::` (any); ports are in host
    /// byte order.
    pub(crate) fn new(
        mark: u32,
        oif: u32,
        (saddr, sport): ([u8; 16], u16),
        (daddr, dport): ([u8; 16], u16),
    ) -> Self {
        let mut inner = bindings::flowi6::default();
        inner.saddr.in6_u.u6_addr8 = saddr;
        inner.daddr.in6_u.u6_addr8 = daddr;
        inner.__fl_common.flowic_mark = mark;
        inner.__fl_common.flowic_oif = oif as i32;
        inner.__fl_common.flowic_proto = bindings::IPPROTO_UDP as u8;
        inner.uli.ports = bindings::flowi_uli__bindgen_ty_1 {
            dport: dport.to_be(),
            sport: sport.to_be(),
        };
        Self { inner }
    }

    /// The source address.
    pub(crate) fn saddr(&self) -> [u8; 16] {
        // SAFETY: Any bytes are an address.
        unsafe { self.inner.saddr.in6_u.u6_addr8 }
    }

    /// Sets the source address.
    pub(crate) fn set_saddr(&mut self, saddr: [u8; 16]) {
        self.inner.saddr.in6_u.u6_addr8 = saddr;
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&mut self) -> *mut bindings::flowi6 {
        &raw mut self.inner
    }
}

/// `ipv6_mod_enabled()`: whether this kernel does IPv6 (it was not booted with `ipv6.disable=1`).
pub(crate) fn ipv6_mod_enabled() -> bool {
    // SAFETY: The function has no requirements.
    unsafe { bindings::ipv6_mod_enabled() }
}

/// `ipv6_iface_scope_id()`: `iface` if `addr` is valid on one link only, else 0.
pub(crate) fn ipv6_iface_scope_id(addr: [u8; 16], iface: i32) -> u32 {
    let mut in6 = bindings::in6_addr::default();
    in6.in6_u.u6_addr8 = addr;
    // SAFETY: The address is valid for the time of the call.
    unsafe { bindings::ipv6_iface_scope_id(&in6, iface) }
}
