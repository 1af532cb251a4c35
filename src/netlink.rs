// SPDX-License-Identifier: GPL-2.0

//! The configuration interface: the generic netlink family `wireguard`, and beside it the family
//! `wireguard_ext`, which tells more, and lets more be set.
//!
//! `WG_CMD_GET_DEVICE` is a dump ([`get`]), `WG_CMD_SET_DEVICE` a request to be carried out
//! ([`set`]). Both take `CAP_NET_ADMIN` in the user namespace of the sender's network namespace.
//! Their attributes are described in `Documentation/netlink/specs/wireguard.yaml` and
//! [`include/uapi/linux/wireguard.h`].
//!
//! [`include/uapi/linux/wireguard.h`]: srctree/include/uapi/linux/wireguard.h

use kernel::prelude::*;

use crate::{
    linux::genetlink::{
        Family,
        Op,
        Registration, //
    },
    notify, //
};

mod attributes;
mod dump;
mod get;
mod get_extension;
mod set;
mod set_extension;

use dump::DeviceDump;

static OPS: [Op; 2] = [
    Op::dumping::<DeviceDump<get::Configuration>>(),
    Op::doing::<set::SetDevice>(),
];

static FAMILY: Family = Family::new(c"wireguard", attributes::uapi::WG_GENL_VERSION, &[]);

/// The operations of the family `wireguard_ext`.
static EXTENSION_OPS: [Op; 3] = [
    Op::dumping::<DeviceDump<get_extension::Happenings>>(),
    Op::doing::<set_extension::SetDevice>(),
    Op::doing::<set_extension::SetPeer>(),
];

/// Lets devices be configured, until the value that it returns is dropped.
///
/// Process context. `EEXIST`: there is another family of this name, such as that of the kernel's
/// own module.
pub(crate) fn register(module: &'static ThisModule) -> Result<Registration> {
    FAMILY.register(module, &OPS)
}

/// Lets devices be asked for what the family `wireguard` cannot tell, lets be set what it cannot
/// set, and tells listeners what happens, until the value that it returns is dropped.
///
/// Process context. `EEXIST`: there is another family of this name.
pub(crate) fn register_extension(module: &'static ThisModule) -> Result<Registration> {
    notify::FAMILY.register(module, &EXTENSION_OPS)
}
