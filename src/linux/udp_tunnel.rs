// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel that tunnels are made of.
//!
//! A socket belongs to a network namespace but does not keep it alive, so it has to be gone before
//! the namespace is. That is seen to here: [`Registration`] is told of namespaces that go away, and
//! closes what is still open in them.
//!
//! ```text
//!   create() ──> open ──── release() or drop ───────────────────────> closed ──> grace period ──> receiver dropped
//!                  └────── its namespace goes away (Registration) ──────┘
//! ```
//!
//! C header: [`include/net/udp_tunnel.h`](srctree/include/net/udp_tunnel.h)

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    list::{
        impl_list_arc_safe,
        impl_list_item,
        List,
        ListArc,
        ListLinks, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        global_lock,
        Arc,
        SetOnce, //
    }, //
};

use super::{
    bindings,
    bottom_half::BhGuard,
    errno::ENETUNREACH,
    net_namespace::{
        Net,
        PernetDevice,
        PernetExit,
        WeakNet, //
    },
    netdevice::NetDevice,
    rcu::{
        self,
        synchronize_net,
        GracePeriod, //
    },
    route::{
        Flow4,
        Flow6,
        Route4,
        Route6, //
    },
    skbuff::SkBuff, //
};

/// `AF_INET`: the address family of IPv4, as in `sa_family`.
pub(crate) const AF_INET: u16 = bindings::AF_INET as u16;
/// `AF_INET6`: the address family of IPv6, as in `sa_family`.
pub(crate) const AF_INET6: u16 = bindings::AF_INET6 as u16;

/// The open sockets of this module. Created and removed in process context.
struct OpenSockets {
    /// Whether namespaces that go away are told to us: without that no socket may be open.
    registered: bool,
    sockets: List<Slot>,
}

global_lock! {
    // SAFETY: `init()` is called by the first `Registration::new()`, and the lock only used after
    // `READY` was seen set.
    unsafe(uninit) static OPEN: Mutex<OpenSockets> = OpenSockets {
        registered: false,
        sockets: List::new(),
    };
}

/// Whether a [`Registration`] was begun; there is one in the life of the module.
static CLAIMED: Atomic<bool> = Atomic::new(false);
/// Whether `OPEN` is initialised.
static READY: Atomic<bool> = Atomic::new(false);

/// Where a socket is, until it is closed.
///
/// # Invariants
///
/// * `sk` is null or an open socket of [`UdpTunnelSocket::create`].
/// * It is exchanged for null with `OPEN` held, and the namespace of the socket is not torn down
///   (`exit` methods of the core) before that has happened and a grace period has passed.
#[pin_data]
struct Slot {
    sk: Atomic<*mut bindings::sock>,
    /// The place in `OPEN`; it is on no other list.
    #[pin]
    links: ListLinks,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Slot { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Slot { using ListLinks { self.links }; }
}

/// The module's interest in namespaces that go away: without it no socket can be created.
///
/// To be made when the module is loaded and dropped when it is unloaded.
pub(crate) struct Registration {
    _pernet: Pin<KBox<PernetDevice<CloseAll>>>,
}

impl Registration {
    /// Makes sockets possible. Once in the life of the module (`EBUSY` otherwise); process context,
    /// without the RTNL.
    pub(crate) fn new() -> Result<Self> {
        if CLAIMED.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: `CLAIMED` was just set by us and is never cleared, so this happens once.
        unsafe { OPEN.init() };
        READY.store(true, Release);
        let pernet = KBox::pin_init(PernetDevice::new(), GFP_KERNEL)?;
        OPEN.lock().registered = true;
        Ok(Self { _pernet: pernet })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // From here on no socket is created. Those that are left are closed when the registration
        // goes.
        OPEN.lock().registered = false;
    }
}

/// What [`Registration`] does with a namespace that goes away.
struct CloseAll;

impl PernetExit for CloseAll {
    fn exit(net: &WeakNet) {
        let mut open = OPEN.lock();
        let mut cursor = open.sockets.cursor_front();
        while let Some(slot) = cursor.peek_next() {
            let sk = slot.sk.load(Relaxed);
            // SAFETY: By the invariant of `Slot` it is open, if it is not null, and stays so:
            // `OPEN` is held.
            if !sk.is_null() && !net.is_raw(unsafe { (*sk).__sk_common.skc_net.net }) {
                cursor.move_next();
                continue;
            }
            let slot = slot.remove();
            if slot.sk.xchg(ptr::null_mut(), Full).is_null() {
                continue;
            }
            // Whoever still sends on it is waited for, then whoever still receives.
            synchronize_net();
            // SAFETY: It was open, it is out of reach now, and nobody uses it any more; the
            // namespace is told to us before it is torn down.
            unsafe { close(sk) };
            synchronize_net();
        }
    }
}

/// Closes a socket.
///
/// # Safety
///
/// `sk` must be an open socket of [`UdpTunnelSocket::create`] that nobody will use any more, in a
/// namespace that is not torn down before this returns. Process context.
unsafe fn close(sk: *mut bindings::sock) {
    // SAFETY: By the safety requirement the socket is open, and ours; `create()` has set what this
    // clears.
    unsafe { bindings::sk_clear_memalloc(sk) };
    // SAFETY: By the safety requirement it is still open, nobody will use it any more, and its
    // namespace is there.
    unsafe { bindings::udp_tunnel_sock_release(sk) };
}

/// Where the datagrams of a [`UdpTunnelSocket`] go.
pub(crate) trait EncapReceive: Send + Sync + 'static {
    /// Takes a datagram. The data of `skb` begin with the UDP header, whose checksum is right; it
    /// stands for no other datagrams.
    ///
    /// Softirq context, in an RCU read-side critical section; may run on several CPUs concurrently.
    /// The datagrams of a flow come in the order and on the CPU in which and on which the network
    /// stack has them.
    fn receive(&self, skb: SkBuff, bh: &BhGuard);

    /// Whether GRO may keep the datagrams of a flow together on their way to here, as one packet
    /// whose parts have their own buffers and headers (`SKB_GSO_FRAGLIST`). They are taken apart
    /// again before [`Self::receive`] is called.
    ///
    /// Context as for [`Self::receive`]. It is asked for each datagram that a device with GRO
    /// receives.
    fn may_aggregate(&self) -> bool;
}

/// What a closed socket leaves behind: the receiver, which is dropped when no datagram is on its
/// way to it any more.
///
/// Dropping it sleeps for up to a grace period (none if one has passed since the socket was
/// closed).
///
/// # Invariants
///
/// `grace` was made after the socket's user data were cleared, or is nothing if a grace period was
/// waited for already.
pub(crate) struct Receiver<T: EncapReceive> {
    grace: Option<GracePeriod>,
    data: Option<Arc<T>>,
}

impl<T: EncapReceive> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(grace) = self.grace {
            grace.wait();
        }
        self.data = None;
    }
}

/// An open UDP socket that gives its datagrams to a `T`.
///
/// It is closed when it is dropped, in process context, which sleeps.
///
/// # Invariants
///
/// * `slot` was made for this socket, and is in `OPEN` unless the socket is closed.
/// * The `sk_user_data` of the socket, while it is open, is what `receiver` holds.
pub(crate) struct UdpTunnelSocket<T: EncapReceive> {
    slot: Arc<Slot>,
    port: u16,
    /// Made when the user data were cleared before the socket was closed.
    deaf: SetOnce<GracePeriod>,
    /// Dropped after the socket has been closed.
    receiver: Receiver<T>,
}

impl<T: EncapReceive> UdpTunnelSocket<T> {
    /// Opens an IPv4 socket in `net` on all of its addresses and on `port` (host byte order; 0: one
    /// that is free).
    ///
    /// Checksums are made and checked, memory is allocated as in interrupts and from the emergency
    /// reserves, and as much as it takes. Process context. Fails with `EADDRINUSE` if the port is
    /// taken, and with `ENODEV` without a [`Registration`].
    pub(crate) fn new_ip4(net: &Net, port: u16, receiver: Arc<T>) -> Result<Self> {
        let mut cfg = bindings::udp_port_cfg {
            family: AF_INET as u8,
            local_udp_port: port.to_be(),
            ..Default::default()
        };
        cfg.set_use_udp_checksums(1);
        Self::create(net, cfg, receiver)
    }

    /// Opens an IPv6 socket, which does not take IPv4 datagrams; everything else as for
    /// [`Self::new_ip4`].
    ///
    /// Fails with `EAFNOSUPPORT` if this kernel was booted without IPv6.
    pub(crate) fn new_ip6(net: &Net, port: u16, receiver: Arc<T>) -> Result<Self> {
        let mut cfg = bindings::udp_port_cfg {
            family: AF_INET6 as u8,
            local_udp_port: port.to_be(),
            ..Default::default()
        };
        cfg.set_use_udp6_tx_checksums(1);
        cfg.set_use_udp6_rx_checksums(1);
        cfg.set_ipv6_v6only(1);
        Self::create(net, cfg, receiver)
    }

    fn create(net: &Net, mut cfg: bindings::udp_port_cfg, receiver: Arc<T>) -> Result<Self> {
        // The lower bits of `sk_user_data` are flags of the core.
        const { assert!(align_of::<T>() >= 8) };

        if !READY.load(Acquire) {
            return Err(ENODEV);
        }
        let entry = ListArc::pin_init::<Error>(
            try_pin_init!(Slot {
                sk: Atomic::new(ptr::null_mut()),
                links <- ListLinks::new(),
            }),
            GFP_KERNEL,
        )?;
        let slot = entry.clone_arc();
        let mut socket = ptr::null_mut();
        to_result(if u16::from(cfg.family) == AF_INET6 {
            // SAFETY: The namespace is alive, and the family is the one the function is for; `cfg`
            // and `socket` are valid for the time of the call.
            unsafe { bindings::udp_sock_create6(net.as_raw(), &mut cfg, &mut socket) }
        } else {
            // SAFETY: As above.
            unsafe { bindings::udp_sock_create4(net.as_raw(), &mut cfg, &mut socket) }
        })?;
        // SAFETY: On success it is a new socket.
        let sk = unsafe { (*socket).sk };
        // SAFETY: The socket is new: nobody sends on it yet, which is what this is for.
        unsafe { (*sk).sk_allocation = bindings::GFP_ATOMIC };
        // SAFETY: As above.
        unsafe { (*sk).sk_sndbuf = i32::MAX };
        // SAFETY: The socket is valid, and nobody else changes its flags yet.
        unsafe { bindings::sk_set_memalloc(sk) };
        // SAFETY: An UDP socket begins with an `inet_sock`. Its port does not change once it is
        // bound.
        let port = u16::from_be(unsafe { (*sk.cast::<bindings::inet_sock>()).inet_sport });
        let user_data = Arc::as_ptr(&receiver).cast_mut().cast();
        slot.sk.store(sk, Release);
        // INVARIANT: The slot is for this socket, whose user data is about to be set to what the
        // receiver holds. The namespace is alive for the time of this function, and it is in `OPEN`
        // on a successful return.
        let this = Self {
            slot,
            port,
            deaf: SetOnce::new(),
            receiver: Receiver {
                grace: None,
                data: Some(receiver),
            },
        };
        let mut cfg = bindings::udp_tunnel_sock_cfg {
            sk_user_data: user_data,
            // Any but 0: what the callbacks take is nothing that the core knows.
            encap_type: 1,
            encap_rcv: Some(Self::encap_rcv),
            gro_receive: Some(Self::gro_receive),
            ..Default::default()
        };
        // SAFETY: The socket is new and ours, and in this namespace. The callbacks have the type of
        // the user data, which stays valid for as long as they run: see `drop()`. `cfg` is only
        // read.
        unsafe { bindings::setup_udp_tunnel_sock(net.as_raw(), sk, &mut cfg) };
        // The sums of datagrams that are taken apart would be made anew for those who read them in
        // here. Nobody does.
        // SAFETY: The socket is ours; the function above has raised what this lowers.
        unsafe { bindings::inet_dec_convert_csum(sk) };

        let mut open = OPEN.lock();
        if !open.registered {
            drop(open);
            return Err(ENODEV);
        }
        open.sockets.push_back(entry);
        drop(open);
        Ok(this)
    }

    /// The port it is bound to, in host byte order.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The socket for sending, unless its namespace has gone away.
    #[inline]
    pub(crate) fn live<'g>(
        &'g self,
        _rcu: &'g rcu::Guard,
        _bh: &'g BhGuard,
    ) -> Option<LiveSocket<'g>> {
        // INVARIANT: By the invariant of `Slot`, what is there is open, and neither it nor the
        // namespace goes away before the end of this critical section if the namespace goes; nor
        // does this value while it is borrowed.
        NonNull::new(self.slot.sk.load(Acquire)).map(|sk| LiveSocket {
            sk,
            port: self.port,
            _p: PhantomData,
        })
    }

    /// No datagram that comes from now on is given to the receiver: they are dropped with the
    /// socket. The receiver may still be busy with those that came before, until a grace period has
    /// passed, which need not be waited for again when the socket is closed. Process context.
    pub(crate) fn deafen(&self) {
        let _open = OPEN.lock();
        let sk = self.slot.sk.load(Relaxed);
        if sk.is_null() {
            return;
        }
        // SAFETY: By the invariant of `Slot` the socket is open, and stays so: `OPEN` is held. Only
        // an address is taken.
        let user_data = unsafe { &raw mut (*sk).sk_user_data };
        // SAFETY: The field of an open socket is valid and aligned, and others use it atomically.
        unsafe { Atomic::from_ptr(user_data) }.store(ptr::null_mut(), Release);
        self.deaf.populate(GracePeriod::next());
    }

    /// Closes the socket now, and gives back what has to wait for a grace period. With several
    /// sockets to close, closing all and dropping the results afterwards costs one grace period in
    /// all.
    ///
    /// Process context; sleeps.
    pub(crate) fn release(mut self) -> Receiver<T> {
        self.close();
        core::mem::replace(
            &mut self.receiver,
            Receiver {
                grace: None,
                data: None,
            },
        )
    }

    fn close(&mut self) {
        let mut open = OPEN.lock();
        // SAFETY: It is on no other list than this one.
        let entry = unsafe { open.sockets.remove(&self.slot) };
        let sk = self.slot.sk.xchg(ptr::null_mut(), Full);
        if sk.is_null() {
            return;
        }
        // SAFETY: By the invariant of `Slot` it is open, and its namespace is not torn down before
        // `OPEN` is free, or before `create()` returns if it did not get into the list. As `self`
        // is borrowed exclusively nobody sends.
        unsafe { close(sk) };
        drop((open, entry));
        self.receiver.grace = Some(self.deaf.copy().unwrap_or_else(GracePeriod::next));
    }

    /// The receiver of a socket's datagrams, unless the socket is being closed.
    ///
    /// # Safety
    ///
    /// `sk` must be a socket made by [`Self::create`]. In an RCU read-side critical section that
    /// lasts for `'g`.
    unsafe fn receiver_of<'g>(sk: *mut bindings::sock) -> Option<&'g T> {
        // SAFETY: By the safety requirement the socket is valid; only an address is taken.
        let user_data = unsafe { &raw mut (*sk).sk_user_data };
        // SAFETY: The field of a valid socket is valid and aligned. It may be written now, so it is
        // read atomically.
        let data: *mut c_void = unsafe { Atomic::from_ptr(user_data) }.load(Acquire);
        // SAFETY: The user data of a socket of `create()` is null or the `T` that its `Receiver`
        // holds, which is dropped after a grace period that begins when the socket has been closed.
        NonNull::new(data.cast::<T>()).map(|data| unsafe { data.as_ref() })
    }

    /// The `encap_rcv` of the socket. It takes every datagram: 0 is returned.
    ///
    /// # Safety
    ///
    /// `sk` must be a socket made by [`Self::create`], `skb` a packet that is given away, with its
    /// data at the UDP header. In softirq context and an RCU read-side critical section.
    unsafe extern "C" fn encap_rcv(sk: *mut bindings::sock, skb: *mut bindings::sk_buff) -> c_int {
        // SAFETY: By the safety requirement the packet is valid and ours.
        unsafe { bindings::helper_skb_detach(skb) };
        // SAFETY: A valid packet is not null.
        let skb = unsafe { NonNull::new_unchecked(skb) };
        // SAFETY: The packet is ours, on no list, and its route and device are forgotten.
        let skb = unsafe { SkBuff::from_raw(skb) };
        // What stands for several datagrams was taken apart by the core, unless it says that there
        // is a tunnel inside. No datagram of this socket says so.
        if !skb.is_gso() {
            // SAFETY: By the safety requirement.
            if let Some(receiver) = unsafe { Self::receiver_of(sk) } {
                // SAFETY: By the safety requirement this is softirq context.
                unsafe { BhGuard::already(|bh| receiver.receive(skb, bh)) };
            }
        }
        0
    }

    /// The `gro_receive` of the socket: a device has received a datagram for it, perhaps.
    ///
    /// # Safety
    ///
    /// As `struct udp_tunnel_sock_cfg` has it, with a socket made by [`Self::create`].
    unsafe extern "C" fn gro_receive(
        sk: *mut bindings::sock,
        head: *mut bindings::list_head,
        skb: *mut bindings::sk_buff,
    ) -> *mut bindings::sk_buff {
        // SAFETY: By the safety requirement; GRO is in an RCU read-side critical section.
        let keep = unsafe { Self::receiver_of(sk) }.is_some_and(T::may_aggregate);
        // SAFETY: By the safety requirement.
        unsafe { bindings::helper_udp_gro_receive(head, skb, keep) }
    }
}

impl<T: EncapReceive> Drop for UdpTunnelSocket<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A socket to send on.
///
/// # Invariants
///
/// `sk` is an open socket that is not closed, and whose namespace is not torn down, during `'g`.
/// RCU is read-locked and bottom halves are off on this CPU during `'g`.
#[derive(Clone, Copy)]
pub(crate) struct LiveSocket<'g> {
    sk: NonNull<bindings::sock>,
    port: u16,
    _p: PhantomData<(&'g rcu::Guard, &'g BhGuard)>,
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
        // SAFETY: By the type invariant the socket is open. What namespace it is in never changes.
        unsafe { (*self.sk()).__sk_common.skc_net.net }
    }

    /// `security_sk_classify_flow()`: has the security modules mark the flow as one of this socket.
    pub(crate) fn classify4(&self, flow: &mut Flow4) {
        // SAFETY: By the type invariant the socket is open; the flow begins with the part the
        // function takes.
        unsafe { bindings::security_sk_classify_flow(self.sk(), flow.as_raw().cast()) };
    }

    /// As [`Self::classify4`].
    pub(crate) fn classify6(&self, flow: &mut Flow6) {
        // SAFETY: As in `classify4()`.
        unsafe { bindings::security_sk_classify_flow(self.sk(), flow.as_raw().cast()) };
    }

    /// `inet_confirm_addr()`: whether `addr` (network byte order) is an address of some interface.
    pub(crate) fn has_addr4(&self, addr: [u8; 4]) -> bool {
        // SAFETY: By the type invariant the namespace is usable and RCU read-locked.
        let found = unsafe {
            bindings::inet_confirm_addr(
                self.net(),
                ptr::null_mut(),
                0,
                u32::from_ne_bytes(addr),
                bindings::rt_scope_t_RT_SCOPE_HOST as c_int,
            )
        };
        found != 0
    }

    /// `ipv6_chk_addr()`: whether `addr` (network byte order) is an address of some interface, and
    /// usable.
    pub(crate) fn has_addr6(&self, addr: [u8; 16]) -> bool {
        let mut in6 = bindings::in6_addr::default();
        in6.in6_u.u6_addr8 = addr;
        // SAFETY: By the type invariant the namespace is usable.
        unsafe { bindings::ipv6_chk_addr(self.net(), &in6, ptr::null(), 0) != 0 }
    }

    /// `ip_route_output_flow()`: looks up a route. Sets the source address of the flow if it has
    /// none.
    ///
    /// Fails with `EINVAL` if the source address is not one of this machine, and as the routing
    /// table says otherwise.
    pub(crate) fn route4(&self, flow: &mut Flow4) -> Result<Route4> {
        // SAFETY: By the type invariant socket and namespace are usable.
        let rt = from_err_ptr(unsafe {
            bindings::ip_route_output_flow(self.net(), flow.as_raw(), self.sk())
        })?;
        // SAFETY: It is an IPv4 route with a reference for us.
        unsafe { Route4::from_raw(rt) }.ok_or(ENETUNREACH)
    }

    /// `ip6_dst_lookup_flow()`: looks up a route. Sets the source address of the flow if it has
    /// none.
    pub(crate) fn route6(&self, flow: &mut Flow6) -> Result<Route6> {
        // SAFETY: By the type invariant socket and namespace are usable.
        let dst = from_err_ptr(unsafe {
            bindings::ip6_dst_lookup_flow(self.net(), self.sk(), flow.as_raw(), ptr::null())
        })?;
        // SAFETY: It is an IPv6 route with a reference for us.
        unsafe { Route6::from_raw(dst) }.ok_or(ENETUNREACH)
    }

    /// `udp_tunnel_xmit_skb()`: sends `skb` as a datagram by `route`.
    ///
    /// If it gets lost on the way through the stack, that shows in the statistics of the device. It
    /// may be fragmented. An error means that it was dropped before: `ENOMEM`, or `ENODEV` if the
    /// device is not registered.
    #[inline]
    pub(crate) fn xmit4(&self, route: &Route4, skb: SkBuff, outer: &Outer<'_, [u8; 4]>) -> Result {
        // SAFETY: The packet is ours and goes to the function. The socket is open, the route and
        // the device are valid for the time of the call. RCU is read-locked and bottom halves are
        // off by the type invariant, which the count of recursions relies on. The function looks
        // whether `dev` has statistics, makes room for the headers, and takes a reference of its
        // own to the route.
        to_result(unsafe {
            bindings::helper_udp_tunnel_xmit4(
                self.sk(),
                route.as_raw(),
                skb.into_raw(),
                outer.dev.as_raw(),
                outer.mark,
                outer.ds,
                u32::from_ne_bytes(outer.saddr),
                u32::from_ne_bytes(outer.daddr),
                outer.dport.to_be(),
            )
        })
    }

    /// `udp_tunnel6_xmit_skb()`: as [`Self::xmit4`], with IPv6.
    #[inline]
    pub(crate) fn xmit6(&self, route: &Route6, skb: SkBuff, outer: &Outer<'_, [u8; 16]>) -> Result {
        let mut saddr = bindings::in6_addr::default();
        let mut daddr = bindings::in6_addr::default();
        saddr.in6_u.u6_addr8 = outer.saddr;
        daddr.in6_u.u6_addr8 = outer.daddr;
        // SAFETY: As in `xmit4()`; the addresses are valid for the time of the call.
        to_result(unsafe {
            bindings::helper_udp_tunnel_xmit6(
                self.sk(),
                route.as_dst(),
                skb.into_raw(),
                outer.dev.as_raw(),
                outer.mark,
                outer.ds,
                &saddr,
                &daddr,
                outer.dport.to_be(),
            )
        })
    }
}

/// The outside of a datagram, with addresses of type `A` in network byte order.
pub(crate) struct Outer<'a, A> {
    /// The tunnel's device, whose statistics count the datagram.
    pub(crate) dev: &'a NetDevice,
    /// The firewall mark, 0 for none.
    pub(crate) mark: u32,
    /// TOS or traffic class.
    pub(crate) ds: u8,
    /// The source address.
    pub(crate) saddr: A,
    /// The destination address.
    pub(crate) daddr: A,
    /// The destination port, in host byte order.
    pub(crate) dport: u16,
}
