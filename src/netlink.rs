// SPDX-License-Identifier: GPL-2.0

//! The configuration interface: the generic netlink family `wireguard`.
//!
//! `WG_CMD_GET_DEVICE` is a dump ([`get`]), `WG_CMD_SET_DEVICE` a request to be carried out
//! ([`set`]). Both take `CAP_NET_ADMIN` in the user namespace of the sender's network namespace.
//! Their attributes are described in `Documentation/netlink/specs/wireguard.yaml` and
//! [`include/uapi/linux/wireguard.h`].
//!
//! [`include/uapi/linux/wireguard.h`]: srctree/include/uapi/linux/wireguard.h

use kernel::prelude::*;

use crate::linux::genetlink::{
    Family,
    Op,
    Registration, //
};

mod attributes;
mod get;
mod set;

static OPS: [Op; 2] = [
    Op::dumping::<get::GetDevice>(),
    Op::doing::<set::SetDevice>(),
];

static FAMILY: Family = Family::new(c"wireguard", attributes::uapi::WG_GENL_VERSION, &[]);

/// Lets devices be configured, until the value that it returns is dropped.
///
/// Process context. `EEXIST`: there is another family of this name, such as that of the kernel's
/// own module.
pub(crate) fn register(module: &'static ThisModule) -> Result<Registration> {
    FAMILY.register(module, &OPS)
}
