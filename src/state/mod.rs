// SPDX-License-Identifier: GPL-2.0

//! The state of devices and peers: structs, accessors and events that are noted, no verbs.
//!
//! A device has peers, and a peer belongs to a device. So these files refer to one another. No
//! other files of the module do so in a circle: `scripts/layers.py` sees to it.

pub(crate) mod device;
pub(crate) mod handshake;
pub(crate) mod peer;
pub(crate) mod residents;
pub(crate) mod settings;
pub(crate) mod timers;
