// SPDX-License-Identifier: GPL-2.0

//! Error codes of networking, which the kernel crate of series 7.2 does not name yet.
//!
//! C headers: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

use core::mem::transmute;
use kernel::{
    bindings,
    error::{
        code::EINVAL,
        Error, //
    }, //
};

// An `Error` is nothing but the negative number.
const _: () = assert!(size_of::<Error>() == size_of::<i32>());
const _: () = {
    // SAFETY: An `Error` is initialised, and every initialised four bytes are an `i32`.
    let einval = unsafe { transmute::<Error, i32>(EINVAL) };
    assert!(einval == -(bindings::EINVAL as i32));
};

/// The error of a C error number. Evaluated by the compiler only.
const fn error(errno: u32) -> Error {
    assert!(errno >= 1 && errno <= bindings::MAX_ERRNO);
    // SAFETY: `Error` has one field, a `NonZeroI32`, which by the assertions above is all of it; it is a number from
    // `-MAX_ERRNO` to -1, as this one is by the assertion before.
    unsafe { transmute::<i32, Error>(-(errno as i32)) }
}

/// Invalid request descriptor.
pub(crate) const EBADR: Error = error(bindings::EBADR);
/// Machine is not on the network.
pub(crate) const ENONET: Error = error(bindings::ENONET);
/// Not a data message: what fails to authenticate.
pub(crate) const EBADMSG: Error = error(bindings::EBADMSG);
/// Destination address required.
pub(crate) const EDESTADDRREQ: Error = error(bindings::EDESTADDRREQ);
/// Protocol not supported.
pub(crate) const EPROTONOSUPPORT: Error = error(bindings::EPROTONOSUPPORT);
/// Operation not supported on transport endpoint.
pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);
/// Protocol family not supported.
pub(crate) const EPFNOSUPPORT: Error = error(bindings::EPFNOSUPPORT);
/// Address family not supported by protocol.
pub(crate) const EAFNOSUPPORT: Error = error(bindings::EAFNOSUPPORT);
/// Address already in use.
pub(crate) const EADDRINUSE: Error = error(bindings::EADDRINUSE);
/// Network is unreachable.
pub(crate) const ENETUNREACH: Error = error(bindings::ENETUNREACH);
/// Required key not available.
pub(crate) const ENOKEY: Error = error(bindings::ENOKEY);
