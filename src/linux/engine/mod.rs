// SPDX-License-Identifier: GPL-2.0

//! Faces that only this engine wants. They bend C interfaces to its purpose, so they are no
//! proposal for the kernel:
//!
//! * [`aead`]: ChaCha20-Poly1305 where the text lies, with the authenticator's key made in the same
//!   pass of the cipher. [`SkBuff::seal`] and [`SkBuff::open`] do so with a packet.
//! * [`segments`]: datagrams of one size are encrypted into one aggregate, without an skb for each.
//!   [`tcp`] writes the segments of a TCP packet there without making packets of them.
//!   Its memory is that of datagrams that are gone: [`page_rings`].
//!   [`chain`]: datagrams that were encrypted in place become one aggregate. [`flow`] says which
//!   packets may share an aggregate.
//! * [`link`]: devices without a link layer, with the settings that follow from that, and
//!   [`napi_set`], their NAPIs: one for each CPU.
//! * [`trace`]: the tracepoints.
//!
//! [`SkBuff::open`]: super::skbuff::SkBuff::open
//! [`SkBuff::seal`]: super::skbuff::SkBuff::seal

pub(crate) mod aead;
mod chain;
mod flow;
pub(crate) mod link;
mod napi_set;
mod page_rings;
mod seal;
mod segments;
mod tcp;
pub(crate) mod trace;

pub(crate) use chain::Chain;
pub(crate) use page_rings::PageRings;
pub(crate) use segments::{
    Segments,
    Text, //
};

#[cfg(CONFIG_KUNIT = "y")]
mod tests;
