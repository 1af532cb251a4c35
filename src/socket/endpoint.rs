// SPDX-License-Identifier: GPL-2.0

//! Endpoints: where a peer is on the outside.

use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::{
    fmt,
    prelude::*, //
};

use crate::{
    linux::{
        ip::{
            ipv6_iface_scope_id,
            Header,
            AF_INET,
            AF_INET6, //
        }, //
        skbuff::SkBuff,
    },
    protocol::moving::Address,
};

/// Bytes of a `struct sockaddr_in`.
const SOCKADDR_IN_LEN: usize = 16;
/// Bytes of a `struct sockaddr_in6`.
const SOCKADDR_IN6_LEN: usize = 28;
/// Bytes of the IP and UDP headers of a datagram, by IPv4 and by IPv6.
const HEADERS_LEN: [u64; 2] = [20 + 8, 40 + 8];

/// The outer address of a peer, as it was last heard or configured, with the address of ours that
/// the peer talks to.
///
/// Our address is the sticky source: answers go out from it until it is no longer an address of
/// this machine or, for IPv4, until they would leave by another interface than the one that the
/// peer was heard on. Addresses are in network byte order, ports in host byte order. Two endpoints
/// are equal if datagrams go from and to the same places.
#[derive(Clone, Copy)]
pub(crate) enum Endpoint {
    /// By IPv4.
    V4 {
        /// Its address.
        addr: [u8; 4],
        /// Its port.
        port: u16,
        /// Our address, 0.0.0.0 if any will do.
        src: [u8; 4],
        /// The index of the interface it was heard on, 0 if any will do.
        src_if: i32,
        /// The end of the `sockaddr_in` in the configuration, as a rule zeros. It is only given
        /// back.
        padding: [u8; 8],
    },
    /// By IPv6.
    V6 {
        /// Its address.
        addr: [u8; 16],
        /// Its port.
        port: u16,
        /// The index of the interface of a link-local address, 0 for others.
        scope_id: u32,
        /// Flow label and traffic class in the configuration, in network byte order. They are only
        /// given back.
        flowinfo: u32,
        /// Our address, `::` if any will do.
        src: [u8; 16],
    },
}

/// A socket address as userspace knows it: `struct sockaddr_in` or `struct sockaddr_in6`.
pub(crate) struct SockAddr {
    bytes: [u8; SOCKADDR_IN6_LEN],
    len: usize,
}

impl SockAddr {
    /// Its bytes: 16 for IPv4, 28 for IPv6.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// The `N` bytes of `bytes` from `offset` on, if there are that many.
fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

impl Endpoint {
    /// Length of [`Self::words`].
    pub(crate) const WORDS: usize = 5;

    /// Where a datagram came from, read from the IP and UDP headers that its network and transport
    /// headers are set to; `None` if they are not there.
    pub(crate) fn from_skb(skb: &SkBuff) -> Option<Self> {
        Self::from_headers(skb.ip_header()?, skb.transport_header(), skb.iif())
    }

    fn from_headers(ip: Header<'_>, udp: &[u8], iif: i32) -> Option<Self> {
        let port = u16::from_be_bytes(array_at(udp, 0)?);
        match (ip.source(), ip.destination()) {
            (IpAddr::V4(addr), IpAddr::V4(src)) => Some(Self::V4 {
                addr: addr.octets(),
                port,
                src: src.octets(),
                src_if: iif,
                padding: [0; 8],
            }),
            (IpAddr::V6(addr), IpAddr::V6(src)) => {
                let addr = addr.octets();
                Some(Self::V6 {
                    addr,
                    port,
                    scope_id: ipv6_iface_scope_id(addr, iif),
                    flowinfo: 0,
                    src: src.octets(),
                })
            }
            _ => None,
        }
    }

    /// Reads a `struct sockaddr_in` or `struct sockaddr_in6` of userspace; `None` if it is neither,
    /// or its length is not that of its family. Any source will do.
    pub(crate) fn from_sockaddr(bytes: &[u8]) -> Option<Self> {
        let family = u16::from_ne_bytes(array_at(bytes, 0)?);
        let port = u16::from_be_bytes(array_at(bytes, 2)?);
        match (family, bytes.len()) {
            (AF_INET, SOCKADDR_IN_LEN) => Some(Self::V4 {
                addr: array_at(bytes, 4)?,
                port,
                src: [0; 4],
                src_if: 0,
                padding: array_at(bytes, 8)?,
            }),
            (AF_INET6, SOCKADDR_IN6_LEN) => Some(Self::V6 {
                addr: array_at(bytes, 8)?,
                port,
                scope_id: u32::from_ne_bytes(array_at(bytes, 24)?),
                flowinfo: u32::from_ne_bytes(array_at(bytes, 4)?),
                src: [0; 16],
            }),
            _ => None,
        }
    }

    /// The address of the peer for userspace.
    pub(crate) fn to_sockaddr(self) -> SockAddr {
        let mut bytes = [0; SOCKADDR_IN6_LEN];
        let mut put = |offset: usize, value: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(offset).zip(value) {
                *to = *from;
            }
        };
        let len = match self {
            Self::V4 {
                addr,
                port,
                padding,
                ..
            } => {
                put(0, &AF_INET.to_ne_bytes());
                put(2, &port.to_be_bytes());
                put(4, &addr);
                put(8, &padding);
                SOCKADDR_IN_LEN
            }
            Self::V6 {
                addr,
                port,
                scope_id,
                flowinfo,
                ..
            } => {
                put(0, &AF_INET6.to_ne_bytes());
                put(2, &port.to_be_bytes());
                put(4, &flowinfo.to_ne_bytes());
                put(8, &addr);
                put(24, &scope_id.to_ne_bytes());
                SOCKADDR_IN6_LEN
            }
        };
        SockAddr { bytes, len }
    }

    /// Forgets the sticky source: any address of ours will do.
    pub(crate) fn clear_src(&mut self) {
        match self {
            Self::V4 { src, src_if, .. } => {
                *src = [0; 4];
                *src_if = 0;
            }
            Self::V6 { src, .. } => *src = [0; 16],
        }
    }

    /// Bytes of `count` datagrams to or from here that have `len` bytes in all, with their IP and
    /// UDP headers.
    pub(crate) fn datagrams_len(&self, len: usize, count: usize) -> u64 {
        let [v4, v6] = HEADERS_LEN;
        let headers = match self {
            Self::V4 { .. } => v4,
            Self::V6 { .. } => v6,
        };
        headers
            .saturating_mul(count as u64)
            .saturating_add(len as u64)
    }

    /// Everything that tells endpoints apart, as numbers. The first is neither 0 nor [`u64::MAX`].
    pub(crate) fn words(&self) -> [u64; Self::WORDS] {
        let first = |family: u16, port: u16, interface: u32| {
            u64::from(family) | u64::from(port) << 16 | u64::from(interface) << 32
        };
        let halves = |addr: u128| ((addr >> 64) as u64, addr as u64);
        match *self {
            Self::V4 {
                addr,
                port,
                src,
                src_if,
                ..
            } => [
                first(AF_INET, port, src_if as u32),
                u64::from(u32::from_be_bytes(addr)),
                0,
                u64::from(u32::from_be_bytes(src)),
                0,
            ],
            Self::V6 {
                addr,
                port,
                scope_id,
                src,
                ..
            } => {
                let addr = halves(u128::from_be_bytes(addr));
                let src = halves(u128::from_be_bytes(src));
                [
                    first(AF_INET6, port, scope_id),
                    addr.0,
                    addr.1,
                    src.0,
                    src.1,
                ]
            }
        }
    }
}

impl Address for Endpoint {
    fn is_place(&self, other: &Self) -> bool {
        match (*self, *other) {
            (
                Self::V4 { addr, port, .. },
                Self::V4 {
                    addr: other_addr,
                    port: other_port,
                    ..
                },
            ) => addr == other_addr && port == other_port,
            (
                Self::V6 {
                    addr,
                    port,
                    scope_id,
                    ..
                },
                Self::V6 {
                    addr: other_addr,
                    port: other_port,
                    scope_id: other_scope,
                    ..
                },
            ) => addr == other_addr && port == other_port && scope_id == other_scope,
            _ => false,
        }
    }

    /// The same IPv4 address, or the same IPv6 network of 64 bits. All hosts of a link have
    /// link-local addresses in one network: of those, the same address.
    fn is_neighbour(&self, other: &Self) -> bool {
        match (*self, *other) {
            (
                Self::V4 { addr, .. },
                Self::V4 {
                    addr: other_addr, ..
                },
            ) => addr == other_addr,
            (
                Self::V6 { addr, scope_id, .. },
                Self::V6 {
                    addr: other_addr,
                    scope_id: other_scope,
                    ..
                },
            ) => {
                let network = |addr| (u128::from_be_bytes(addr) >> 64) as u64;
                scope_id == other_scope
                    && (addr == other_addr
                        || network(addr) == network(other_addr)
                            && !Ipv6Addr::from(addr).is_unicast_link_local())
            }
            _ => false,
        }
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.words() == other.words()
    }
}

impl Eq for Endpoint {}

/// As `%pISpfsc` of `printk()`: `192.0.2.1:51820` or `[2001:db8::1]:51820/0%0`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { addr, port, .. } => {
                f.write_fmt(core::format_args!("{}:{}", Ipv4Addr::from(addr), port))
            }
            Self::V6 {
                addr,
                port,
                scope_id,
                flowinfo,
                ..
            } => f.write_fmt(core::format_args!(
                "[{}]:{}/{}%{}",
                Ipv6Addr::from(addr),
                port,
                u32::from_be(flowinfo) & 0x0fff_ffff,
                scope_id
            )),
        }
    }
}

#[kunit_tests(wireguard_endpoint)]
mod tests {
    use super::*;
    use crate::linux::skbuff::{
        ETH_P_IP,
        ETH_P_IPV6, //
    };
    use kernel::str::CString;

    const V4: Endpoint = Endpoint::V4 {
        addr: [192, 0, 2, 1],
        port: 51820,
        src: [198, 51, 100, 7],
        src_if: 3,
        padding: [0; 8],
    };
    const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const GLOBAL: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    const V6: Endpoint = Endpoint::V6 {
        addr: LINK_LOCAL,
        port: 0xca6c,
        scope_id: 5,
        flowinfo: 0,
        src: GLOBAL,
    };

    /// An IPv6 header with these addresses.
    fn ipv6_header(saddr: [u8; 16], daddr: [u8; 16]) -> [u8; 40] {
        let mut header = [0; 40];
        header[0] = 0x60;
        header[8..24].copy_from_slice(&saddr);
        header[24..].copy_from_slice(&daddr);
        header
    }

    fn from_headers(protocol: u16, ip: &[u8], udp: &[u8], iif: i32) -> Option<Endpoint> {
        Endpoint::from_headers(Header::of(protocol, ip)?, udp, iif)
    }

    #[test]
    fn from_ipv4_headers() {
        let ip = [
            0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 0xca, 0x6c,
        ];
        let udp = [0xca, 0x6c, 0, 1];
        assert!(from_headers(ETH_P_IP, &ip, &udp, 3) == Some(V4));
        // The shortest headers that are read, and shorter ones.
        assert!(from_headers(ETH_P_IP, &ip[..20], &udp[..2], 3) == Some(V4));
        for len in 0..20 {
            assert!(from_headers(ETH_P_IP, &ip[..len], &udp, 3).is_none());
        }
        assert!(from_headers(ETH_P_IP, &ip, &udp[..1], 3).is_none());
        assert!(from_headers(ETH_P_IP, &ip, &[], 3).is_none());
        // ARP.
        assert!(from_headers(0x0806, &ip, &udp, 3).is_none());
    }

    #[test]
    fn from_ipv6_headers() -> Result {
        let ip = ipv6_header(LINK_LOCAL, GLOBAL);
        let udp = [0xca, 0x6c];
        assert!(from_headers(ETH_P_IPV6, &ip, &udp, 5) == Some(V6));
        for len in 0..40 {
            assert!(from_headers(ETH_P_IPV6, &ip[..len], &udp, 5).is_none());
        }
        // An address that means the same everywhere has no scope.
        let Some(Endpoint::V6 {
            addr,
            scope_id,
            src,
            ..
        }) = from_headers(ETH_P_IPV6, &ipv6_header(GLOBAL, LINK_LOCAL), &udp, 5)
        else {
            return Err(EINVAL);
        };
        assert_eq!(addr, GLOBAL);
        assert_eq!(src, LINK_LOCAL);
        assert_eq!(scope_id, 0);
        Ok(())
    }

    #[test]
    fn sockaddr_in() -> Result {
        let sockaddr = to_bytes(V4)?;
        // struct sockaddr_in { sa_family_t; __be16 port; __be32 addr; char zero[8]; }
        let expected = [2, 0, 0xca, 0x6c, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(sockaddr.as_slice(), expected);
        // The sticky source is not part of it.
        let mut without_src = V4;
        without_src.clear_src();
        assert!(Endpoint::from_sockaddr(&expected) == Some(without_src));
        assert!(without_src != V4);
        // Other bytes in place of the zeros come back, but do not make another endpoint.
        let mut padded = expected;
        padded[8..].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let with_padding = Endpoint::from_sockaddr(&padded).ok_or(EINVAL)?;
        assert!(with_padding == without_src);
        assert_eq!(with_padding.to_sockaddr().as_bytes(), padded);
        Ok(())
    }

    #[test]
    fn sockaddr_in6() -> Result {
        let sockaddr = to_bytes(V6)?;
        // struct sockaddr_in6 { sa_family_t; __be16 port; __be32 flowinfo; struct in6_addr;
        //     u32 scope_id; }
        let mut expected = [0; 28];
        expected[..4].copy_from_slice(&[10, 0, 0xca, 0x6c]);
        expected[8..24].copy_from_slice(&LINK_LOCAL);
        expected[24] = 5;
        assert_eq!(sockaddr.as_slice(), expected);
        let mut without_src = V6;
        without_src.clear_src();
        assert!(Endpoint::from_sockaddr(&expected) == Some(without_src));
        // Flow information comes back, but does not make another endpoint.
        expected[5] = 0x0f;
        let with_flow = Endpoint::from_sockaddr(&expected).ok_or(EINVAL)?;
        assert!(with_flow == without_src);
        assert_eq!(with_flow.to_sockaddr().as_bytes(), expected);
        Ok(())
    }

    fn to_bytes(endpoint: Endpoint) -> Result<KVec<u8>> {
        let mut bytes = KVec::new();
        bytes.extend_from_slice(endpoint.to_sockaddr().as_bytes(), GFP_KERNEL)?;
        Ok(bytes)
    }

    #[test]
    fn sockaddr_of_the_wrong_length() {
        let mut bytes = [0; 40];
        for (family, len) in [(2, 16), (10, 28)] {
            bytes[0] = family;
            for wrong in (0..bytes.len()).filter(|&wrong| wrong != len) {
                assert!(Endpoint::from_sockaddr(&bytes[..wrong]).is_none());
            }
            assert!(Endpoint::from_sockaddr(&bytes[..len]).is_some());
        }
        // AF_UNIX.
        bytes[0] = 1;
        assert!(Endpoint::from_sockaddr(&bytes[..16]).is_none());
    }

    #[test]
    fn every_part_makes_another_endpoint() {
        let v4 = |addr, port, src, src_if| Endpoint::V4 {
            addr,
            port,
            src,
            src_if,
            padding: [0; 8],
        };
        let (addr, src) = ([192, 0, 2, 1], [198, 51, 100, 7]);
        assert!(v4(addr, 51820, src, 3) == V4);
        assert!(v4([192, 0, 2, 2], 51820, src, 3) != V4);
        assert!(v4(addr, 51821, src, 3) != V4);
        assert!(v4(addr, 51820, [198, 51, 100, 8], 3) != V4);
        assert!(v4(addr, 51820, src, 4) != V4);

        let v6 = |addr, port, scope_id, src| Endpoint::V6 {
            addr,
            port,
            scope_id,
            flowinfo: 0,
            src,
        };
        assert!(v6(LINK_LOCAL, 0xca6c, 5, GLOBAL) == V6);
        for i in 0..16 {
            let mut other = LINK_LOCAL;
            other[i] ^= 1;
            assert!(v6(other, 0xca6c, 5, GLOBAL) != V6);
            let mut other = GLOBAL;
            other[i] ^= 1;
            assert!(v6(LINK_LOCAL, 0xca6c, 5, other) != V6);
        }
        assert!(v6(LINK_LOCAL, 0xca6d, 5, GLOBAL) != V6);
        assert!(v6(LINK_LOCAL, 0xca6c, 6, GLOBAL) != V6);
        // An endpoint that is all zeros differs from one that is not known.
        assert!(v4([0; 4], 0, [0; 4], 0).words()[0] != 0);
        assert!(v6([0; 16], 0, 0, [0; 16]).words()[0] != 0);
        assert!(v4([0; 4], 0, [0; 4], 0) != v6([0; 16], 0, 0, [0; 16]));
    }

    #[test]
    fn places_and_neighbours() {
        let v4 = |addr, port, src_if| Endpoint::V4 {
            addr,
            port,
            src: [198, 51, 100, 7],
            src_if,
            padding: [0; 8],
        };
        let (addr, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        assert!(v4(addr, 51820, 4).is_place(&V4) && v4(addr, 51820, 4).is_neighbour(&V4));
        assert!(!v4(addr, 51821, 3).is_place(&V4) && v4(addr, 51821, 3).is_neighbour(&V4));
        assert!(!v4(other, 51820, 3).is_place(&V4) && !v4(other, 51820, 3).is_neighbour(&V4));
        assert!(!V6.is_place(&V4) && !V6.is_neighbour(&V4) && !V4.is_neighbour(&V6));

        let v6 = |addr, port, scope_id| Endpoint::V6 {
            addr,
            port,
            scope_id,
            flowinfo: 0,
            src: LINK_LOCAL,
        };
        assert!(v6(LINK_LOCAL, 0xca6c, 5).is_place(&V6));
        assert!(!v6(LINK_LOCAL, 0xca6c, 6).is_place(&V6));
        assert!(!v6(LINK_LOCAL, 0xca6c, 6).is_neighbour(&V6));
        assert!(!v6(LINK_LOCAL, 1, 5).is_place(&V6) && v6(LINK_LOCAL, 1, 5).is_neighbour(&V6));
        let mut host = LINK_LOCAL;
        host[15] = 2;
        assert!(!v6(host, 0xca6c, 5).is_neighbour(&V6));
        let global = v6(GLOBAL, 1, 0);
        for i in 0..16 {
            let mut other = GLOBAL;
            other[i] ^= 1;
            assert!(!v6(other, 1, 0).is_place(&global));
            assert!(v6(other, 2, 0).is_neighbour(&global) == (i >= 8));
        }
        assert_eq!(V4.datagrams_len(1000, 2), 1056);
        assert_eq!(V6.datagrams_len(1000, 2), 1096);
    }

    #[test]
    fn display() -> Result {
        assert_eq!(
            CString::try_from_fmt(fmt!("{}", V4))?.to_bytes(),
            b"192.0.2.1:51820"
        );
        assert_eq!(
            CString::try_from_fmt(fmt!("{}", V6))?.to_bytes(),
            b"[fe80::1]:51820/0%5"
        );
        Ok(())
    }
}
