// SPDX-License-Identifier: GPL-2.0

//! IP headers, read in place. All fields are in network byte order, wherever the packet lies.
//!
//! C headers: [`include/uapi/linux/ip.h`](srctree/include/uapi/linux/ip.h),
//! [`include/uapi/linux/ipv6.h`](srctree/include/uapi/linux/ipv6.h)

use core::net::IpAddr;

use zerocopy::transmute_ref;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    KnownLayout,
    Unaligned, //
};

use crate::linux::skbuff::{
    ETH_P_IP,
    ETH_P_IPV6, //
};

/// Bytes of an IPv4 header without options.
pub(crate) const IPV4_HEADER_LEN: usize = size_of::<Ipv4Header>();
/// Bytes of an IPv6 header.
pub(crate) const IPV6_HEADER_LEN: usize = size_of::<Ipv6Header>();

/// `struct iphdr`, without options.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Ipv4Header {
    _version_ihl: u8,
    tos: u8,
    tot_len: [u8; 2],
    _id_frag_off: [u8; 4],
    _ttl: u8,
    _protocol: u8,
    _check: [u8; 2],
    saddr: [u8; 4],
    daddr: [u8; 4],
}

/// `struct ipv6hdr`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Ipv6Header {
    version_priority_flow: [u8; 4],
    payload_len: [u8; 2],
    _nexthdr: u8,
    _hop_limit: u8,
    saddr: [u8; 16],
    daddr: [u8; 16],
}

/// The IP header that a packet begins with. Its version field says which one it is; nothing else in
/// it is checked.
#[derive(Clone, Copy)]
pub(crate) enum Header<'a> {
    /// Of IPv4.
    V4(&'a Ipv4Header),
    /// Of IPv6.
    V6(&'a Ipv6Header),
}

impl<'a> Header<'a> {
    /// The header at the start of `packet`; `None` if it is neither IPv4 nor IPv6, or not complete.
    #[inline]
    pub(crate) fn read(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<IPV4_HEADER_LEN>()?;
                Some(Self::V4(transmute_ref!(header)))
            }
            6 => {
                let header = packet.first_chunk::<IPV6_HEADER_LEN>()?;
                Some(Self::V6(transmute_ref!(header)))
            }
            _ => None,
        }
    }

    /// As [`Header::read`], for a packet of this Ethernet protocol (host byte order): `None` if the
    /// header is of another one (`ip_tunnel_parse_protocol()`).
    #[inline]
    pub(crate) fn of(protocol: u16, packet: &'a [u8]) -> Option<Self> {
        Self::read(packet).filter(|header| header.protocol() == protocol)
    }

    /// The Ethernet protocol of the packet, in host byte order: `ETH_P_IP` or `ETH_P_IPV6`.
    #[inline]
    pub(crate) fn protocol(self) -> u16 {
        match self {
            Self::V4(_) => ETH_P_IP,
            Self::V6(_) => ETH_P_IPV6,
        }
    }

    /// The source address.
    #[inline]
    pub(crate) fn source(self) -> IpAddr {
        match self {
            Self::V4(header) => header.saddr.into(),
            Self::V6(header) => header.saddr.into(),
        }
    }

    /// The destination address.
    #[inline]
    pub(crate) fn destination(self) -> IpAddr {
        match self {
            Self::V4(header) => header.daddr.into(),
            Self::V6(header) => header.daddr.into(),
        }
    }

    /// `ip_tunnel_get_dsfield()`: the TOS or traffic class.
    #[inline]
    pub(crate) fn dsfield(self) -> u8 {
        match self {
            Self::V4(header) => header.tos,
            Self::V6(header) => {
                let [a, b, ..] = header.version_priority_flow;
                (a << 4) | (b >> 4)
            }
        }
    }

    /// The length of the packet that the header speaks of, in bytes, with the header itself. With
    /// IPv4 it may be shorter than the header.
    #[inline]
    pub(crate) fn packet_len(self) -> usize {
        match self {
            Self::V4(header) => usize::from(u16::from_be_bytes(header.tot_len)),
            Self::V6(header) => {
                usize::from(u16::from_be_bytes(header.payload_len)).wrapping_add(IPV6_HEADER_LEN)
            }
        }
    }
}
