// SPDX-License-Identifier: GPL-2.0

//! Extended acknowledgements: the reason of an error, for the sender of a request.

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

/// The extended acknowledgement of a request. It tells the sender the reason of an error.
///
/// # Invariants
///
/// `ptr` is null or points to a `struct netlink_ext_ack` that is valid during `'a`. Only the thread
/// that handles the request uses the structure.
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
        // SAFETY: By the type invariant the pointer is null or valid, and only this thread uses the
        // structure. The only reference to it is the one made here, which `f` cannot keep.
        if let Some(ext_ack) = unsafe { self.ptr.as_mut() } {
            f(ext_ack);
        }
    }

    /// `NL_SET_ERR_MSG()`: sets the message for the sender. Returns `errno`.
    pub(crate) fn err(&self, errno: Error, message: &'static CStr) -> Error {
        // SAFETY: The message is a C string, and the function only passes it to a tracepoint.
        unsafe { bindings::do_trace_netlink_extack(message.as_char_ptr()) };
        self.change(|ext_ack| ext_ack._msg = message.as_char_ptr());
        errno
    }

    /// `NL_SET_ERR_MSG_ATTR()`: sets the message for the sender and the attribute that is to blame.
    /// Returns `errno`.
    pub(crate) fn err_attr(&self, errno: Error, attr: &Attr<'_>, message: &'static CStr) -> Error {
        // The core compares this pointer with the bounds of the request and does not follow it.
        self.change(|ext_ack| {
            ext_ack.bad_attr = attr.as_raw();
            ext_ack.policy = ptr::null();
        });
        self.err(errno, message)
    }

    /// `NL_SET_ERR_ATTR_MISS()`: sets the message for the sender and the type of the attribute that
    /// the request, or `nest` in it, lacks. Returns `errno`.
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
