// SPDX-License-Identifier: GPL-2.0

//! Routes to an endpoint, and sending there.

use kernel::prelude::*;

use super::{
    Binding,
    Endpoint, //
};
use crate::{
    debug::dev_dbg_ratelimited,
    linux::{
        bottom_half::BhGuard,
        dst_cache::DstCache,
        engine::link::Handle,
        netdevice::{
            NetDevice, //
        },
        rcu::{
            self,
            RcuPtr, //
        },
        route::{
            Flow4,
            Flow6,
            Route4,
            Route6, //
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
///
/// Addresses are in network byte order, the port is in host byte order.
pub(crate) enum Path {
    /// By IPv4.
    V4 {
        /// The route.
        route: Route4,
        /// The source address.
        saddr: [u8; 4],
        /// The destination address.
        daddr: [u8; 4],
        /// The destination port.
        dport: u16,
    },
    /// By IPv6.
    V6 {
        /// The route.
        route: Route6,
        /// The source address.
        saddr: [u8; 16],
        /// The destination address.
        daddr: [u8; 16],
        /// The destination port.
        dport: u16,
    },
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
                let (route, saddr, daddr) = self.path4((*addr, *port), src, src_if, cache)?;
                Ok(Path::V4 {
                    route,
                    saddr,
                    daddr,
                    dport: *port,
                })
            }
            Endpoint::V6 {
                addr,
                port,
                scope_id,
                src,
                ..
            } => {
                let (route, saddr) = self.path6((*addr, *port), *scope_id, src, cache)?;
                Ok(Path::V6 {
                    route,
                    saddr,
                    daddr: *addr,
                    dport: *port,
                })
            }
        }
    }

    /// Returns a route, and the source and the destination address to use with it.
    fn path4(
        &self,
        to: ([u8; 4], u16),
        src: &mut [u8; 4],
        src_if: &mut i32,
        cache: Option<&DstCache>,
    ) -> Result<(Route4, [u8; 4], [u8; 4])> {
        let socket = self.v4.ok_or(ENONET)?;
        if let Some((route, saddr)) = cache.and_then(|cache| cache.get(self.bh)) {
            return Ok((route, saddr, to.0));
        }
        if let Some(binding) = self.binding.load(self.rcu) {
            let (route, saddr) = self.bound4(&binding, to, src, cache)?;
            return Ok((route, saddr, to.0));
        }
        let mut flow = Flow4::new(self.fwmark, 0, (*src, socket.port()), to);
        let mut want_if = *src_if;
        let mut clear_src = |flow: &mut Flow4| {
            *src = [0; 4];
            *src_if = 0;
            flow.set_saddr([0; 4]);
            if let Some(cache) = cache {
                cache.reset();
            }
            0
        };
        socket.classify(&mut flow);
        // The sticky source is not an address of ours any more.
        if !socket.has_saddr(&flow) {
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
        let route = route?;
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr(), flow.daddr()))
    }

    /// Returns a route, and the source address to use with it.
    fn path6(
        &self,
        to: ([u8; 16], u16),
        scope_id: u32,
        src: &mut [u8; 16],
        cache: Option<&DstCache>,
    ) -> Result<(Route6, [u8; 16])> {
        let socket = self.v6.ok_or(ENONET)?;
        if let Some(found) = cache.and_then(|cache| cache.get(self.bh)) {
            return Ok(found);
        }
        if let Some(binding) = self.binding.load(self.rcu) {
            return self.bound6(&binding, to, scope_id, src, cache);
        }
        let mut flow = Flow6::new(self.fwmark, scope_id, (*src, socket.port()), to);
        socket.classify(&mut flow);
        // The sticky source is not an address of ours any more.
        if *src != [0; 16] && !socket.has_saddr(&flow) {
            *src = [0; 16];
            flow.set_saddr([0; 16]);
            if let Some(cache) = cache {
                cache.reset();
            }
        }
        let route = socket.route(&mut flow)?;
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr()))
    }

    /// As [`Sender::path4`], for a device that is bound. `ENXIO`: nothing can leave as it is bound.
    #[cold]
    fn bound4(
        &self,
        binding: &Binding,
        to: ([u8; 4], u16),
        src: &mut [u8; 4],
        cache: Option<&DstCache>,
    ) -> Result<(Route4, [u8; 4])> {
        let socket = self.v4.ok_or(ENONET)?;
        let is_bound = binding.v4 != [0; 4];
        let saddr = if is_bound { binding.v4 } else { *src };
        let mut flow = Flow4::new(self.fwmark, binding.ifindex, (saddr, socket.port()), to);
        socket.classify(&mut flow);
        if saddr != [0; 4] && !socket.has_saddr(&flow) {
            if is_bound {
                return Err(ENXIO);
            }
            // The sticky source is not an address of ours any more.
            *src = [0; 4];
            flow.set_saddr([0; 4]);
        }
        let route = socket.route(&mut flow).map_err(|_| ENXIO)?;
        if binding.ifindex != 0 && !route.leaves_by(binding.ifindex, self.rcu) {
            return Err(ENXIO);
        }
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr()))
    }

    /// As [`Sender::path6`], for a device that is bound. `ENXIO`: nothing can leave as it is bound.
    #[cold]
    fn bound6(
        &self,
        binding: &Binding,
        to: ([u8; 16], u16),
        scope_id: u32,
        src: &mut [u8; 16],
        cache: Option<&DstCache>,
    ) -> Result<(Route6, [u8; 16])> {
        let socket = self.v6.ok_or(ENONET)?;
        let is_bound = binding.v6 != [0; 16];
        let saddr = if is_bound { binding.v6 } else { *src };
        // A link-local endpoint is on a link: that has to be the bound one, or in the bound VRF.
        let oif = if scope_id != 0 {
            scope_id
        } else {
            binding.ifindex
        };
        let mut flow = Flow6::new(self.fwmark, oif, (saddr, socket.port()), to);
        socket.classify(&mut flow);
        if saddr != [0; 16] && !socket.has_saddr(&flow) {
            if is_bound {
                return Err(ENXIO);
            }
            // The sticky source is not an address of ours any more.
            *src = [0; 16];
            flow.set_saddr([0; 16]);
        }
        let route = socket.route(&mut flow).map_err(|_| ENXIO)?;
        if binding.ifindex != 0 && !route.leaves_by(binding.ifindex, self.rcu) {
            return Err(ENXIO);
        }
        if let Some(cache) = cache {
            cache.set(self.bh, &route, flow.saddr());
        }
        Ok((route, flow.saddr()))
    }

    /// Hands a message, or an aggregate, to the network stack. `ds` is the TOS byte or traffic class
    /// of the outer header. `ENONET`: there is no socket.
    pub(crate) fn xmit(&self, path: &Path, skb: SkBuff, ds: u8) -> Result {
        match (path, self.v4, self.v6) {
            (
                Path::V4 {
                    route,
                    saddr,
                    daddr,
                    dport,
                },
                Some(socket),
                _,
            ) => socket.xmit(
                route,
                skb,
                &Outer {
                    dev: self.dev,
                    mark: self.fwmark,
                    ds,
                    saddr: *saddr,
                    daddr: *daddr,
                    dport: *dport,
                },
            ),
            (
                Path::V6 {
                    route,
                    saddr,
                    daddr,
                    dport,
                },
                _,
                Some(socket),
            ) => socket.xmit(
                route,
                skb,
                &Outer {
                    dev: self.dev,
                    mark: self.fwmark,
                    ds,
                    saddr: *saddr,
                    daddr: *daddr,
                    dport: *dport,
                },
            ),
            _ => {
                skb.discard(DropReason::NoSocket);
                Err(ENONET)
            }
        }
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
