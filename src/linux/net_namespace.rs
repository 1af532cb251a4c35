// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.
//!
//! A [`Net`] is a namespace that is alive: whoever has an `ARef<Net>` keeps it so. A [`WeakNet`] only keeps its
//! memory, to ask later whether it is still there: what a device wants that uses a namespace but must not pin it.
//!
//! ```text
//!   ARef<Net> ──┐                             last one gone
//!   sockets,    ├──> alive: Net, WeakNet ────────────────────> exiting: PernetExit::exit() ──> dead
//!   processes ──┘    upgrade() works                           upgrade() fails from here on
//! ```
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use super::bindings;

/// A live `struct net`.
///
/// # Invariants
///
/// A reference to this type refers to a valid `struct net` whose count (`net->ns.__ns_ref`) stays above zero
/// during the reference's lifetime.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: What this type offers of a `struct net` may be used from any thread, and the last reference may be
// dropped by any of them.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

// SAFETY: A count of `get_net()` keeps the namespace alive until `put_net()` gives it back, and every `Net` is
// counted: by the type invariant the count of one that can be referred to is not zero, so that raising it is fine.
unsafe impl AlwaysRefCounted for Net {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the namespace is valid, and its count not zero.
        unsafe { bindings::get_net(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a count. The namespace is cleaned up by a worker, so any context will do.
        unsafe { bindings::put_net(obj.cast().as_ptr()) };
    }
}

impl Net {
    /// Looks at a namespace of C.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid, and the count of the namespace must not drop to zero during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::net {
        self.0.get()
    }

    /// A reference that does not keep the namespace alive. Any context.
    pub(crate) fn downgrade(&self) -> WeakNet {
        WeakNet::from(self)
    }

    /// `net->net_cookie`: a number that no other namespace has had or will have since boot.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: By the type invariant the namespace is valid; the cookie is set once, before anybody sees it.
        unsafe { (*self.as_raw()).net_cookie }
    }

    /// Whether the current task has `CAP_NET_ADMIN` in the user namespace that owns this network namespace.
    ///
    /// Process context. The use of the capability is noted in the task's flags, and by the audit of the security
    /// modules.
    pub(crate) fn is_net_admin(&self) -> bool {
        // SAFETY: By the type invariant the namespace is valid; the field is set once, before anybody sees it.
        let user_ns = unsafe { (*self.as_raw()).user_ns };
        // SAFETY: The user namespace is held by the network namespace for as long as that is alive, which it is by
        // the type invariant.
        unsafe { bindings::ns_capable(user_ns, bindings::CAP_NET_ADMIN as c_int) }
    }
}

impl PartialEq for Net {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for Net {}

/// A reference to a namespace that does not keep it alive.
///
/// Clone and make it in any context, but drop it in process context only: that takes a spinlock of the core that
/// is not safe against softirqs.
///
/// # Invariants
///
/// `ptr` points to a `struct net` of which this value owns one count of `passive`, which keeps the memory, but
/// neither the contents nor the namespace.
#[repr(transparent)]
pub(crate) struct WeakNet {
    ptr: NonNull<bindings::net>,
}

// SAFETY: Counts may be given back by any thread, and are atomic.
unsafe impl Send for WeakNet {}
// SAFETY: As above.
unsafe impl Sync for WeakNet {}

impl WeakNet {
    /// The namespace, if it is still alive. Any context.
    pub(crate) fn upgrade(&self) -> Option<ARef<Net>> {
        // SAFETY: By the type invariant the memory is valid. The function only adds a count if there is one.
        let net = unsafe { bindings::maybe_get_net(self.ptr.as_ptr()) };
        // SAFETY: If it is not null it is the same pointer, which is valid, and we own the count just added.
        NonNull::new(net).map(|net| unsafe { ARef::from_raw(net.cast()) })
    }

    /// Whether this refers to `net`.
    pub(crate) fn is(&self, net: &Net) -> bool {
        self.ptr.as_ptr() == net.as_raw()
    }

    /// Whether this refers to the namespace at `net`, which is only compared.
    pub(super) fn is_raw(&self, net: *const bindings::net) -> bool {
        self.ptr.as_ptr().cast_const() == net
    }
}

impl From<&Net> for WeakNet {
    fn from(net: &Net) -> Self {
        let ptr = net.as_raw();
        // SAFETY: The namespace is alive, so `passive` is not zero.
        unsafe { bindings::net_passive_inc(ptr) };
        // INVARIANT: The new value owns the count just added.
        Self {
            // SAFETY: It comes from a reference.
            ptr: unsafe { NonNull::new_unchecked(ptr) },
        }
    }
}

impl Clone for WeakNet {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant there is a count already.
        unsafe { bindings::net_passive_inc(self.ptr.as_ptr()) };
        // INVARIANT: The new value owns the count just added.
        Self { ptr: self.ptr }
    }
}

impl PartialEq for WeakNet {
    fn eq(&self, other: &Self) -> bool {
        // The memory is not used again while one of them refers to it, so the address is the namespace.
        self.ptr == other.ptr
    }
}

impl Eq for WeakNet {}

impl Drop for WeakNet {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the memory is valid; only an address is taken.
        let ns = unsafe { &raw mut (*self.ptr.as_ptr()).ns };
        // `net_passive_dec()` is not exported. The operations of the namespace's kobjects are, and they drop the
        // very same count.
        // SAFETY: By the type invariant there is a count to give up. The field `ns` is what `net_drop_ns()` takes.
        unsafe { bindings::kobj_ns_drop(bindings::kobj_ns_type_KOBJ_NS_TYPE_NET, ns) };
    }
}

/// What a module does when a namespace goes away.
pub(crate) trait PernetExit: 'static {
    /// `net` is about to go away: everything of it that the module uses, sockets above all, has to be gone on return.
    ///
    /// Runs in process context with the RTNL held, may sleep, and cannot get hold of the namespace any more
    /// ([`WeakNet::upgrade`] fails). Also runs for every namespace that is alive when the [`PernetDevice`] is
    /// dropped. Calls for several namespaces do not overlap.
    fn exit(net: &WeakNet);
}

/// A registration with `register_pernet_device()`: `T` is told of every namespace that goes away, before any other
/// part of the networking core has taken something of it apart that devices or sockets need.
///
/// Of several registrations the last one made is told first.
///
/// # Invariants
///
/// `ops` is registered from the end of the initialisation until the value is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct PernetDevice<T: PernetExit> {
    #[pin]
    ops: Opaque<bindings::pernet_operations>,
    _p: PhantomData<fn(T)>,
}

// SAFETY: There is nothing to do with the value but to drop it, which may be done from any thread.
unsafe impl<T: PernetExit> Send for PernetDevice<T> {}
// SAFETY: As above.
unsafe impl<T: PernetExit> Sync for PernetDevice<T> {}

impl<T: PernetExit> PernetDevice<T> {
    /// Registers `T`. Process context, without the RTNL; so is dropping the value.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ops <- Opaque::try_ffi_init(|slot: *mut bindings::pernet_operations| {
                let ops = bindings::pernet_operations {
                    exit_rtnl: Some(Self::exit_rtnl),
                    ..Default::default()
                };
                // SAFETY: The slot is valid for writing.
                unsafe { slot.write(ops) };
                // SAFETY: The structure is initialised, does not move any more, and is unregistered before it
                // goes away. If this fails it is not on any list.
                to_result(unsafe { bindings::register_pernet_device(slot) })
            }),
            _p: PhantomData,
        }? Error)
    }

    /// # Safety
    ///
    /// `net` must be valid for the time of the call, as in `struct pernet_operations`.
    unsafe extern "C" fn exit_rtnl(net: *mut bindings::net, _kill: *mut bindings::list_head) {
        let Some(ptr) = NonNull::new(net) else {
            return;
        };
        // The core has a count of `passive` for as long as it tears the namespace down: it is lent to `T`. What is
        // not dropped is not given back.
        let net = ManuallyDrop::new(WeakNet { ptr });
        T::exit(&net);
    }
}

#[pinned_drop]
impl<T: PernetExit> PinnedDrop for PernetDevice<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant it is registered. On return no callback runs any more.
        unsafe { bindings::unregister_pernet_device(self.ops.get()) };
    }
}
