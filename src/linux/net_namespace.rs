// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.
//!
//! A [`Net`] is a live namespace, and an `ARef<Net>` keeps it alive. A [`WeakNet`] keeps only its
//! memory, and [`WeakNet::upgrade`] says later whether the namespace is still alive. It is for a
//! device that uses a namespace but must not pin it.
//!
//! ```text
//!   ARef<Net> ──┐                             last one gone
//!   sockets,    ├──> alive: Net, WeakNet ──────────────────> exiting: PernetExit::exit() ──> dead
//!   processes ──┘    upgrade() works                         upgrade() fails from here on
//! ```
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    registration::{
        Register,
        Registration, //
    }, //
};

/// A live `struct net`.
///
/// # Invariants
///
/// A reference to this type refers to a valid `struct net` whose count (`net->ns.__ns_ref`) stays
/// above zero during the reference's lifetime.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: All functions of this type may be called from any thread, and any thread may drop the
// last reference.
unsafe impl Send for Net {}
// SAFETY: As above.
unsafe impl Sync for Net {}

// SAFETY: A count of `get_net()` keeps the namespace alive until `put_net()` gives it back. By the
// type invariant the count of a `Net` that can be referred to is not zero, so it may be raised.
unsafe impl AlwaysRefCounted for Net {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the namespace is valid, and its count is not zero.
        unsafe { bindings::get_net(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a count. A worker cleans the namespace up, so any context
        // will do.
        unsafe { bindings::put_net(obj.cast().as_ptr()) };
    }
}

impl Net {
    /// Borrows a namespace of C.
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

    /// `net->net_cookie`: a number that no other namespace has had or will have since boot.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: By the type invariant the namespace is valid. The cookie is set once, before the
        // namespace is published.
        unsafe { (*self.as_raw()).net_cookie }
    }

    /// Whether there is an interface with this index now. Any context but hard interrupts.
    pub(crate) fn has_ifindex(&self, ifindex: u32) -> bool {
        // SAFETY: By the type invariant the namespace is valid. An index that is no `int` belongs
        // to no interface.
        unsafe { bindings::helper_has_ifindex(self.as_raw(), ifindex as c_int) }
    }

    /// Whether the current task has `CAP_NET_ADMIN` in the user namespace that owns this network
    /// namespace.
    ///
    /// Process context. The check is recorded in the task's flags (`PF_SUPERPRIV`) and by the audit
    /// of the security modules.
    pub(crate) fn is_net_admin(&self) -> bool {
        // SAFETY: By the type invariant the namespace is valid. The field is set once, before the
        // namespace is published.
        let user_ns = unsafe { (*self.as_raw()).user_ns };
        // SAFETY: A live network namespace holds its user namespace, and by the type invariant this
        // one is alive.
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
/// It may be made and cloned in any context, but must be dropped in process context: the drop takes
/// a spinlock of the core without disabling softirqs.
///
/// # Invariants
///
/// `ptr` points to a `struct net`, and this value owns one count of its `passive`. The count keeps
/// the memory valid. It keeps neither the contents nor the namespace.
#[repr(transparent)]
pub(crate) struct WeakNet {
    ptr: NonNull<bindings::net>,
}

// SAFETY: Any thread may give back a count, and the counts are atomic.
unsafe impl Send for WeakNet {}
// SAFETY: As above.
unsafe impl Sync for WeakNet {}

impl WeakNet {
    /// The namespace, if it is still alive. Any context.
    pub(crate) fn upgrade(&self) -> Option<ARef<Net>> {
        // SAFETY: By the type invariant the memory is valid. The function adds a count only if the
        // count is not zero.
        let net = unsafe { bindings::maybe_get_net(self.ptr.as_ptr()) };
        // SAFETY: If `net` is not null it is the valid pointer that was passed, and this function
        // owns the count just added.
        NonNull::new(net).map(|net| unsafe { ARef::from_raw(net.cast()) })
    }

    /// Whether this refers to the namespace at `net`. The pointer is only compared.
    pub(super) fn is_raw(&self, net: *const bindings::net) -> bool {
        self.ptr.as_ptr().cast_const() == net
    }
}

impl From<&Net> for WeakNet {
    fn from(net: &Net) -> Self {
        // SAFETY: The namespace is alive, so `passive` is not zero.
        unsafe { bindings::net_passive_inc(net.as_raw()) };
        // INVARIANT: The new value owns the count just added.
        Self {
            ptr: NonNull::from(net).cast(),
        }
    }
}

impl Clone for WeakNet {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant this value owns a count, so `passive` is not zero.
        unsafe { bindings::net_passive_inc(self.ptr.as_ptr()) };
        // INVARIANT: The new value owns the count just added.
        Self { ptr: self.ptr }
    }
}

impl PartialEq for WeakNet {
    fn eq(&self, other: &Self) -> bool {
        // The memory is not reused while a value refers to it, so the address identifies the
        // namespace.
        self.ptr == other.ptr
    }
}

impl Eq for WeakNet {}

impl Drop for WeakNet {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the memory is valid; only an address is taken.
        let ns = unsafe { &raw mut (*self.ptr.as_ptr()).ns };
        // `net_passive_dec()` is not exported. `kobj_ns_drop()` is, and drops the same count.
        // SAFETY: By the type invariant this value owns a count to give up. `net_drop_ns()` takes a
        // pointer to the field `ns`.
        unsafe { bindings::kobj_ns_drop(bindings::kobj_ns_type_KOBJ_NS_TYPE_NET, ns) };
    }
}

/// The module's callback for a namespace that goes away.
pub(crate) trait PernetExit: 'static {
    /// `net` is about to go away. On return the module must not use any part of it; above all, the
    /// module's sockets in it have to be closed.
    ///
    /// Process context, with the RTNL held; may sleep. [`WeakNet::upgrade`] of `net` fails already.
    /// Also called for every namespace that is alive when the [`PernetDevice`] is dropped;
    /// [`WeakNet::upgrade`] may still work then. Calls for several namespaces do not overlap.
    fn exit(net: &WeakNet);
}

/// A registration with `register_pernet_device()`: [`PernetExit::exit`] of `T` is called for every
/// namespace that goes away, before the networking core frees any state in it that devices or
/// sockets need.
///
/// Of several registrations the latest is called first. Process context without the RTNL held, for
/// dropping the value too.
pub(crate) type PernetDevice<T> = Registration<Pernet<T>>;

/// The kind of registration of a [`PernetDevice`].
pub(crate) struct Pernet<T>(PhantomData<T>);

// SAFETY: If registering fails, the structure is on no list. When unregistering returns, no
// callback runs any more.
unsafe impl<T: PernetExit> Register for Pernet<T> {
    type Raw = bindings::pernet_operations;

    fn raw() -> bindings::pernet_operations {
        bindings::pernet_operations {
            exit_rtnl: Some(Self::exit_rtnl),
            ..Default::default()
        }
    }

    unsafe fn register(raw: *mut bindings::pernet_operations) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { bindings::register_pernet_device(raw) }
    }

    unsafe fn unregister(raw: *mut bindings::pernet_operations) {
        // SAFETY: By the safety requirement.
        unsafe { bindings::unregister_pernet_device(raw) };
    }
}

impl<T: PernetExit> Pernet<T> {
    /// # Safety
    ///
    /// `net` must be valid for the time of the call, as in `struct pernet_operations`.
    unsafe extern "C" fn exit_rtnl(net: *mut bindings::net, _kill: *mut bindings::list_head) {
        let Some(ptr) = NonNull::new(net) else {
            return;
        };
        // The core keeps a count of `passive` while it tears the namespace down, and lends it to
        // `T`. `ManuallyDrop` keeps the value from giving that count back.
        let net = ManuallyDrop::new(WeakNet { ptr });
        T::exit(&net);
    }
}
