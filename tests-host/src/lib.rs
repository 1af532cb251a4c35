// SPDX-License-Identifier: GPL-2.0

//! The parts of the module that need no kernel, in user space, from the module's own files.
//!
//! `kernel` and [`linux`] are stand-ins with the names that these files use. Some files of
//! [`linux`] are the module's own, too, on top of stand-ins for the C functions.

#![allow(dead_code, unused_imports)]

extern crate pinned_init as pin_init;

/// The module's own files. `path` names their folder, in which they find their submodules.
#[path = "../../src"]
mod files {
    #[forbid(unsafe_code)]
    pub(crate) mod allowedips;
    #[forbid(unsafe_code)]
    pub(crate) mod peerlookup;
    #[forbid(unsafe_code)]
    pub(crate) mod protocol;
    #[forbid(unsafe_code)]
    pub(crate) mod ratelimiter;
    #[forbid(unsafe_code)]
    pub(crate) mod testing;
}

pub(crate) use files::{
    allowedips,
    peerlookup,
    protocol,
    ratelimiter,
    testing, //
};

mod linux;

#[forbid(unsafe_code)]
pub mod fuzz;
#[cfg(test)]
#[forbid(unsafe_code)]
mod wycheproof;
