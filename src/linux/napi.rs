// SPDX-License-Identifier: GPL-2.0

//! NAPI: processing of received packets in softirq context.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use core::marker::PhantomData;
use kernel::{
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

use super::{
    bindings,
    netdevice::NetDevice,
    skbuff::SkBuff, //
};

/// A NAPI that is being polled.
///
/// # Invariants
///
/// * `napi` is valid during `'a`, and is enabled. Its poll function is running on the current CPU
///   in the current context, with softirqs off.
/// * The device that the NAPI was added to is valid during `'a`.
pub(crate) struct NapiContext<'a> {
    napi: &'a Opaque<bindings::napi_struct>,
    _not_send: NotThreadSafe,
    _p: PhantomData<&'a NetDevice>,
}

impl<'a> NapiContext<'a> {
    /// # Safety
    ///
    /// * `napi` must be valid, and the caller must be its poll function.
    /// * The value may not be used after the poll function has returned.
    pub(super) unsafe fn new(napi: *mut bindings::napi_struct) -> Self {
        // INVARIANT: By the safety requirement the caller is the poll function of a NAPI. A poll
        // function runs with softirqs off. The device stays valid for as long as the NAPI is
        // enabled.
        Self {
            // SAFETY: By the safety requirement the NAPI is valid while its poll function runs.
            napi: unsafe { &*napi.cast() },
            _not_send: NotThreadSafe,
            _p: PhantomData,
        }
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::napi_struct {
        self.napi.get()
    }

    /// The device that the NAPI belongs to.
    pub(super) fn dev(&self) -> &'a NetDevice {
        // SAFETY: The NAPI is valid. By the type invariant it was added to a device, so the
        // field is set and constant.
        let dev = unsafe { (*self.as_raw()).dev };
        // SAFETY: By the type invariant the device is valid during `'a`.
        unsafe { NetDevice::from_raw(dev) }
    }

    /// `napi_complete_done()`: the poll function has processed `done` packets and found no more.
    pub(super) fn complete(&self, done: c_int) {
        // SAFETY: By the type invariant the caller is the poll function, so it owns the NAPI.
        // If the NAPI was scheduled meanwhile, `napi_complete_done()` has it polled again.
        unsafe { bindings::napi_complete_done(self.as_raw(), done) };
    }

    /// The first half of `napi_complete_done()`: passes to the stack all packets that
    /// [`NapiContext::gro_receive`] holds back for merging.
    pub(crate) fn gro_flush(&self) {
        // SAFETY: By the type invariant the caller owns the NAPI, and softirqs are off.
        unsafe { bindings::helper_napi_gro_flush(self.as_raw()) };
    }

    /// `napi_gro_receive()`: hands a packet to the network stack as received by the device. Its
    /// data has to start with the network header, and its protocol has to be set.
    ///
    /// The packet is dropped if the device is not running.
    #[inline]
    pub(crate) fn gro_receive(&self, mut skb: SkBuff) {
        let dev = self.dev();
        // After the device is closed, unregistering it waits for a grace period, and so for this
        // function, before it frees the state that the stack needs.
        if !dev.is_running() {
            return;
        }
        // SAFETY: The stack removes the packet from all its lists and queues before the device is
        // freed.
        unsafe { skb.set_dev(dev.as_raw()) };
        skb.set_network_header();
        // SAFETY: By the type invariant the caller owns the NAPI, and softirqs are off. The
        // packet is owned, and ownership passes to the function.
        unsafe { bindings::napi_gro_receive(self.as_raw(), skb.into_raw()) };
    }
}
