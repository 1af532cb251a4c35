// SPDX-License-Identifier: GPL-2.0

//! The two versions of IP, for faces that exist for both: each of [`V4`] and [`V6`] says what the
//! C structures and functions of the version are.
//!
//! C headers: [`include/net/ip.h`](srctree/include/net/ip.h),
//! [`include/net/ipv6.h`](srctree/include/net/ipv6.h)

use core::{
    mem::offset_of,
    ptr, //
};
use kernel::prelude::*;

use super::{
    bindings,
    bottom_half::BhGuard,
    dst_cache::DstCache,
    route::Route,
    skbuff::SkBuff,
    udp_tunnel::{
        Outer,
        SocketOf, //
    },
};

mod header;

pub(crate) use header::{
    Header,
    IPV4_HEADER_LEN,
    IPV6_HEADER_LEN, //
};

/// `AF_INET`: the address family of IPv4, as in `sa_family`.
pub(crate) const AF_INET: u16 = bindings::AF_INET as u16;
/// `AF_INET6`: the address family of IPv6, as in `sa_family`.
pub(crate) const AF_INET6: u16 = bindings::AF_INET6 as u16;

// A route of IPv4 begins with the part that routes of both versions have.
const _: () = assert!(offset_of!(bindings::rtable, dst) == 0);

/// IPv4.
pub(crate) enum V4 {}
/// IPv6.
pub(crate) enum V6 {}

mod sealed {
    /// There are two versions.
    pub(crate) trait Sealed {}

    impl Sealed for super::V4 {}
    impl Sealed for super::V6 {}
}

/// The fields of a `struct flowi4` or `struct flowi6`. `A` is the type of its addresses.
pub(crate) struct FlowFields<'a, A> {
    pub(super) common: &'a mut bindings::flowi_common,
    pub(super) saddr: &'a mut A,
    pub(super) daddr: &'a mut A,
    pub(super) uli: &'a mut bindings::flowi_uli,
}

/// A version of IP: [`V4`] or [`V6`].
///
/// The routes here are pointers to the `struct dst_entry` of a `struct rtable` or a
/// `struct rt6_info`.
pub(crate) trait Version: sealed::Sealed + Sized + 'static {
    /// `AF_INET` or `AF_INET6`.
    const FAMILY: u16;

    /// An address, in network byte order.
    type Addr: Copy + PartialEq;
    /// An address as C has it.
    type RawAddr: Copy + Default;
    /// `struct flowi4` or `struct flowi6`.
    type RawFlow: Default;

    /// 0.0.0.0 or `::`: no address in particular.
    const ANY: Self::Addr;

    /// An address as C has it.
    fn to_raw(addr: Self::Addr) -> Self::RawAddr;

    /// An address of C.
    fn from_raw(addr: Self::RawAddr) -> Self::Addr;

    /// The source and the destination address of a flow.
    fn flow_addrs(flow: &Self::RawFlow) -> (Self::RawAddr, Self::RawAddr);

    /// The fields of a flow, for writing.
    fn flow_fields(flow: &mut Self::RawFlow) -> FlowFields<'_, Self::RawAddr>;

    /// `udp_sock_create4()` or `udp_sock_create6()`.
    ///
    /// # Safety
    ///
    /// `net` must be alive. `cfg` must name this version.
    unsafe fn sock_create(
        net: *mut bindings::net,
        cfg: &mut bindings::udp_port_cfg,
        socket: &mut *mut bindings::socket,
    ) -> c_int;

    /// `inet_confirm_addr()` or `ipv6_chk_addr()`: whether an interface in the namespace of the
    /// socket has `addr`.
    fn has_addr(socket: SocketOf<'_, Self>, addr: Self::RawAddr) -> bool;

    /// `ip_route_output_flow()` or `ip6_dst_lookup_flow()`: a route with a reference for the
    /// caller, or an error pointer.
    fn lookup(socket: SocketOf<'_, Self>, flow: &mut Self::RawFlow) -> *mut bindings::dst_entry;

    /// `dst_cache_get_ip4()` or `dst_cache_get_ip6()`: null, or a route of this version with a
    /// reference for the caller.
    fn cache_get(
        cache: &DstCache,
        bh: &BhGuard,
        saddr: &mut Self::RawAddr,
    ) -> *mut bindings::dst_entry;

    /// `dst_cache_set_ip4()` or `dst_cache_set_ip6()`. It takes a reference of its own.
    fn cache_set(cache: &DstCache, bh: &BhGuard, route: &Route<Self>, saddr: Self::RawAddr);

    /// `udp_tunnel_xmit_skb()` or `udp_tunnel6_xmit_skb()`.
    fn xmit(
        socket: SocketOf<'_, Self>,
        route: &Route<Self>,
        skb: SkBuff,
        outer: &Outer<'_, Self::Addr>,
    ) -> c_int;
}

impl Version for V4 {
    const FAMILY: u16 = AF_INET;

    type Addr = [u8; 4];
    type RawAddr = bindings::__be32;
    type RawFlow = bindings::flowi4;

    const ANY: [u8; 4] = [0; 4];

    #[inline]
    fn to_raw(addr: [u8; 4]) -> bindings::__be32 {
        u32::from_ne_bytes(addr)
    }

    #[inline]
    fn from_raw(addr: bindings::__be32) -> [u8; 4] {
        addr.to_ne_bytes()
    }

    fn flow_addrs(flow: &bindings::flowi4) -> (bindings::__be32, bindings::__be32) {
        (flow.saddr, flow.daddr)
    }

    fn flow_fields(flow: &mut bindings::flowi4) -> FlowFields<'_, bindings::__be32> {
        FlowFields {
            common: &mut flow.__fl_common,
            saddr: &mut flow.saddr,
            daddr: &mut flow.daddr,
            uli: &mut flow.uli,
        }
    }

    unsafe fn sock_create(
        net: *mut bindings::net,
        cfg: &mut bindings::udp_port_cfg,
        socket: &mut *mut bindings::socket,
    ) -> c_int {
        // SAFETY: By the safety requirements. `cfg` and `socket` are valid for the time of the
        // call.
        unsafe { bindings::udp_sock_create4(net, cfg, socket) }
    }

    fn has_addr(socket: SocketOf<'_, Self>, addr: bindings::__be32) -> bool {
        let (net, scope) = (socket.net(), bindings::rt_scope_t_RT_SCOPE_HOST as c_int);
        // SAFETY: The namespace of a live socket is usable, and RCU read-locked.
        unsafe { bindings::inet_confirm_addr(net, ptr::null_mut(), 0, addr, scope) != 0 }
    }

    fn lookup(socket: SocketOf<'_, Self>, flow: &mut bindings::flowi4) -> *mut bindings::dst_entry {
        // SAFETY: A live socket and its namespace are usable, and RCU is read-locked.
        unsafe { bindings::ip_route_output_flow(socket.net(), flow, socket.sk()) }.cast()
    }

    #[inline]
    fn cache_get(
        cache: &DstCache,
        _bh: &BhGuard,
        saddr: &mut bindings::__be32,
    ) -> *mut bindings::dst_entry {
        // SAFETY: The cache is initialised; bottom halves are off. The helper checks the family of
        // the route.
        unsafe { bindings::helper_dst_cache_get_ip4(cache.as_raw(), saddr) }.cast()
    }

    fn cache_set(cache: &DstCache, _bh: &BhGuard, route: &Route<Self>, saddr: bindings::__be32) {
        // SAFETY: The cache is initialised; bottom halves are off. The route is valid, and of this
        // version.
        unsafe { bindings::dst_cache_set_ip4(cache.as_raw(), route.as_dst(), saddr) };
    }

    #[inline]
    fn xmit(
        socket: SocketOf<'_, Self>,
        route: &Route<Self>,
        skb: SkBuff,
        outer: &Outer<'_, [u8; 4]>,
    ) -> c_int {
        // SAFETY: The packet is ours and goes to the function. The socket is open, the route is
        // valid, and both are of this version. With a live socket RCU is read-locked, and bottom
        // halves are off, as the recursion count requires. The device is borrowed for the call. The
        // helper checks whether it has statistics, makes room for the headers, and takes a
        // reference of its own to the route.
        unsafe {
            bindings::helper_udp_tunnel_xmit4(
                socket.sk(),
                route.as_dst().cast(),
                skb.into_raw(),
                outer.dev.as_raw(),
                outer.mark,
                outer.ds,
                Self::to_raw(outer.saddr),
                Self::to_raw(outer.daddr),
                outer.dport.to_be(),
            )
        }
    }
}

impl Version for V6 {
    const FAMILY: u16 = AF_INET6;

    type Addr = [u8; 16];
    type RawAddr = bindings::in6_addr;
    type RawFlow = bindings::flowi6;

    const ANY: [u8; 16] = [0; 16];

    #[inline]
    fn to_raw(addr: [u8; 16]) -> bindings::in6_addr {
        let mut raw = bindings::in6_addr::default();
        raw.in6_u.u6_addr8 = addr;
        raw
    }

    #[inline]
    fn from_raw(addr: bindings::in6_addr) -> [u8; 16] {
        // SAFETY: Any 16 bytes are an address.
        unsafe { addr.in6_u.u6_addr8 }
    }

    fn flow_addrs(flow: &bindings::flowi6) -> (bindings::in6_addr, bindings::in6_addr) {
        (flow.saddr, flow.daddr)
    }

    fn flow_fields(flow: &mut bindings::flowi6) -> FlowFields<'_, bindings::in6_addr> {
        FlowFields {
            common: &mut flow.__fl_common,
            saddr: &mut flow.saddr,
            daddr: &mut flow.daddr,
            uli: &mut flow.uli,
        }
    }

    unsafe fn sock_create(
        net: *mut bindings::net,
        cfg: &mut bindings::udp_port_cfg,
        socket: &mut *mut bindings::socket,
    ) -> c_int {
        // SAFETY: By the safety requirements. `cfg` and `socket` are valid for the time of the
        // call.
        unsafe { bindings::udp_sock_create6(net, cfg, socket) }
    }

    fn has_addr(socket: SocketOf<'_, Self>, addr: bindings::in6_addr) -> bool {
        // SAFETY: As for IPv4; the address is valid for the time of the call. There is a socket of
        // IPv6, so it was not switched off at boot.
        unsafe { bindings::ipv6_chk_addr(socket.net(), &addr, ptr::null(), 0) != 0 }
    }

    fn lookup(socket: SocketOf<'_, Self>, flow: &mut bindings::flowi6) -> *mut bindings::dst_entry {
        // SAFETY: As for IPv4.
        unsafe { bindings::ip6_dst_lookup_flow(socket.net(), socket.sk(), flow, ptr::null()) }
    }

    #[inline]
    fn cache_get(
        cache: &DstCache,
        _bh: &BhGuard,
        saddr: &mut bindings::in6_addr,
    ) -> *mut bindings::dst_entry {
        // SAFETY: As for IPv4.
        unsafe { bindings::helper_dst_cache_get_ip6(cache.as_raw(), saddr) }
    }

    fn cache_set(cache: &DstCache, _bh: &BhGuard, route: &Route<Self>, saddr: bindings::in6_addr) {
        // SAFETY: As for IPv4; the address is valid for the time of the call.
        unsafe { bindings::dst_cache_set_ip6(cache.as_raw(), route.as_dst(), &saddr) };
    }

    #[inline]
    fn xmit(
        socket: SocketOf<'_, Self>,
        route: &Route<Self>,
        skb: SkBuff,
        outer: &Outer<'_, [u8; 16]>,
    ) -> c_int {
        // SAFETY: As for IPv4; the addresses are valid for the time of the call.
        unsafe {
            bindings::helper_udp_tunnel_xmit6(
                socket.sk(),
                route.as_dst(),
                skb.into_raw(),
                outer.dev.as_raw(),
                outer.mark,
                outer.ds,
                (outer.label & 0x000f_ffff).to_be(),
                &Self::to_raw(outer.saddr),
                &Self::to_raw(outer.daddr),
                outer.dport.to_be(),
            )
        }
    }
}

/// `ipv6_mod_enabled()`: whether this kernel does IPv6 (it was not booted with `ipv6.disable=1`).
pub(crate) fn ipv6_mod_enabled() -> bool {
    // SAFETY: The function has no requirements.
    unsafe { bindings::ipv6_mod_enabled() }
}

/// `ipv6_iface_scope_id()`: `iface` if `addr` is valid on one link only, else 0.
pub(crate) fn ipv6_iface_scope_id(addr: [u8; 16], iface: i32) -> u32 {
    // SAFETY: The address is valid for the time of the call.
    unsafe { bindings::ipv6_iface_scope_id(&V6::to_raw(addr), iface) }
}
