// SPDX-License-Identifier: GPL-2.0

//! What the family `wireguard_ext` can set of a peer and few peers have.

use crate::{
    events::SettingsCounters,
    linux::rcu::AtomicDrop, //
};

/// A name for a peer that the administrator has chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label {
    bytes: [u8; Label::MAX_LEN],
    len: u8,
}

impl Label {
    /// The longest label, in bytes.
    pub(crate) const MAX_LEN: usize = 64;

    /// No label.
    pub(crate) const fn none() -> Self {
        Self {
            bytes: [0; Self::MAX_LEN],
            len: 0,
        }
    }

    /// A label of these bytes. `None` if there are too many, or a NUL is among them.
    pub(crate) fn new(label: &[u8]) -> Option<Self> {
        let mut this = Self::none();
        if label.contains(&0) {
            return None;
        }
        for (place, byte) in this.bytes.get_mut(..label.len())?.iter_mut().zip(label) {
            *place = *byte;
        }
        this.len = label.len() as u8;
        Some(this)
    }

    /// Its bytes, none for no label. They need not be UTF-8.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// What few peers have. It is replaced as a whole, and lies behind one pointer of the peer.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The label.
    pub(crate) label: Label,
    /// What can only happen to a peer that has settings. Events that are counted while the settings
    /// are replaced may be lost.
    pub(crate) counters: SettingsCounters,
}

impl AtomicDrop for Settings {}

impl Settings {
    /// Nothing is set.
    pub(crate) const fn new() -> Self {
        Self {
            label: Label::none(),
            counters: SettingsCounters::new(),
        }
    }
}
