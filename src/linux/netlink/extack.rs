// SPDX-License-Identifier: GPL-2.0

//! What the sender of a request is told about an error.

use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    prelude::*,
    str::{
        CStr,
        CStrExt, //
    }, //
};

use super::{
    super::bindings,
    Attr, //
};

/// The extended acknowledgement of a request: what its sender is told about an error.
///
/// # Invariants
///
/// `ptr` is null or points to a `struct netlink_ext_ack` that is valid during `'a` and that only the thread which
/// handles the request uses.
pub(crate) struct ExtAck<'a> {
    ptr: *mut bindings::netlink_ext_ack,
    _p: PhantomData<&'a ()>,
}

impl ExtAck<'_> {
    /// # Safety
    ///
    /// `ptr` must be null or as the type invariant says.
    pub(in crate::linux) unsafe fn from_raw(ptr: *mut bindings::netlink_ext_ack) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            ptr,
            _p: PhantomData,
        }
    }

    /// The C structure, or null.
    pub(super) fn as_raw(&self) -> *mut bindings::netlink_ext_ack {
        self.ptr
    }

    fn change(&self, f: impl FnOnce(&mut bindings::netlink_ext_ack)) {
        // SAFETY: By the type invariant it is null or valid, only this thread uses it, and no other reference to it is
        // made than the one here.
        if let Some(ext_ack) = unsafe { self.ptr.as_mut() } {
            f(ext_ack);
        }
    }

    /// `NL_SET_ERR_MSG()`: has the sender told why, and returns the error.
    pub(crate) fn err(&self, errno: Error, message: &'static CStr) -> Error {
        // SAFETY: The message is a C string. It only goes to a tracepoint.
        unsafe { bindings::do_trace_netlink_extack(message.as_char_ptr()) };
        self.change(|ext_ack| ext_ack._msg = message.as_char_ptr());
        errno
    }

    /// `NL_SET_ERR_MSG_ATTR()`: has the sender told why and which attribute it was, and returns the error.
    pub(crate) fn err_attr(&self, errno: Error, attr: &Attr<'_>, message: &'static CStr) -> Error {
        // The core compares this pointer with the bounds of the request, and does not follow it.
        self.change(|ext_ack| {
            ext_ack.bad_attr = attr.as_raw();
            ext_ack.policy = ptr::null();
        });
        self.err(errno, message)
    }

    /// `NL_SET_ERR_ATTR_MISS()`: has the sender told which type of attribute is missing from the request, or from a
    /// nest of it, and why, and returns the error.
    pub(crate) fn err_missing(
        &self,
        errno: Error,
        nest: Option<&Attr<'_>>,
        ty: u16,
        message: &'static CStr,
    ) -> Error {
        // The core does not follow this pointer either.
        self.change(|ext_ack| {
            ext_ack.miss_nest = nest.map_or(ptr::null(), Attr::as_raw);
            ext_ack.miss_type = ty;
        });
        self.err(errno, message)
    }
}
