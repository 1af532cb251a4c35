// SPDX-License-Identifier: GPL-2.0

//! Sending on a socket: its routes, and the outer headers of its datagrams.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::linux::{
    bindings,
    bottom_half::BhGuard,
    compat::code::{
        EAFNOSUPPORT,
        ENETUNREACH, //
    },
    ip::Version,
    netdevice::NetDevice,
    rcu,
    route::{
        Flow,
        Route, //
    },
    skbuff::{
        DropReason,
        SkBuff, //
    },
};

/// A socket to send on.
///
/// # Invariants
///
/// * During `'g`, `sk` is open, its namespace is not torn down, RCU is read-locked, and bottom
///   halves are off on this CPU.
/// * `family` is the address family of `sk`.
#[derive(Clone, Copy)]
pub(crate) struct LiveSocket<'g> {
    pub(super) sk: NonNull<bindings::sock>,
    pub(super) family: u16,
    pub(super) port: u16,
    pub(super) _p: PhantomData<(&'g rcu::Guard, &'g BhGuard)>,
}

impl LiveSocket<'_> {
    /// The port it is bound to, in host byte order.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn sk(&self) -> *mut bindings::sock {
        self.sk.as_ptr()
    }

    fn net(&self) -> *mut bindings::net {
        // SAFETY: By the type invariant the socket is open. Its namespace never changes.
        unsafe { (*self.sk()).__sk_common.skc_net.net }
    }

    /// The socket, if it is of IP version `V`. `EAFNOSUPPORT` otherwise.
    #[inline]
    fn of<V: Version>(&self) -> Result<SocketOf<'_, V>> {
        if self.family == V::FAMILY {
            // INVARIANT: `family` is the socket's, by the type invariant.
            Ok(SocketOf(*self, PhantomData))
        } else {
            Err(EAFNOSUPPORT)
        }
    }

    /// Has the socket take only datagrams that come in by the interface with this index, or by an
    /// interface of that VRF; 0: by any. A route that the stack looks up anew for a datagram of the
    /// socket goes out there, too (`sk_bound_dev_if`).
    pub(crate) fn bind_to(&self, ifindex: u32) {
        // SAFETY: By the type invariant the socket is open. Only an address is taken.
        let bound = unsafe { &raw mut (*self.sk()).__sk_common.skc_bound_dev_if };
        // SAFETY: The field of an open socket is valid and aligned, and C accesses it atomically.
        unsafe { Atomic::from_ptr(bound) }.store(ifindex as i32, Relaxed);
    }

    /// `security_sk_classify_flow()`: has the security modules mark the flow as one of this socket.
    pub(crate) fn classify<V: Version>(&self, flow: &mut Flow<V>) {
        // SAFETY: By the type invariant the socket is open; the flow is borrowed for the call.
        unsafe { bindings::security_sk_classify_flow(self.sk(), flow.common()) };
    }

    /// Whether the source address of the flow is a usable address of some interface
    /// (`inet_confirm_addr()`, `ipv6_chk_addr()`). `false` if the socket has the other IP version.
    pub(crate) fn has_saddr<V: Version>(&self, flow: &Flow<V>) -> bool {
        self.of()
            .is_ok_and(|socket| V::has_addr(socket, V::to_raw(flow.saddr())))
    }

    /// `ip_route_output_flow()`, `ip6_dst_lookup_flow()`: looks up a route. Sets the source address
    /// of the flow if it has none.
    ///
    /// Fails with `EAFNOSUPPORT` if the socket is not of the flow's IP version, or with the error
    /// of the routing table; with IPv4 that is `EINVAL` if the source address is not one of this
    /// machine.
    pub(crate) fn route<V: Version>(&self, flow: &mut Flow<V>) -> Result<Route<V>> {
        let dst = from_err_ptr(V::lookup(self.of()?, flow.as_raw()))?;
        // SAFETY: The result is a route of that version, with a reference for us.
        unsafe { Route::from_raw(dst) }.ok_or(ENETUNREACH)
    }

    /// `udp_tunnel_xmit_skb()`, `udp_tunnel6_xmit_skb()`: sends `skb` as a datagram by `route`.
    ///
    /// The datagram may be fragmented. A loss on the way through the stack is counted in the
    /// statistics of the device. An error means that the packet was dropped before that: `ENOMEM`,
    /// `ENODEV` if the device is not registered, or `EAFNOSUPPORT` if the route is not of the
    /// socket's IP version.
    #[inline]
    pub(crate) fn xmit<V: Version>(
        &self,
        route: &Route<V>,
        skb: SkBuff,
        outer: &Outer<'_, V::Addr>,
    ) -> Result {
        match self.of() {
            Ok(socket) => to_result(V::xmit(socket, route, skb, outer)),
            Err(error) => {
                skb.discard(DropReason::NoRoute);
                Err(error)
            }
        }
    }
}

/// A [`LiveSocket`] of IP version `V`.
///
/// # Invariants
///
/// The address family of the socket is `V::FAMILY`.
pub(crate) struct SocketOf<'g, V: Version>(LiveSocket<'g>, PhantomData<V>);

impl<V: Version> SocketOf<'_, V> {
    /// The C structure.
    #[inline]
    pub(in crate::linux) fn sk(&self) -> *mut bindings::sock {
        self.0.sk()
    }

    /// The C structure of its namespace.
    pub(in crate::linux) fn net(&self) -> *mut bindings::net {
        self.0.net()
    }
}

/// The outer headers of a datagram, with addresses of type `A` in network byte order.
pub(crate) struct Outer<'a, A> {
    /// The tunnel's device, whose statistics count the datagram.
    pub(crate) dev: &'a NetDevice,
    /// The firewall mark, 0 for none.
    pub(crate) mark: u32,
    /// TOS or traffic class.
    pub(crate) ds: u8,
    /// The flow label, 20 bits in host byte order; 0 for none. Only IPv6 has it.
    pub(crate) label: u32,
    /// The source address.
    pub(crate) saddr: A,
    /// The destination address.
    pub(crate) daddr: A,
    /// The destination port, in host byte order.
    pub(crate) dport: u16,
}
