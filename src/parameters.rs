// SPDX-License-Identifier: GPL-2.0

//! The module's parameters. The crate root gives them their names and descriptions.

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

/// How a peer's new address is proven, as of now.
#[inline]
pub(crate) fn roaming_policy() -> Policy {
    Policy::from_number(ROAMING.get())
}
