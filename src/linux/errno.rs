// SPDX-License-Identifier: GPL-2.0

//! Error codes of networking that the `kernel` crate of series 7.2 does not name yet.
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

// An `Error` consists of the negative number alone.
const _: () = assert!(size_of::<Error>() == size_of::<i32>());
const _: () = {
    // SAFETY: An `Error` has no uninitialised bytes, and any four initialised bytes are an `i32`.
    let einval = unsafe { transmute::<Error, i32>(EINVAL) };
    assert!(einval == -(bindings::EINVAL as i32));
};

/// The [`Error`] of a C error number. Only for constants: an `errno` out of range is a compile
/// error.
const fn error(errno: u32) -> Error {
    assert!(errno >= 1 && errno <= bindings::MAX_ERRNO);
    // SAFETY: By the assertions above an `Error` consists of its one field, a `NonZeroI32`. The
    // field has to be a number from `-MAX_ERRNO` to -1, which this one is by the assertion in this
    // function.
    unsafe { transmute::<i32, Error>(-(errno as i32)) }
}

/// Invalid request descriptor.
pub(crate) const EBADR: Error = error(bindings::EBADR);
/// Machine is not on the network.
pub(crate) const ENONET: Error = error(bindings::ENONET);
/// Not a data message. Used for data that fails to authenticate.
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
