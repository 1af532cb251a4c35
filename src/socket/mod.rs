// SPDX-License-Identifier: GPL-2.0

//! The outside of the tunnel: the device's UDP sockets, the far ends they talk to, and sending.
//!
//! A sender holds the lock of the [`PeerEndpoint`] while it looks up a route, not while datagrams
//! walk the IP stack. The route is looked up once for all datagrams that are sent together.
//!
//! Datagrams that arrive go to the receiver of the sockets, a type parameter here.

use kernel::{
    fmt::Display,
    prelude::*,
    sync::Arc, //
};

use crate::linux::{
    bottom_half,
    compat::code::EADDRINUSE,
    engine::link::Handle,
    ip::ipv6_mod_enabled,
    net_namespace::Net,
    rcu::{
        self,
        RcuArc,
        RcuPtr, //
    },
    rcu_box::{
        RcuBox,
        Taken, //
    },
    skbuff::{
        SkBuff,
        NET_SKB_PAD, //
    },
    udp_tunnel::{
        EncapReceive,
        UdpTunnelSocket, //
    },
};

mod binding;
mod endpoint;
mod peer_endpoint;
mod sender;

pub(crate) use binding::Binding;
pub(crate) use endpoint::Endpoint;
pub(crate) use peer_endpoint::{
    Course,
    PeerEndpoint,
    Proof,
    Shown, //
};
pub(crate) use sender::Sender;

/// Bytes in front of a message for the outer IP and UDP headers, and for the networking core.
pub(crate) const SKB_HEADER_LEN: usize = 40 + 8 + NET_SKB_PAD;
/// How often another free port is tried when the port of the IPv4 socket is taken for IPv6: as
/// often as the C module does.
const MAX_PORT_RETRIES: u32 = 100;

/// The two sockets of a device that is up.
struct Pair<R: EncapReceive> {
    v4: UdpTunnelSocket<R>,
    /// `None` if the kernel was booted without IPv6.
    v6: Option<UdpTunnelSocket<R>>,
}

/// Sockets that are unpublished and receive nothing more. Dropping the value closes them. Process
/// context; it sleeps for a grace period, if none has passed since they were unpublished.
pub(crate) struct Closing<R: EncapReceive>(Option<Taken<Pair<R>>>);

impl<R: EncapReceive> Drop for Closing<R> {
    fn drop(&mut self) {
        if let Some(pair) = self.0.take() {
            KBox::into_inner(pair.wait()).release();
        }
    }
}

impl<R: EncapReceive> Pair<R> {
    /// Binds both to an interface: see [`bind_to`](crate::linux::udp_tunnel::LiveSocket::bind_to).
    fn bind_to(&self, ifindex: u32) {
        let rcu = rcu::Guard::new();
        let bh = bottom_half::disable();
        if let Some(v4) = self.v4.live(&rcu, &bh) {
            v4.bind_to(ifindex);
        }
        if let Some(v6) = self.v6.as_ref().and_then(|v6| v6.live(&rcu, &bh)) {
            v6.bind_to(ifindex);
        }
    }

    /// Closes both, waiting once. Process context.
    fn release(self) {
        let Self { v4, v6 } = self;
        let v4 = v4.release();
        let v6 = v6.map(UdpTunnelSocket::release);
        drop((v4, v6));
    }
}

/// The sockets of a device, if it is up and the namespace that it was created in is still there.
///
/// Open sockets refer to their receiver, the device: it is not freed before they are closed.
pub(crate) struct Sockets<R: EncapReceive> {
    pair: RcuBox<Pair<R>>,
    /// What they are bound to. `None`, as a rule: nothing.
    binding: RcuPtr<Binding>,
}

impl<R: EncapReceive> Sockets<R> {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            pair: RcuBox::new(),
            binding: RcuPtr::none(),
        }
    }

    /// Opens both sockets in `net` on `port`, or on a free port if it is 0, and closes the old
    /// ones.
    ///
    /// Datagrams go to `receiver`, whose name for messages is `name`. Returns the port. Process
    /// context; it sleeps. On error the old sockets stay: `EADDRINUSE` if the port is taken, or
    /// another error of creating a socket.
    pub(crate) fn open(
        &self,
        net: &Net,
        port: u16,
        receiver: Arc<R>,
        name: &impl Display,
    ) -> Result<u16> {
        let mut retries: u32 = 0;
        let pair = loop {
            let v4 = UdpTunnelSocket::new_ip4(net, port, receiver.clone()).inspect_err(|_| {
                pr_err!("{}: Could not create IPv4 socket\n", name);
            })?;
            if !ipv6_mod_enabled() {
                break Pair { v4, v6: None };
            }
            match UdpTunnelSocket::new_ip6(net, v4.port(), receiver.clone()) {
                Ok(v6) => break Pair { v4, v6: Some(v6) },
                Err(error) if error == EADDRINUSE && port == 0 && retries < MAX_PORT_RETRIES => {
                    retries = retries.wrapping_add(1);
                }
                Err(error) => {
                    pr_err!("{}: Could not create IPv6 socket\n", name);
                    return Err(error);
                }
            }
        };
        let port = pair.v4.port();
        pair.bind_to(self.binding().ifindex);
        drop(self.exchange(Some(KBox::new(pair, GFP_KERNEL)?)));
        Ok(port)
    }

    /// What the sockets are bound to, whether they are open or not.
    pub(crate) fn binding(&self) -> Binding {
        self.binding
            .get()
            .map_or(Binding::none(), |binding| *binding)
    }

    /// Binds the sockets, and those that are opened later. When this returns no route is looked up
    /// any more but as they are bound now; peers still have those that they have cached. To be
    /// called with the configuration locked. Process context; it sleeps for a grace period.
    /// `ENOMEM` if there is no memory.
    pub(crate) fn bind(&self, binding: &Binding) -> Result {
        let new = if *binding == Binding::none() {
            None
        } else {
            Some(RcuArc::new(*binding, GFP_KERNEL)?)
        };
        drop(self.binding.replace(new));
        {
            let guard = rcu::Guard::new();
            if let Some(pair) = self.pair.load(&guard) {
                pair.bind_to(binding.ifindex);
            }
        }
        rcu::synchronize_net();
        Ok(())
    }

    /// Takes out the sockets, if they are open. From the return on they begin neither to send nor
    /// to receive. Datagrams under way in either direction are done with a grace period later.
    /// Process context.
    pub(crate) fn unpublish(&self) -> Option<Closing<R>> {
        self.exchange(None)
    }

    fn exchange(&self, pair: Option<KBox<Pair<R>>>) -> Option<Closing<R>> {
        let old = self.pair.exchange(pair)?;
        // Now, so that one grace period serves senders and receivers.
        old.v4.deafen();
        if let Some(v6) = &old.v6 {
            v6.deafen();
        }
        Some(Closing(Some(old)))
    }

    /// Runs `f` with the means to send from the device `netdev` with `fwmark`, in an RCU read-side
    /// critical section. `ENODEV` if the device is gone.
    pub(crate) fn with_sender<T>(
        &self,
        netdev: &Handle,
        fwmark: u32,
        f: impl FnOnce(&Sender<'_>) -> Result<T>,
    ) -> Result<T> {
        let rcu = rcu::Guard::new();
        let bh = bottom_half::disable();
        let dev = netdev.get(&rcu).ok_or(ENODEV)?;
        let pair = self.pair.load(&rcu);
        f(&Sender {
            device: netdev,
            dev,
            fwmark,
            v4: pair.and_then(|pair| pair.v4.live(&rcu, &bh)),
            v6: pair.and_then(|pair| pair.v6.as_ref()?.live(&rcu, &bh)),
            binding: &self.binding,
            rcu: &rcu,
            bh: &bh,
        })
    }
}

/// An skb with the bytes of `message`, and room for the outer headers in front.
pub(crate) fn skb_from_bytes(message: &[u8]) -> Result<SkBuff> {
    let mut skb = SkBuff::alloc(SKB_HEADER_LEN, message.len())?;
    skb.set_inner_network_header();
    skb.put(message)?;
    Ok(skb)
}
