// SPDX-License-Identifier: GPL-2.0

//! The attributes of requests: their numbers, what is checked of them before a request is carried
//! out, and the interface that they name.

use kernel::{
    prelude::*,
    str::CStr,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    linux::{
        compat::code::EBADR,
        engine::link, //
        genetlink::Request,
        net_namespace::Net,
        netlink::{
            Attrs,
            ExtAck,
            Policy,
            Rule, //
        },
    },
    state::device::Device, //
};

/// Numbers of `include/uapi/linux/wireguard.h`, in the types they have in a message.
pub(super) mod uapi {
    use crate::linux::bindings;

    macro_rules! numbers {
        ($($c:ident => $name:ident: $ty:ty,)*) => {
            $(pub(in crate::netlink) const $name: $ty = bindings::$c as $ty;)*
        };
    }

    numbers! {
        wg_cmd_WG_CMD_GET_DEVICE => WG_CMD_GET_DEVICE: u8,
        wg_cmd_WG_CMD_SET_DEVICE => WG_CMD_SET_DEVICE: u8,

        wgdevice_attribute_WGDEVICE_A_IFINDEX => WGDEVICE_A_IFINDEX: u16,
        wgdevice_attribute_WGDEVICE_A_IFNAME => WGDEVICE_A_IFNAME: u16,
        wgdevice_attribute_WGDEVICE_A_PRIVATE_KEY => WGDEVICE_A_PRIVATE_KEY: u16,
        wgdevice_attribute_WGDEVICE_A_PUBLIC_KEY => WGDEVICE_A_PUBLIC_KEY: u16,
        wgdevice_attribute_WGDEVICE_A_FLAGS => WGDEVICE_A_FLAGS: u16,
        wgdevice_attribute_WGDEVICE_A_LISTEN_PORT => WGDEVICE_A_LISTEN_PORT: u16,
        wgdevice_attribute_WGDEVICE_A_FWMARK => WGDEVICE_A_FWMARK: u16,
        wgdevice_attribute_WGDEVICE_A_PEERS => WGDEVICE_A_PEERS: u16,

        wgpeer_attribute_WGPEER_A_UNSPEC => WGPEER_A_UNSPEC: u16,
        wgpeer_attribute_WGPEER_A_PUBLIC_KEY => WGPEER_A_PUBLIC_KEY: u16,
        wgpeer_attribute_WGPEER_A_PRESHARED_KEY => WGPEER_A_PRESHARED_KEY: u16,
        wgpeer_attribute_WGPEER_A_FLAGS => WGPEER_A_FLAGS: u16,
        wgpeer_attribute_WGPEER_A_ENDPOINT => WGPEER_A_ENDPOINT: u16,
        wgpeer_attribute_WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL =>
            WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: u16,
        wgpeer_attribute_WGPEER_A_LAST_HANDSHAKE_TIME => WGPEER_A_LAST_HANDSHAKE_TIME: u16,
        wgpeer_attribute_WGPEER_A_RX_BYTES => WGPEER_A_RX_BYTES: u16,
        wgpeer_attribute_WGPEER_A_TX_BYTES => WGPEER_A_TX_BYTES: u16,
        wgpeer_attribute_WGPEER_A_ALLOWEDIPS => WGPEER_A_ALLOWEDIPS: u16,
        wgpeer_attribute_WGPEER_A_PROTOCOL_VERSION => WGPEER_A_PROTOCOL_VERSION: u16,

        wgallowedip_attribute_WGALLOWEDIP_A_FAMILY => WGALLOWEDIP_A_FAMILY: u16,
        wgallowedip_attribute_WGALLOWEDIP_A_IPADDR => WGALLOWEDIP_A_IPADDR: u16,
        wgallowedip_attribute_WGALLOWEDIP_A_CIDR_MASK => WGALLOWEDIP_A_CIDR_MASK: u16,
        wgallowedip_attribute_WGALLOWEDIP_A_FLAGS => WGALLOWEDIP_A_FLAGS: u16,

        wgdevice_flag_WGDEVICE_F_REPLACE_PEERS => WGDEVICE_F_REPLACE_PEERS: u32,
        wgpeer_flag_WGPEER_F_REMOVE_ME => WGPEER_F_REMOVE_ME: u32,
        wgpeer_flag_WGPEER_F_REPLACE_ALLOWEDIPS => WGPEER_F_REPLACE_ALLOWEDIPS: u32,
        wgpeer_flag_WGPEER_F_UPDATE_ONLY => WGPEER_F_UPDATE_ONLY: u32,
        wgallowedip_flag_WGALLOWEDIP_F_REMOVE_ME => WGALLOWEDIP_F_REMOVE_ME: u32,

        WG_KEY_LEN => WG_KEY_LEN: u16,
        WG_GENL_VERSION => WG_GENL_VERSION: u32,
    }
}

use uapi::*;

/// The only version of the protocol.
pub(super) const PROTOCOL_VERSION: u32 = 1;
/// The longest name of an interface, in bytes.
const IFNAME_LEN: u16 = 15;
/// `sizeof(struct sockaddr)`: the least length of an endpoint, in bytes.
const SOCKADDR_LEN: u16 = 16;
/// `sizeof(struct in_addr)`: the least length of an allowed IP's address, in bytes.
const IN_ADDR_LEN: u16 = 4;
/// `sizeof(struct __kernel_timespec)`.
pub(super) const TIMESPEC_LEN: u16 = 16;

/// Number of the attribute types of a get request, 0 included.
pub(super) const GET_ATTRS: usize = WGDEVICE_A_IFNAME as usize + 1;
/// Number of the attribute types of a set request, 0 included.
pub(super) const SET_ATTRS: usize = WGDEVICE_A_PEERS as usize + 1;
/// Number of the attribute types of a peer, 0 included.
pub(super) const PEER_ATTRS: usize = WGPEER_A_PROTOCOL_VERSION as usize + 1;
/// Number of the attribute types of an allowed IP, 0 included.
pub(super) const ALLOWEDIP_ATTRS: usize = WGALLOWEDIP_A_FLAGS as usize + 1;

static ALLOWEDIP_POLICY: Policy<ALLOWEDIP_ATTRS> = Policy::new(&[
    (WGALLOWEDIP_A_FAMILY, Rule::u16()),
    (WGALLOWEDIP_A_IPADDR, Rule::min_len(IN_ADDR_LEN)),
    (WGALLOWEDIP_A_CIDR_MASK, Rule::u8()),
    (
        WGALLOWEDIP_A_FLAGS,
        Rule::flags(WGALLOWEDIP_F_REMOVE_ME), //
    ),
]);

static PEER_POLICY: Policy<PEER_ATTRS> = Policy::new(&[
    (WGPEER_A_PUBLIC_KEY, Rule::exact_len(WG_KEY_LEN)),
    (
        WGPEER_A_PRESHARED_KEY,
        Rule::exact_len(WG_KEY_LEN).secret(), //
    ),
    (
        WGPEER_A_FLAGS,
        Rule::flags(WGPEER_F_REMOVE_ME | WGPEER_F_REPLACE_ALLOWEDIPS | WGPEER_F_UPDATE_ONLY),
    ),
    (WGPEER_A_ENDPOINT, Rule::min_len(SOCKADDR_LEN)),
    (WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, Rule::u16()),
    (
        WGPEER_A_LAST_HANDSHAKE_TIME,
        Rule::exact_len(TIMESPEC_LEN), //
    ),
    (WGPEER_A_RX_BYTES, Rule::u64()),
    (WGPEER_A_TX_BYTES, Rule::u64()),
    (
        WGPEER_A_ALLOWEDIPS,
        Rule::nested_array(ALLOWEDIP_POLICY.by_ref()), //
    ),
    (WGPEER_A_PROTOCOL_VERSION, Rule::u32()),
]);

/// The attributes of a get request.
pub(super) static GET_POLICY: Policy<GET_ATTRS> = Policy::new(&[
    (WGDEVICE_A_IFINDEX, Rule::u32()),
    (WGDEVICE_A_IFNAME, Rule::nul_string(IFNAME_LEN)),
]);

/// The attributes of a set request.
pub(super) static SET_POLICY: Policy<SET_ATTRS> = Policy::new(&[
    (WGDEVICE_A_IFINDEX, Rule::u32()),
    (WGDEVICE_A_IFNAME, Rule::nul_string(IFNAME_LEN)),
    (
        WGDEVICE_A_PRIVATE_KEY,
        Rule::exact_len(WG_KEY_LEN).secret(), //
    ),
    (WGDEVICE_A_PUBLIC_KEY, Rule::exact_len(WG_KEY_LEN)),
    (
        WGDEVICE_A_FLAGS,
        Rule::flags(WGDEVICE_F_REPLACE_PEERS), //
    ),
    (WGDEVICE_A_LISTEN_PORT, Rule::u16()),
    (WGDEVICE_A_FWMARK, Rule::u32()),
    (
        WGDEVICE_A_PEERS,
        Rule::nested_array(PEER_POLICY.by_ref()), //
    ),
]);

/// `EPERM`, for the reason `text`, unless the sender has `CAP_NET_ADMIN` in the namespace of the
/// device's sockets. Otherwise that namespace. Process context.
pub(super) fn may_use_sockets(
    device: &Device,
    extack: &ExtAck<'_>,
    text: &'static CStr,
) -> Result<ARef<Net>> {
    let net = device
        .creating_net
        .lock()
        .as_ref()
        .and_then(|net| net.upgrade());
    net.filter(|net| net.is_net_admin())
        .ok_or_else(|| extack.err(EPERM, text))
}

/// The device that a request is about.
///
/// Process context. `EBADR`: the request names no interface, or one by index and by name; `ENODEV`:
/// there is no such interface; `EOPNOTSUPP`: it is of another kind.
pub(super) fn lookup_interface<const N: usize>(
    request: &Request<'_>,
    attrs: &Attrs<'_, N>,
) -> Result<Arc<Device>> {
    let (found, attr) = match (
        attrs.attr(WGDEVICE_A_IFINDEX),
        attrs.attr(WGDEVICE_A_IFNAME),
    ) {
        (Some(attr), None) => {
            let ifindex = attrs.get::<u32>(WGDEVICE_A_IFINDEX)?.ok_or(EINVAL)?;
            (link::find_by_index(request.net(), ifindex), attr)
        }
        (None, Some(attr)) => {
            let name = attrs.get::<&CStr>(WGDEVICE_A_IFNAME)?.ok_or(EINVAL)?;
            (link::find_by_name(request.net(), name), attr)
        }
        (None, None) => {
            return Err(request.extack().err_missing(
                EBADR,
                None,
                WGDEVICE_A_IFNAME,
                c"the interface has to be given, by index or by name",
            ));
        }
        (Some(attr), Some(_)) => {
            return Err(request.extack().err_attr(
                EBADR,
                &attr,
                c"the interface has to be given by index or by name, not by both",
            ));
        }
    };
    found.map_err(|errno| {
        let message = if errno == ENODEV {
            c"there is no such interface in this network namespace"
        } else {
            c"this is not a WireGuard interface"
        };
        request.extack().err_attr(errno, &attr, message)
    })
}
