// SPDX-License-Identifier: GPL-2.0

//! What the family `wireguard_ext` can set, of a device and of a peer.

use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use crate::{
    class::Copied,
    events::SettingsCounters,
    linux::rcu::AtomicDrop,
    parameters::{
        Override,
        AGGREGATE_RX,
        AGGREGATE_TX,
        ROAMING, //
    },
    protocol::moving::{
        Address,
        Policy, //
    },
    socket::Endpoint, //
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

/// The endpoints at which a peer is looked for in turn.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints([Option<Endpoint>; Endpoints::MAX]);

impl Endpoints {
    /// The most that there may be.
    pub(crate) const MAX: usize = 8;

    /// None.
    pub(crate) const fn none() -> Self {
        Self([None; Self::MAX])
    }

    /// Appends one. `E2BIG` if there are too many; `EEXIST` if it is among them.
    pub(crate) fn push(&mut self, endpoint: Endpoint) -> Result {
        if self.iter().any(|other| other.is_place(&endpoint)) {
            return Err(EEXIST);
        }
        let place = self.0.iter_mut().find(|place| place.is_none());
        *place.ok_or(E2BIG)? = Some(endpoint);
        Ok(())
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter().flatten()
    }

    /// The one to try after `at`: the first one if `at` is the last, or not among them.
    pub(crate) fn after(&self, at: Option<&Endpoint>) -> Option<Endpoint> {
        let mut rest = self
            .iter()
            .skip_while(|place| !at.is_some_and(|at| at.is_place(place)));
        let _ = rest.next();
        rest.next().or_else(|| self.iter().next()).copied()
    }
}

/// What few peers have. It is replaced as a whole, and lies behind one pointer of the peer.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The label.
    pub(crate) label: Label,
    /// Where the peer is looked for if a handshake is not answered.
    pub(crate) endpoints: Endpoints,
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
            endpoints: Endpoints::none(),
            counters: SettingsCounters::new(),
        }
    }
}

/// Of what is copied to the outer header: the DSCP.
const COPY_DSCP: u32 = 1;
/// The flow label of IPv6.
const COPY_FLOW_LABEL: u32 = 2;

/// The settings of a device.
pub(crate) struct DeviceSettings {
    /// Whether private and preshared keys are not given out.
    sealed: Atomic<bool>,
    /// The number of the [`Policy`] for peers that move, in place of [`ROAMING`].
    pub(crate) validation: Override,
    /// Whether messages leave as aggregates, in place of [`AGGREGATE_TX`].
    pub(crate) aggregate_tx: Override,
    /// Whether GRO may join datagrams that arrive, in place of [`AGGREGATE_RX`].
    pub(crate) aggregate_rx: Override,
    /// What is copied to the outer header: `COPY_DSCP`, `COPY_FLOW_LABEL`.
    copied: Atomic<u32>,
}

impl DeviceSettings {
    /// Nothing is set.
    pub(crate) const fn new() -> Self {
        Self {
            sealed: Atomic::new(false),
            validation: Override::new(),
            aggregate_tx: Override::new(),
            aggregate_rx: Override::new(),
            copied: Atomic::new(0),
        }
    }

    /// Whether private and preshared keys are not given out.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Relaxed)
    }

    /// Has the private key and the preshared keys of all peers never given out again.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Relaxed);
    }

    /// How a peer's new address is proven, as of now.
    pub(crate) fn roaming_policy(&self) -> Policy {
        Policy::from_number(self.validation.or(ROAMING.get()))
    }

    /// Whether messages of one size to one peer leave as one aggregate, as of now.
    #[inline]
    pub(crate) fn aggregates_tx(&self) -> bool {
        self.aggregate_tx.or(AGGREGATE_TX.get()) != 0
    }

    /// Whether GRO may join the datagrams of a flow that arrive, as of now.
    #[inline]
    pub(crate) fn aggregates_rx(&self) -> bool {
        self.aggregate_rx.or(AGGREGATE_RX.get()) != 0
    }

    /// What is copied to the outer header besides the congestion bits. `None`, as a rule: nothing.
    #[inline]
    pub(crate) fn copied(&self) -> Option<Copied> {
        match self.copied.load(Relaxed) {
            0 => None,
            copied => Some(Copied {
                dscp: copied & COPY_DSCP != 0,
                flow_label: copied & COPY_FLOW_LABEL != 0,
            }),
        }
    }

    /// Sets that.
    pub(crate) fn set_copied(&self, copied: Copied) {
        let dscp = if copied.dscp { COPY_DSCP } else { 0 };
        let label = if copied.flow_label {
            COPY_FLOW_LABEL
        } else {
            0
        };
        self.copied.store(dscp | label, Relaxed);
    }
}
