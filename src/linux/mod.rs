// SPDX-License-Identifier: GPL-2.0

//! Safe faces of the C interfaces that the `kernel` crate lacks, one file per C header.
//!
//! This is the only place with `unsafe`. A face is sound by itself: no safe call on it can break
//! memory, whatever its caller does. Nothing in here knows WireGuard: what only this engine wants
//! of the kernel is in [`engine`].
//!
//! What the `kernel` crate of the newest series has is used as it is there. Where an older series
//! differs, [`compat`] knows it.

// Each SAFETY comment stands beside the one operation that it argues for.
#![warn(clippy::multiple_unsafe_ops_per_block)]

pub(crate) mod bindings;
pub(crate) mod bottom_half;
pub(crate) mod compat;
pub(crate) mod cpumask;
pub(crate) mod crypto;
pub(crate) mod debug;
pub(crate) mod delayed_work;
pub(crate) mod dst_cache;
pub(crate) mod engine;
pub(crate) mod genetlink;
pub(crate) mod ip;
pub(crate) mod ktime;
pub(crate) mod mm;
pub(crate) mod module;
pub(crate) mod moduleparam;
pub(crate) mod napi;
pub(crate) mod net_namespace;
pub(crate) mod netdevice;
pub(crate) mod netlink;
pub(crate) mod notifier;
pub(crate) mod page_pool;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod rcu_box;
pub(crate) mod registration;
pub(crate) mod rhashtable;
pub(crate) mod route;
pub(crate) mod rtnetlink;
pub(crate) mod sched;
pub(crate) mod skbuff;
pub(crate) mod spinlock;
pub(crate) mod timer;
pub(crate) mod udp_tunnel;
pub(crate) mod wipe;
pub(crate) mod workqueue;
