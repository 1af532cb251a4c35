// SPDX-License-Identifier: GPL-2.0

//! The kinds of devices that `ip link add type …` can make, and their devices by index or name.
//!
//! C header: [`include/net/rtnetlink.h`](srctree/include/net/rtnetlink.h)

use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    },
    sync::Arc, //
};

use super::{
    Driver,
    Handle,
    Operations,
    Private, //
};
use crate::linux::{
    bindings,
    compat::code::EOPNOTSUPP,
    net_namespace::Net,
    netdevice::NetDevice,
    rcu,
    registration::{
        self,
        Register, //
    }, //
};

/// A kind of network devices, registered with `rtnl_link_register()`. Process context. Registering
/// fails with `EEXIST` if there is a kind of that name.
///
/// Dropping this deletes all devices of the kind, in all namespaces. On return they have been
/// destroyed. Process context, without the RTNL.
pub(crate) type Registration<D> = registration::Registration<Kind<D>>;

/// The kind of registration of a [`Registration`].
pub(crate) struct Kind<D>(PhantomData<D>);

// SAFETY: If registering fails, the structure is on no list. When unregistering returns, all
// devices of the kind are unregistered and their destructors have run, those included that another
// task had begun to delete.
unsafe impl<D: Driver> Register for Kind<D> {
    type Raw = bindings::rtnl_link_ops;

    fn raw() -> bindings::rtnl_link_ops {
        bindings::rtnl_link_ops {
            kind: D::KIND.as_char_ptr(),
            priv_size: size_of::<Private<D>>(),
            setup: Some(Operations::<D>::setup),
            newlink: Some(Self::newlink),
            ..pin_init::zeroed()
        }
    }

    unsafe fn register(raw: *mut bindings::rtnl_link_ops) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { bindings::rtnl_link_register(raw) }
    }

    unsafe fn unregister(raw: *mut bindings::rtnl_link_ops) {
        // SAFETY: By the safety requirement.
        unsafe { bindings::rtnl_link_unregister(raw) };
    }
}

impl<D: Driver> Kind<D> {
    /// # Safety
    ///
    /// * `dev` must be valid, set up by this kind, and not registered; nothing else may use it.
    /// * `params` must be valid.
    /// * The RTNL must be held.
    unsafe extern "C" fn newlink(
        dev: *mut bindings::net_device,
        params: *mut bindings::rtnl_newlink_params,
        _extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: `params` is valid by the safety requirement.
        let net = unsafe { bindings::rtnl_newlink_link_net(params) };
        // SAFETY: The request holds the namespace, through its socket or by a reference of its own.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: By the safety requirement.
        match unsafe { Self::create(dev, net) } {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As for `newlink()`.
    unsafe fn create(dev: *mut bindings::net_device, net: &Net) -> Result {
        // SAFETY: By the safety requirement the device is valid, and for longer than this function
        // runs: if this fails the caller frees it, otherwise it is registered.
        let netdev = unsafe { NetDevice::from_raw(dev) };
        // SAFETY: The device is valid. It is freed after this function has failed or after the
        // destructor. In the first case this function revokes the handle and waits for a grace
        // period, see below. In the second `uninit()` has revoked the handle, and the core has
        // waited for a grace period.
        let handle = unsafe { Handle::new(dev) }?;
        let driver = match D::new(handle.clone(), net) {
            Ok(driver) => driver,
            Err(e) => {
                handle.revoke();
                rcu::synchronize_net();
                return Err(e);
            }
        };
        // SAFETY: The device was allocated for this kind, so its private memory is a place for the
        // value. Nothing reads that memory before the device is registered.
        unsafe { Private::<D>::ptr(dev).write(Private::new(driver.clone(), handle.clone())) };
        // SAFETY: The NAPIs are new. `teardown()` or the destructor removes them, while the device
        // is still valid and its private memory still has this handle. The poll function needs that
        // memory, which is initialised now.
        unsafe { handle.napis().add(dev, Operations::<D>::poll) };
        // SAFETY: The device was set up, and the RTNL is held, by the safety requirement.
        if let Err(e) = to_result(unsafe { bindings::register_netdevice(dev) }) {
            // The device may have been registered and unregistered again, and be freed when the
            // RTNL is released. It was never open, and the core has no destructor to call.
            // SAFETY: The device is not registered any more; its private memory was initialised and
            // its NAPIs were enabled above.
            unsafe { Operations::<D>::teardown(dev) };
            return Err(e);
        }
        // Set only now, so that the core does not call it if registering fails.
        // SAFETY: The device is valid, and unregistering it needs the RTNL, which is held.
        unsafe { (*dev).priv_destructor = Some(Operations::<D>::destructor) };
        D::registered(driver.as_arc_borrow(), netdev);
        Ok(())
    }
}

/// The driver of the device with index `ifindex` in `net`. Any context.
///
/// Fails with `ENODEV` if there is no such device, and with `EOPNOTSUPP` if the device is not of
/// `D`'s kind.
pub(crate) fn find_by_index<D: Driver>(net: &Net, ifindex: u32) -> Result<Arc<D>> {
    find(
        net,
        &Key::Index(i32::try_from(ifindex).map_err(|_| ENODEV)?),
    )
}

/// The driver of the device in `net` that is called `name`, or has it as an alternative name. Any
/// context.
///
/// Fails as [`find_by_index`] does.
pub(crate) fn find_by_name<D: Driver>(net: &Net, name: &CStr) -> Result<Arc<D>> {
    find(net, &Key::Name(name))
}

/// How a device is looked up.
enum Key<'a> {
    Index(i32),
    Name(&'a CStr),
}

fn find<D: Driver>(net: &Net, key: &Key<'_>) -> Result<Arc<D>> {
    let _guard = rcu::Guard::new();
    let dev = match key {
        Key::Index(index) => {
            // SAFETY: The namespace is valid, and we are in a read-side critical section.
            unsafe { bindings::dev_get_by_index_rcu(net.as_raw(), *index) }
        }
        Key::Name(name) => {
            // SAFETY: As above; `name` is terminated.
            unsafe { bindings::dev_get_by_name_rcu(net.as_raw(), name.as_char_ptr()) }
        }
    };
    if dev.is_null() {
        return Err(ENODEV);
    }
    // SAFETY: The device was found registered, so it is valid during the critical section; its
    // operations do not change.
    let ops = unsafe { (*dev).netdev_ops };
    // SAFETY: As above; the kind that made it does not change either.
    let link_ops = unsafe { (*dev).rtnl_link_ops };
    if link_ops.is_null() || !core::ptr::eq(ops, Operations::<D>::netdev_ops()) {
        return Err(EOPNOTSUPP);
    }
    // SAFETY: The kind of a device stays registered until all of its devices are gone, and its name
    // does not change.
    let kind = unsafe { (*link_ops).kind };
    // The operations show that the device is one of this module's, and there is only one kind of a
    // name at a time.
    // SAFETY: As above; both names are terminated.
    if unsafe { bindings::strcmp(kind, D::KIND.as_char_ptr()) } != 0 {
        return Err(EOPNOTSUPP);
    }
    // SAFETY: The device is of this kind. `create()` made it, and registered it after the private
    // memory was initialised. That memory is dropped a grace period after the device cannot be
    // found any more.
    let private = unsafe { Private::<D>::of(dev) };
    Ok(private.driver().clone())
}
