// SPDX-License-Identifier: GPL-2.0

//! Error numbers.

use crate::alloc::AllocError;
use core::{
    convert::Infallible,
    num::NonZeroI32, //
};

/// A negative error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Error(NonZeroI32);

/// A result, by default with an [`Error`].
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The error in the return value of a C function: `err` if it is negative.
pub fn to_result(err: i32) -> Result {
    match NonZeroI32::new(err) {
        Some(err) if err.get() < 0 => Err(Error(err)),
        _ => Ok(()),
    }
}

macro_rules! errors {
    ($($name:ident = $number:literal,)*) => {
        /// The numbers as errors.
        pub mod code {
            use super::{
                Error,
                NonZeroI32, //
            };

            $(
                #[doc = concat!("Number ", $number)]
                pub const $name: Error = Error(NonZeroI32::new(-$number).unwrap());
            )*
        }
    };
}

errors! {
    ENOENT = 2,
    E2BIG = 7,
    EAGAIN = 11,
    ENOMEM = 12,
    EBUSY = 16,
    EEXIST = 17,
    EINVAL = 22,
    EBADR = 53,
    ENONET = 64,
    EBADMSG = 74,
    EDESTADDRREQ = 89,
    EPROTONOSUPPORT = 93,
    EOPNOTSUPP = 95,
    EPFNOSUPPORT = 96,
    EAFNOSUPPORT = 97,
    EADDRINUSE = 98,
    ENETUNREACH = 101,
    EUCLEAN = 117,
    ENOKEY = 126,
}
