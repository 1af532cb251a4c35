// SPDX-License-Identifier: GPL-2.0

//! The module's parameters. The crate root gives them their names and descriptions.

use kernel::sync::atomic::{
    ordering::Relaxed,
    Atomic, //
};

use crate::{
    linux::moduleparam::{
        BoolParam,
        ChoiceParam, //
    },
    protocol::moving::Policy,
};

/// Whether messages of one size to one peer leave as one aggregate.
pub(crate) static AGGREGATE_TX: BoolParam = BoolParam::new(true);
/// Whether GRO may join the datagrams of a flow that arrive for a tunnel.
pub(crate) static AGGREGATE_RX: BoolParam = BoolParam::new(true);
/// How a peer's new address is proven: the number of a [`Policy`]. A device may have its own.
pub(crate) static ROAMING: ChoiceParam<2> = ChoiceParam::new(1);

/// What a device has in place of a [`BoolParam`]. The numbers are part of the netlink interface: 0
/// for no, 1 for yes, 2 as the parameter says.
pub(crate) struct Override(Atomic<u32>);

impl Override {
    /// As the parameter says.
    const PARAMETER: u32 = 2;

    /// As the parameter says.
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(Self::PARAMETER))
    }

    /// What holds now, given the parameter.
    #[inline]
    pub(crate) fn get(&self, parameter: &BoolParam) -> bool {
        match self.0.load(Relaxed) {
            Self::PARAMETER => parameter.get(),
            number => number != 0,
        }
    }

    /// The number; `None` if the parameter holds.
    pub(crate) fn number(&self) -> Option<u8> {
        Some(self.0.load(Relaxed) as u8).filter(|number| u32::from(*number) != Self::PARAMETER)
    }

    /// Sets it by its number.
    pub(crate) fn set(&self, number: u8) {
        self.0.store(number.into(), Relaxed);
    }
}

/// How a peer's new address is proven, as of now.
#[inline]
pub(crate) fn roaming_policy() -> Policy {
    Policy::from_number(ROAMING.get())
}
