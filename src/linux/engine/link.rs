// SPDX-License-Identifier: GPL-2.0

//! Devices that carry bare IP packets and are made by `ip link add`: tunnels.
//!
//! A kind of such devices implements [`Driver`], and is registered while its [`Registration`]
//! exists. A [`Handle`] is a reference to a device that may be kept; it stops giving out the device
//! before the device is freed.
//!
//! This serves one engine, so it decides what a general face would leave to the driver: a device
//! has a NAPI for each possible CPU ([`NapiSet`](super::napi_set)), an `Arc` in its private memory,
//! and grace periods between the ends of its transmitting, its being found and its being there.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h),
//! [`include/linux/inetdevice.h`](srctree/include/linux/inetdevice.h)

use crate::linux::{
    bindings,
    netdevice::Setup, //
};

mod driver;
mod handle;
mod operations;
mod registration;

pub(crate) use driver::Driver;
pub(crate) use handle::Handle;
use operations::{
    Operations,
    Private, //
};
pub(crate) use registration::{
    find_by_index,
    find_by_name,
    Registration, //
};

impl Setup<'_> {
    /// The device carries bare IP packets: no link layer header, no hardware addresses, no ARP,
    /// point to point.
    pub(crate) fn no_link_layer(&mut self) {
        let dev = self.dev();
        dev.header_ops = &raw const bindings::ip_tunnel_header_ops;
        dev.hard_header_len = 0;
        dev.addr_len = 0;
        dev.type_ = bindings::ARPHRD_NONE as u16;
        dev.flags =
            bindings::net_device_flags_IFF_POINTOPOINT | bindings::net_device_flags_IFF_NOARP;
    }
}
