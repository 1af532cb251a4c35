// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel that tunnels are made of.
//!
//! A socket belongs to a network namespace but does not keep it alive, so the socket has to be gone
//! before the namespace is. [`Registration`] takes care of that: the core tells it of namespaces
//! that go away, and it closes the sockets that are still open in them.
//!
//! ```text
//!   create() ──> open ──── release() or drop ───────────────────────> closed ──> grace period
//!                  └────── its namespace goes away (Registration) ──────┘              ▼
//!                                                                              receiver dropped
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
    error::to_result,
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
    ip::{
        Version,
        V4,
        V6, //
    },
    net_namespace::{
        Net,
        PernetDevice,
        PernetExit,
        WeakNet, //
    },
    rcu::{
        self,
        synchronize_net,
        GracePeriod, //
    },
    skbuff::{
        DropReason,
        SkBuff, //
    },
};

mod live;

pub(crate) use live::{
    LiveSocket,
    Outer,
    SocketOf, //
};

/// The open sockets of this module. They are created and removed in process context.
struct OpenSockets {
    /// Whether the core tells us of namespaces that go away. Without that no socket may be open.
    registered: bool,
    sockets: List<Slot>,
}

global_lock! {
    // SAFETY: The first `Registration::new()` calls `init()`, and the lock is only used after
    // `READY` was seen set.
    unsafe(uninit) static OPEN: Mutex<OpenSockets> = OpenSockets {
        registered: false,
        sockets: List::new(),
    };
}

/// Whether a [`Registration`] was begun. There is one in the life of the module.
static CLAIMED: Atomic<bool> = Atomic::new(false);
/// Whether `OPEN` is initialised. The store in `Registration::new()` pairs with the load in
/// `UdpTunnelSocket::create()`.
static READY: Atomic<bool> = Atomic::new(false);

/// The place of a socket, until it is closed.
///
/// # Invariants
///
/// * `sk` is null or an open socket of [`UdpTunnelSocket::create`].
/// * `sk` is exchanged for null with `OPEN` held. The namespace of the socket is not torn down
///   (`exit` methods of the core) before that has happened and a grace period has passed.
#[pin_data]
struct Slot {
    sk: Atomic<*mut bindings::sock>,
    /// The links in `OPEN`; the slot is on no other list.
    #[pin]
    links: ListLinks,
}

impl Slot {
    /// A place without a socket.
    fn new() -> Result<ListArc<Self>> {
        ListArc::pin_init::<Error>(
            try_pin_init!(Self {
                sk: Atomic::new(ptr::null_mut()),
                links <- ListLinks::new(),
            }),
            GFP_KERNEL,
        )
    }
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Slot { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Slot { using ListLinks { self.links }; }
}

/// The module's registration for namespaces that go away. Without it no socket can be created.
///
/// Made when the module is loaded, dropped when it is unloaded.
pub(crate) struct Registration {
    _pernet: Pin<KBox<PernetDevice<CloseAll>>>,
}

impl Registration {
    /// Allows sockets to be created. Works once in the life of the module (`EBUSY` otherwise).
    /// Process context, without the RTNL.
    pub(crate) fn new() -> Result<Self> {
        if CLAIMED.xchg(true, Full) {
            return Err(EBUSY);
        }
        // SAFETY: This call set `CLAIMED`, which is never cleared, so `init()` is called once.
        unsafe { OPEN.init() };
        READY.store(true, Release);
        let pernet = KBox::pin_init(PernetDevice::new(), GFP_KERNEL)?;
        OPEN.lock().registered = true;
        Ok(Self { _pernet: pernet })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // From here on no socket is created. Dropping the registration with the core closes those
        // that are left.
        OPEN.lock().registered = false;
    }
}

/// Closes the sockets of a namespace that goes away, for [`Registration`].
struct CloseAll;

impl PernetExit for CloseAll {
    fn exit(net: &WeakNet) {
        let mut open = OPEN.lock();
        let mut cursor = open.sockets.cursor_front();
        while let Some(slot) = cursor.peek_next() {
            let sk = slot.sk.load(Relaxed);
            // SAFETY: By the invariant of `Slot` the socket, if it is not null, is open. It stays
            // so: `OPEN` is held.
            if !sk.is_null() && !net.is_raw(unsafe { (*sk).__sk_common.skc_net.net }) {
                cursor.move_next();
                continue;
            }
            let slot = slot.remove();
            if slot.sk.xchg(ptr::null_mut(), Full).is_null() {
                continue;
            }
            // This wait is for those that still send on the socket, the one below for those that
            // still receive.
            synchronize_net();
            // SAFETY: The socket was open, is out of reach now, and has no user left after the
            // wait. The core calls this function before it tears the namespace down.
            unsafe { close(sk) };
            synchronize_net();
        }
    }
}

/// Makes a socket of C on `port`, with the buffers that [`UdpTunnelSocket::new_ip4`] promises.
/// Returns the port that it is bound to, too.
fn new_sock<V: Version>(
    net: &Net,
    port: u16,
    mut cfg: bindings::udp_port_cfg,
) -> Result<(*mut bindings::sock, u16)> {
    cfg.family = V::FAMILY as u8;
    cfg.local_udp_port = port.to_be();
    let mut socket = ptr::null_mut();
    // SAFETY: The namespace is alive, and `cfg` names this version.
    to_result(unsafe { V::sock_create(net.as_raw(), &mut cfg, &mut socket) })?;
    // SAFETY: On success `socket` is a new socket.
    let sk = unsafe { (*socket).sk };
    // SAFETY: The socket is new: nothing sends on it yet, and only senders read this field.
    unsafe { (*sk).sk_allocation = bindings::GFP_ATOMIC };
    // SAFETY: As above.
    unsafe { (*sk).sk_sndbuf = i32::MAX };
    // SAFETY: The socket is valid, and nothing else changes its flags yet.
    unsafe { bindings::sk_set_memalloc(sk) };
    // SAFETY: A UDP socket begins with an `inet_sock`. Its port does not change once it is bound.
    let port = unsafe { (*sk.cast::<bindings::inet_sock>()).inet_sport };
    Ok((sk, u16::from_be(port)))
}

/// Closes a socket.
///
/// # Safety
///
/// `sk` must be an open socket of [`UdpTunnelSocket::create`] that no other user has any more, in a
/// namespace that is not torn down before this returns. Process context.
unsafe fn close(sk: *mut bindings::sock) {
    // SAFETY: By the safety requirement the socket is open, and ours; `create()` has set what this
    // clears.
    unsafe { bindings::sk_clear_memalloc(sk) };
    // SAFETY: By the safety requirement the socket is still open, has no other user, and its
    // namespace is there.
    unsafe { bindings::udp_tunnel_sock_release(sk) };
}

/// The receiver of the datagrams of a [`UdpTunnelSocket`].
pub(crate) trait EncapReceive: Send + Sync + 'static {
    /// Takes a datagram. The data of `skb` begin with the UDP header, whose checksum is right.
    /// `skb` is one datagram, not an aggregate.
    ///
    /// Softirq context, in an RCU read-side critical section; may run on several CPUs concurrently.
    /// The datagrams of a flow come in the order of the network stack, on the CPU that the stack
    /// handles them on.
    fn receive(&self, skb: SkBuff, bh: &BhGuard);

    /// Whether GRO may keep the datagrams of a flow together on their way here, as an aggregate
    /// whose parts have their own buffers and headers (`SKB_GSO_FRAGLIST`). The core takes it apart
    /// again before [`Self::receive`] is called.
    ///
    /// Context as for [`Self::receive`]. Called for each datagram that a device with GRO receives.
    fn may_aggregate(&self) -> bool;
}

/// The receiver of a closed socket. It is dropped when no datagram is on its way to it any more.
///
/// Dropping it sleeps for up to a grace period (none if one has passed since the socket was
/// closed).
///
/// # Invariants
///
/// `grace` was made after the socket's user data were cleared, or is `None` if a grace period was
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
/// Dropping it closes the socket: process context, it sleeps.
///
/// # Invariants
///
/// * `slot` was made for this socket, and is in `OPEN` unless the socket is closed.
/// * `family` is the address family of the socket.
/// * While the socket is open, its `sk_user_data` is null or the pointer that `receiver` holds.
pub(crate) struct UdpTunnelSocket<T: EncapReceive> {
    slot: Arc<Slot>,
    family: u16,
    port: u16,
    /// Set if the user data were cleared before the socket was closed.
    deaf: SetOnce<GracePeriod>,
    /// Dropped after the socket has been closed.
    receiver: Receiver<T>,
}

impl<T: EncapReceive> UdpTunnelSocket<T> {
    /// Opens an IPv4 socket in `net` on all addresses and on `port` (host byte order; 0: a free
    /// one).
    ///
    /// The socket makes and checks checksums. It allocates with `GFP_ATOMIC`, also from the
    /// emergency reserves, and its send buffer has no limit. Process context. Fails with
    /// `EADDRINUSE` if the port is taken, and with `ENODEV` without a [`Registration`].
    pub(crate) fn new_ip4(net: &Net, port: u16, receiver: Arc<T>) -> Result<Self> {
        let mut cfg = bindings::udp_port_cfg::default();
        cfg.set_use_udp_checksums(1);
        Self::create::<V4>(net, port, cfg, receiver)
    }

    /// Opens an IPv6 socket, which does not take IPv4 datagrams; everything else as for
    /// [`Self::new_ip4`].
    ///
    /// Fails with `EAFNOSUPPORT` if this kernel was booted without IPv6.
    pub(crate) fn new_ip6(net: &Net, port: u16, receiver: Arc<T>) -> Result<Self> {
        let mut cfg = bindings::udp_port_cfg::default();
        cfg.set_use_udp6_tx_checksums(1);
        cfg.set_use_udp6_rx_checksums(1);
        cfg.set_ipv6_v6only(1);
        Self::create::<V6>(net, port, cfg, receiver)
    }

    fn create<V: Version>(
        net: &Net,
        port: u16,
        cfg: bindings::udp_port_cfg,
        receiver: Arc<T>,
    ) -> Result<Self> {
        // The lower bits of `sk_user_data` are flags of the core.
        const { assert!(align_of::<T>() >= 8) };

        if !READY.load(Acquire) {
            return Err(ENODEV);
        }
        let entry = Slot::new()?;
        let slot = entry.clone_arc();
        let (sk, port) = new_sock::<V>(net, port, cfg)?;
        let user_data = Arc::as_ptr(&receiver).cast_mut().cast();
        slot.sk.store(sk, Release);
        // INVARIANT: The slot is for this socket, whose user data is about to be set to the pointer
        // that the receiver holds. The namespace is alive for the time of this function, and the
        // slot is in `OPEN` on a successful return. `new_sock::<V>()` made a socket of the family
        // `V::FAMILY`.
        let this = Self {
            slot,
            family: V::FAMILY,
            port,
            deaf: SetOnce::new(),
            receiver: Receiver {
                grace: None,
                data: Some(receiver),
            },
        };
        let mut cfg = bindings::udp_tunnel_sock_cfg {
            sk_user_data: user_data,
            // Any number but 0: the core has no type for what the callbacks take.
            encap_type: 1,
            encap_rcv: Some(Self::encap_rcv),
            gro_receive: Some(Self::gro_receive),
            ..Default::default()
        };
        // SAFETY: The socket is new and ours, and in this namespace. The callbacks expect the type
        // that the user data has, and the user data stays valid for as long as they run: see
        // `drop()`. `cfg` is only read.
        unsafe { bindings::setup_udp_tunnel_sock(net.as_raw(), sk, &mut cfg) };
        // Without this the core would compute new checksums for the datagrams of an aggregate that
        // it takes apart. This receiver does not read them.
        // SAFETY: The socket is ours, and the function above has raised the count that this lowers.
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
        // INVARIANT: By the invariant of `Slot` the socket is open. If its namespace goes away, the
        // socket and the namespace stay until the end of this critical section. `self`, whose drop
        // closes the socket, is borrowed for `'g`. `family` is the socket's, by the invariant of
        // `self`.
        NonNull::new(self.slot.sk.load(Acquire)).map(|sk| LiveSocket {
            sk,
            family: self.family,
            port: self.port,
            _p: PhantomData,
        })
    }

    /// Gives the receiver no datagram that comes from now on: the socket drops them. The receiver
    /// may still be busy with earlier ones until a grace period has passed. Closing the socket does
    /// not wait for that period again. Process context.
    pub(crate) fn deafen(&self) {
        let _open = OPEN.lock();
        let sk = self.slot.sk.load(Relaxed);
        if sk.is_null() {
            return;
        }
        // SAFETY: By the invariant of `Slot` the socket is open, and stays so: `OPEN` is held. Only
        // an address is taken.
        let user_data = unsafe { &raw mut (*sk).sk_user_data };
        // SAFETY: The field of an open socket is valid and aligned, and C accesses it atomically.
        unsafe { Atomic::from_ptr(user_data) }.store(ptr::null_mut(), Release);
        self.deaf.populate(GracePeriod::next());
    }

    /// Closes the socket now, and returns the receiver, which has to wait for a grace period. To
    /// close several sockets at the cost of one grace period, close all of them, then drop the
    /// results.
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
        // SAFETY: The slot is on no other list than this one.
        let entry = unsafe { open.sockets.remove(&self.slot) };
        let sk = self.slot.sk.xchg(ptr::null_mut(), Full);
        if sk.is_null() {
            return;
        }
        // SAFETY: By the invariant of `Slot` the socket is open. Its namespace is not torn down
        // before `OPEN` is released, or, if the slot did not get into the list, before `create()`
        // returns. `self` is borrowed exclusively, so nothing sends on the socket.
        unsafe { close(sk) };
        drop((open, entry));
        self.receiver.grace = Some(self.deaf.copy().unwrap_or_else(GracePeriod::next));
    }

    /// The receiver of a socket's datagrams, unless the socket is being closed.
    ///
    /// # Safety
    ///
    /// `sk` must be a socket made by [`Self::create`]. The caller must be in an RCU read-side
    /// critical section that lasts for `'g`.
    unsafe fn receiver_of<'g>(sk: *mut bindings::sock) -> Option<&'g T> {
        // SAFETY: By the safety requirement the socket is valid; only an address is taken.
        let user_data = unsafe { &raw mut (*sk).sk_user_data };
        // SAFETY: The field of a valid socket is valid and aligned. It may be written concurrently,
        // so it is read atomically. Pairs with the store in `deafen()`.
        let data: *mut c_void = unsafe { Atomic::from_ptr(user_data) }.load(Acquire);
        // SAFETY: The user data of a socket of `create()` is null or the `T` that its `Receiver`
        // holds, which is dropped no sooner than a grace period after the pointer was cleared.
        NonNull::new(data.cast::<T>()).map(|data| unsafe { data.as_ref() })
    }

    /// The `encap_rcv` of the socket. It takes every datagram: 0 is returned.
    ///
    /// # Safety
    ///
    /// `sk` must be a socket made by [`Self::create`], `skb` a packet that the caller gives away,
    /// with its data at the UDP header. Softirq context, in an RCU read-side critical section.
    unsafe extern "C" fn encap_rcv(sk: *mut bindings::sock, skb: *mut bindings::sk_buff) -> c_int {
        // SAFETY: By the safety requirement the packet is valid and ours.
        unsafe { bindings::helper_skb_detach(skb) };
        // SAFETY: A valid packet is not null.
        let skb = unsafe { NonNull::new_unchecked(skb) };
        // SAFETY: The packet is ours and on no list, and it has forgotten its route and device.
        let skb = unsafe { SkBuff::from_raw(skb) };
        // The core has taken every aggregate apart, unless it claims to have a tunnel inside. No
        // datagram of this socket does so.
        if skb.is_gso() {
            skb.discard(DropReason::Protocol);
            return 0;
        }
        // SAFETY: By the safety requirement.
        if let Some(receiver) = unsafe { Self::receiver_of(sk) } {
            // SAFETY: By the safety requirement this is softirq context.
            unsafe { BhGuard::already(|bh| receiver.receive(skb, bh)) };
        } else {
            skb.discard(DropReason::NotReady);
        }
        0
    }

    /// The `gro_receive` of the socket: a device has received a datagram that may be for it.
    ///
    /// # Safety
    ///
    /// As `struct udp_tunnel_sock_cfg` requires. The socket may be another one: while there is only
    /// one kind of tunnel, the core calls its function for any socket that has one, and learns
    /// of a second kind a moment after the first socket of that kind.
    unsafe extern "C" fn gro_receive(
        sk: *mut bindings::sock,
        head: *mut bindings::list_head,
        skb: *mut bindings::sk_buff,
    ) -> *mut bindings::sk_buff {
        // SAFETY: By the safety requirement the socket is a valid UDP socket.
        let is_ours = unsafe { bindings::helper_udp_has_encap_rcv(sk, Some(Self::encap_rcv)) };
        // SAFETY: By the safety requirement and the check above; GRO runs in an RCU read-side
        // critical section.
        let keep = is_ours && unsafe { Self::receiver_of(sk) }.is_some_and(T::may_aggregate);
        // SAFETY: By the safety requirement.
        unsafe { bindings::helper_udp_gro_receive(head, skb, keep) }
    }
}

impl<T: EncapReceive> Drop for UdpTunnelSocket<T> {
    fn drop(&mut self) {
        self.close();
    }
}
