// SPDX-License-Identifier: GPL-2.0

//! Routes to an endpoint, and sending there.

use kernel::prelude::*;

use super::{
    Binding,
    Endpoint, //
};
use crate::{
    class::Class,
    debug::dev_dbg_ratelimited,
    linux::{
        bottom_half::BhGuard,
        compat::code::ENONET,
        dst_cache::DstCache,
        engine::link::Handle,
        ip::{
            Version,
            V4,
            V6, //
        },
        netdevice::NetDevice,
        rcu::{
            self,
            RcuPtr, //
        },
        route::{
            Flow,
            Route, //
        },
        skbuff::{
            DropReason,
            SkBuff, //
        },
        udp_tunnel::{
            LiveSocket,
            Outer, //
        },
    }, //
};

/// The route to an endpoint, and the addresses to use with it.
pub(crate) enum Path {
    /// By IPv4.
    V4(PathOf<V4>),
    /// By IPv6.
    V6(PathOf<V6>),
}

/// A [`Path`] of one IP version.
///
/// Addresses are in network byte order, the port is in host byte order.
pub(crate) struct PathOf<V: Version> {
    /// The route.
    route: Route<V>,
    /// The source address.
    saddr: V::Addr,
    /// The destination address.
    daddr: V::Addr,
    /// The destination port.
    dport: u16,
}

/// What a route is looked up for: the fields of an [`Endpoint`] that the lookup reads, and may
/// clear.
struct Wanted<'a, V: Version> {
    /// The destination address and port.
    to: (V::Addr, u16),
    /// The index of the interface of a link-local destination, 0 for others.
    scope_id: u32,
    /// The sticky source, 0.0.0.0 or `::` if any will do.
    src: &'a mut V::Addr,
    /// The index of the interface that the route has to go out by, 0 if any will do.
    src_if: &'a mut i32,
}

impl Path {
    /// See [`Route::takes_lists`](crate::linux::route::Route::takes_lists).
    pub(super) fn takes_lists(&self, rcu: &rcu::Guard) -> bool {
        match self {
            Self::V4(path) => path.route.takes_lists(rcu),
            Self::V6(path) => path.route.takes_lists(rcu),
        }
    }
}

/// The means to send, for the time of an RCU read-side critical section with bottom halves off.
pub(crate) struct Sender<'a> {
    /// The device, for messages.
    pub(super) device: &'a Handle,
    pub(super) dev: &'a NetDevice,
    pub(super) fwmark: u32,
    pub(super) v4: Option<LiveSocket<'a>>,
    pub(super) v6: Option<LiveSocket<'a>>,
    /// What the sockets are bound to. It is looked at only where a route is looked up.
    pub(super) binding: &'a RcuPtr<Binding>,
    pub(super) rcu: &'a rcu::Guard,
    pub(super) bh: &'a BhGuard,
}

impl Sender<'_> {
    /// The device that sends.
    pub(crate) fn dev(&self) -> &NetDevice {
        self.dev
    }

    /// Looks up the route to `endpoint`, for a single message.
    pub(crate) fn path_to(&self, endpoint: &Endpoint) -> Result<Path> {
        let mut endpoint = *endpoint;
        self.path(&mut endpoint, None)
            .inspect_err(|error| self.no_route(&endpoint, error))
    }

    /// Looks up the route to `endpoint`, and clears its sticky source if that will not do.
    pub(super) fn path(&self, endpoint: &mut Endpoint, cache: Option<&DstCache>) -> Result<Path> {
        match endpoint {
            Endpoint::V4 {
                addr,
                port,
                src,
                src_if,
                ..
            } => {
                let wanted = Wanted::<V4> {
                    to: (*addr, *port),
                    scope_id: 0,
                    src,
                    src_if,
                };
                self.path_of(self.v4, wanted, cache, |binding| binding.v4)
                    .map(Path::V4)
            }
            Endpoint::V6 {
                addr,
                port,
                scope_id,
                src,
                ..
            } => {
                let wanted = Wanted::<V6> {
                    to: (*addr, *port),
                    scope_id: *scope_id,
                    src,
                    src_if: &mut 0,
                };
                self.path_of(self.v6, wanted, cache, |binding| binding.v6)
                    .map(Path::V6)
            }
        }
    }

    /// As [`Sender::path`], for one IP version. `address` returns what the device is bound to.
    #[inline]
    fn path_of<V: Version>(
        &self,
        socket: Option<LiveSocket<'_>>,
        wanted: Wanted<'_, V>,
        cache: Option<&DstCache>,
        address: impl FnOnce(&Binding) -> V::Addr,
    ) -> Result<PathOf<V>> {
        let socket = socket.ok_or(ENONET)?;
        let (daddr, dport) = wanted.to;
        if let Some((route, saddr)) = cache.and_then(|cache| cache.get(self.bh)) {
            return Ok(PathOf {
                route,
                saddr,
                daddr,
                dport,
            });
        }
        let (route, flow) = match self.binding.load(self.rcu) {
            Some(binding) => self.bound(socket, wanted, binding.ifindex, address(&binding))?,
            None => self.unbound(socket, wanted, cache)?,
        };
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok(PathOf {
            route,
            saddr: flow.saddr(),
            daddr: flow.daddr(),
            dport,
        })
    }

    /// Looks up a route for a device that is bound to nothing. Resets the cache if the sticky
    /// source is cleared. Not inlined, because most routes are cached.
    #[inline(never)]
    fn unbound<V: Version>(
        &self,
        socket: LiveSocket<'_>,
        wanted: Wanted<'_, V>,
        cache: Option<&DstCache>,
    ) -> Result<(Route<V>, Flow<V>)> {
        let Wanted {
            to,
            scope_id,
            src,
            src_if,
        } = wanted;
        let mut flow = Flow::<V>::new(self.fwmark, scope_id, (*src, socket.port()), to);
        let mut want_if = *src_if;
        let mut clear_src = |flow: &mut Flow<V>| {
            *src = V::ANY;
            *src_if = 0;
            flow.set_saddr(V::ANY);
            if let Some(cache) = cache {
                cache.reset();
            }
            0
        };
        socket.classify(&mut flow);
        // The sticky source is not an address of ours any more.
        if flow.saddr() != V::ANY && !socket.has_saddr(&flow) {
            want_if = clear_src(&mut flow);
        }
        let mut route = socket.route(&mut flow);
        // Datagrams must leave by the interface that the peer's datagrams came in by.
        let elsewhere = match &route {
            Ok(route) => route.ifindex(self.rcu) != want_if,
            Err(error) => *error == EINVAL,
        };
        if want_if != 0 && elsewhere {
            clear_src(&mut flow);
            route = socket.route(&mut flow);
        }
        Ok((route?, flow))
    }

    /// Looks up a route for a device that is bound to the interface `ifindex` and to `address`; 0,
    /// 0.0.0.0 or `::` stand for any. `ENXIO`: nothing can leave as the device is bound.
    #[cold]
    fn bound<V: Version>(
        &self,
        socket: LiveSocket<'_>,
        wanted: Wanted<'_, V>,
        ifindex: u32,
        address: V::Addr,
    ) -> Result<(Route<V>, Flow<V>)> {
        let Wanted {
            to, scope_id, src, ..
        } = wanted;
        let is_bound = address != V::ANY;
        let saddr = if is_bound { address } else { *src };
        // A link-local endpoint is on a link: that has to be the bound one, or in the bound VRF.
        let oif = if scope_id != 0 { scope_id } else { ifindex };
        let mut flow = Flow::<V>::new(self.fwmark, oif, (saddr, socket.port()), to);
        socket.classify(&mut flow);
        if saddr != V::ANY && !socket.has_saddr(&flow) {
            if is_bound {
                return Err(ENXIO);
            }
            // The sticky source is not an address of ours any more.
            *src = V::ANY;
            flow.set_saddr(V::ANY);
        }
        let route = socket.route(&mut flow).map_err(|_| ENXIO)?;
        if ifindex != 0 && !route.leaves_by(ifindex, self.rcu) {
            return Err(ENXIO);
        }
        Ok((route, flow))
    }

    /// Hands a message, or an aggregate, to the network stack. The outer header gets `class`.
    /// `ENONET`: there is no socket.
    pub(crate) fn xmit(&self, path: &Path, skb: SkBuff, class: Class) -> Result {
        match (path, self.v4, self.v6) {
            (Path::V4(path), Some(socket), _) => self.xmit_by(path, socket, skb, class),
            (Path::V6(path), _, Some(socket)) => self.xmit_by(path, socket, skb, class),
            _ => {
                skb.discard(DropReason::NoSocket);
                Err(ENONET)
            }
        }
    }

    #[inline]
    fn xmit_by<V: Version>(
        &self,
        path: &PathOf<V>,
        socket: LiveSocket<'_>,
        skb: SkBuff,
        class: Class,
    ) -> Result {
        socket.xmit(
            &path.route,
            skb,
            &Outer {
                dev: self.dev,
                mark: self.fwmark,
                ds: class.ds,
                label: class.flow_label(),
                saddr: path.saddr,
                daddr: path.daddr,
                dport: path.dport,
            },
        )
    }

    /// Logs why there is no route to `endpoint`. Without a socket, `ENONET`, nothing is logged.
    pub(super) fn no_route(&self, endpoint: &Endpoint, error: &Error) {
        if *error != ENONET {
            dev_dbg_ratelimited!(
                self.device,
                "No route to {}, error {}\n",
                endpoint,
                error.to_errno()
            );
        }
    }
}
