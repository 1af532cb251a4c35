// SPDX-License-Identifier: GPL-2.0

//! The module's parameters. The crate root gives them their names and descriptions.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::linux::moduleparam::{
    BoolParam,
    ChoiceParam, //
};

/// Whether messages of one size to one peer leave as one aggregate.
pub(crate) static AGGREGATE_TX: BoolParam = BoolParam::new(true);
/// Whether GRO may join the datagrams of a flow that arrive for a tunnel.
pub(crate) static AGGREGATE_RX: BoolParam = BoolParam::new(true);
/// How a peer's new address is proven: the number of a
/// [`Policy`](crate::protocol::moving::Policy). A device may have its own.
pub(crate) static ROAMING: ChoiceParam<2> = ChoiceParam::new(1);

/// A device's own number in place of a parameter, or none.
pub(crate) struct Override(Atomic<u32>);

impl Override {
    /// The device has none.
    const NONE: u32 = u32::MAX;

    /// None.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(Self::NONE))
    }

    /// The number that holds now, given the parameter's.
    #[inline]
    pub(crate) fn or(&self, parameter: impl Into<u32>) -> u32 {
        match self.0.load(Relaxed) {
            Self::NONE => parameter.into(),
            own => own,
        }
    }

    /// The device's own number.
    pub(crate) fn own(&self) -> Option<u8> {
        let own = self.0.load(Relaxed);
        (own != Self::NONE).then_some(own as u8)
    }

    /// Sets that.
    pub(crate) fn set(&self, own: Option<u8>) {
        self.0.store(own.map_or(Self::NONE, u32::from), Relaxed);
    }
}
