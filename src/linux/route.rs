// SPDX-License-Identifier: GPL-2.0

//! Routes, and the flows that they are looked up by. The lookup itself belongs to the socket that
//! sends: [`LiveSocket`](super::udp_tunnel::LiveSocket).
//!
//! C headers: [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h),
//! [`include/net/flow.h`](srctree/include/net/flow.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use super::{
    bindings,
    ip::Version,
    rcu, //
};

/// An owned reference to a route of IP version `V` (`struct rtable` or `struct rt6_info`).
///
/// # Invariants
///
/// `dst` points to the `struct dst_entry` of a valid route of that version, of which this value
/// owns one reference.
pub(crate) struct Route<V: Version> {
    dst: NonNull<bindings::dst_entry>,
    _p: PhantomData<V>,
}

impl<V: Version> Route<V> {
    /// Takes over a route from C; `None` if the pointer is null.
    ///
    /// # Safety
    ///
    /// `dst` must be null or belong to a valid route of version `V`, of which the caller gives away
    /// a reference.
    #[inline]
    pub(super) unsafe fn from_raw(dst: *mut bindings::dst_entry) -> Option<Self> {
        // INVARIANT: By the safety requirement.
        NonNull::new(dst).map(|dst| Self {
            dst,
            _p: PhantomData,
        })
    }

    /// The part that routes of both versions have.
    #[inline]
    pub(super) fn as_dst(&self) -> *mut bindings::dst_entry {
        self.dst.as_ptr()
    }

    /// The index of the interface that the route goes out by, as long as that interface is not
    /// being removed.
    pub(crate) fn ifindex(&self, _guard: &rcu::Guard) -> i32 {
        // SAFETY: By the type invariant the route is valid. Its device may be exchanged any time;
        // the one that is read is not freed before the end of the critical section.
        unsafe { bindings::helper_dst_ifindex(self.as_dst()) }
    }
}

impl<V: Version> Route<V> {
    /// Whether the route goes out by the interface with this index, or by an interface of the VRF
    /// with this index.
    pub(crate) fn leaves_by(&self, ifindex: u32, _guard: &rcu::Guard) -> bool {
        // SAFETY: As in `ifindex()`: RCU is read-locked, and the route is valid.
        unsafe { bindings::helper_dst_leaves_by(self.as_dst(), ifindex as i32) }
    }

    /// Whether an aggregate of UDP datagrams that is a list of buffers costs nothing more on the
    /// route's device than one in one piece: the device takes lists, or segments nothing itself.
    #[inline]
    pub(crate) fn takes_lists(&self, _guard: &rcu::Guard) -> bool {
        // SAFETY: As in `ifindex()`: RCU is read-locked, and the route is valid.
        unsafe { bindings::helper_dst_takes_lists(self.as_dst()) }
    }
}

impl<V: Version> Drop for Route<V> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant there is a reference to give up. Any context.
        unsafe { bindings::dst_release(self.as_dst()) };
    }
}

/// The key of a route lookup: `struct flowi4` or `struct flowi6`, for UDP. Addresses are in network
/// byte order.
///
/// A lookup writes its results to it, such as the source address if none was given.
pub(crate) struct Flow<V: Version> {
    inner: V::RawFlow,
}

impl<V: Version> Flow<V> {
    /// A flow of UDP datagrams between two addresses with firewall mark `mark`, out by the
    /// interface with index `oif` (0: any). The source address may be 0.0.0.0 or `::` (any); ports
    /// are in host byte order.
    pub(crate) fn new(
        mark: u32,
        oif: u32,
        (saddr, sport): (V::Addr, u16),
        (daddr, dport): (V::Addr, u16),
    ) -> Self {
        let mut inner = V::RawFlow::default();
        let flow = V::flow_fields(&mut inner);
        *flow.saddr = V::to_raw(saddr);
        *flow.daddr = V::to_raw(daddr);
        flow.common.flowic_mark = mark;
        flow.common.flowic_oif = oif as i32;
        flow.common.flowic_proto = bindings::IPPROTO_UDP as u8;
        flow.uli.ports = bindings::flowi_uli__bindgen_ty_1 {
            dport: dport.to_be(),
            sport: sport.to_be(),
        };
        Self { inner }
    }

    /// The source address.
    pub(crate) fn saddr(&self) -> V::Addr {
        V::from_raw(V::flow_addrs(&self.inner).0)
    }

    /// The destination address. A lookup of IPv4 sets it, too, if it was 0.0.0.0.
    pub(crate) fn daddr(&self) -> V::Addr {
        V::from_raw(V::flow_addrs(&self.inner).1)
    }

    /// Sets the source address.
    pub(crate) fn set_saddr(&mut self, saddr: V::Addr) {
        *V::flow_fields(&mut self.inner).saddr = V::to_raw(saddr);
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&mut self) -> &mut V::RawFlow {
        &mut self.inner
    }

    /// The part that flows of both versions have.
    pub(super) fn common(&mut self) -> *mut bindings::flowi_common {
        V::flow_fields(&mut self.inner).common
    }
}
