// SPDX-License-Identifier: GPL-2.0

//! TCP segments, made where they are wanted.
//!
//! [`SkBuff::gso_segment`] makes a buffer of each segment. For the most common kind of packet that
//! is a detour if what is in them is to be encrypted to somewhere else anyway.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h) (`SKB_GSO_TCPV4`,
//! `SKB_GSO_TCPV6`)

use super::{
    segments::{
        checksum,
        fold, //
    },
    SkBuff,
    Text,
    ETH_P_IP,
    ETH_P_IPV6, //
};
use crate::linux::bindings;

/// Bytes of an IPv6 header.
const IPV6_HEADER_LEN: usize = 40;
/// Bytes of a TCP header without options.
const TCP_HEADER_LEN: usize = 20;
/// Where in a TCP header its checksum is.
const TCP_CHECK: usize = 16;
/// Flags of a TCP header: the last byte of them, and what only the last or the first segment has.
const TCP_FLAGS: usize = 13;
const FIN_PSH: u8 = 0x01 | 0x08;
const CWR: u8 = 0x80;

/// A packet of several TCP segments, on plain IPv4 or IPv6.
///
/// # Invariants
///
/// The data of `skb` begin with the network header. `network_len` bytes of that, then
/// `headers_len - network_len` bytes of the TCP header are linear; more data follow. `mss` is not
/// 0.
pub(crate) struct TcpGso<'a> {
    skb: &'a SkBuff,
    network_len: usize,
    headers_len: usize,
    mss: usize,
}

/// One of its segments.
pub(crate) struct TcpSegment<'a> {
    gso: &'a TcpGso<'a>,
    index: usize,
}

impl SkBuff {
    /// The segments of the packet, if it is one of TCP segments and of the most common kind:
    /// without extension headers, other tunnels, fragments or anything that only
    /// [`Self::gso_segment`] knows of.
    pub(crate) fn tcp_gso(&self) -> Option<TcpGso<'_>> {
        const V4: u32 = bindings::SKB_GSO_TCPV4 as u32;
        const V6: u32 = bindings::SKB_GSO_TCPV6 as u32;
        // From somebody whose word is not taken; with congestion bits that only the first segment
        // has.
        const SAME: u32 = (bindings::SKB_GSO_DODGY | bindings::SKB_GSO_TCP_ECN) as u32;
        let shinfo = self.shinfo();
        let kind = shinfo.gso_type & !SAME;
        let headers = self.headers();
        let data = self.head();
        let network_len = match (self.protocol(), kind) {
            // No fragment; a length that is right.
            (ETH_P_IP, V4)
                if data.get(6)? & 0x3f == 0 && *data.get(7)? == 0 && *data.get(9)? == 6 =>
            {
                usize::from(data.first()? & 15).wrapping_mul(4)
            }
            (ETH_P_IPV6, V6) if *data.get(6)? == 6 => IPV6_HEADER_LEN,
            _ => return None,
        };
        let doff = usize::from(data.get(network_len..)?.get(12)? >> 4).wrapping_mul(4);
        let headers_len = network_len.wrapping_add(doff);
        let fits = network_len >= 20
            && doff >= TCP_HEADER_LEN
            && headers_len <= data.len()
            && headers_len < self.len()
            && shinfo.gso_size != 0;
        let plain = self.network_offset() == 0
            && self.transport_offset() == network_len as isize
            && headers.encapsulation() == 0
            && u32::from(headers.ip_summed()) == bindings::CHECKSUM_PARTIAL
            && !self.goes_alone();
        // INVARIANT: As looked at.
        (fits && plain).then_some(TcpGso {
            skb: self,
            network_len,
            headers_len,
            mss: usize::from(shinfo.gso_size),
        })
    }
}

impl<'a> TcpGso<'a> {
    fn payload_len(&self) -> usize {
        self.skb.len().wrapping_sub(self.headers_len)
    }

    /// How many segments there are.
    pub(crate) fn count(&self) -> usize {
        self.payload_len()
            .wrapping_add(self.mss.wrapping_sub(1))
            .checked_div(self.mss)
            .unwrap_or(0)
    }

    /// The segment with this number, from 0 on, if there is one.
    pub(crate) fn segment(&'a self, index: usize) -> Option<TcpSegment<'a>> {
        (index < self.count()).then_some(TcpSegment { gso: self, index })
    }
}

impl TcpSegment<'_> {
    fn offset(&self) -> usize {
        self.index.wrapping_mul(self.gso.mss)
    }

    fn payload_len(&self) -> usize {
        self.gso
            .payload_len()
            .saturating_sub(self.offset())
            .min(self.gso.mss)
    }

    /// Writes what is said in the headers, `payload` being the checksum of what follows them.
    fn finish_headers(&self, headers: &mut [u8], payload: u32) -> Option<()> {
        let (ip, tcp) = headers.split_at_mut_checked(self.gso.network_len)?;
        let tcp_len = tcp.len().wrapping_add(self.payload_len());
        let last = self.index.wrapping_add(1) == self.gso.count();

        let seq = tcp.get_mut(4..)?.first_chunk_mut::<4>()?;
        *seq = u32::from_be_bytes(*seq)
            .wrapping_add(self.offset() as u32)
            .to_be_bytes();
        let flags = tcp.get_mut(TCP_FLAGS)?;
        if !last {
            *flags &= !FIN_PSH;
        }
        if self.index != 0 {
            *flags &= !CWR;
        }

        let addresses = if ip.len() == IPV6_HEADER_LEN && ip.first()? >> 4 == 6 {
            *ip.get_mut(4..)?.first_chunk_mut()? = (tcp_len as u16).to_be_bytes();
            ip.get(8..)?
        } else {
            let total = ip.len().wrapping_add(tcp_len);
            *ip.get_mut(2..)?.first_chunk_mut()? = (total as u16).to_be_bytes();
            let id = ip.get_mut(4..)?.first_chunk_mut::<2>()?;
            *id = u16::from_be_bytes(*id)
                .wrapping_add(self.index as u16)
                .to_be_bytes();
            *ip.get_mut(10..)?.first_chunk_mut()? = [0; 2];
            // Of an IPv4 header this may be 0.
            let check = !fold(sum(ip));
            *ip.get_mut(10..)?.first_chunk_mut()? = check.to_ne_bytes();
            ip.get(12..20)?
        };
        let place = TCP_CHECK..TCP_CHECK.wrapping_add(2);
        tcp.get_mut(place.clone())?.fill(0);
        // The addresses, the length and the protocol stand in front of the segment.
        let pseudo = sum(addresses)
            .wrapping_add(u64::from((tcp_len as u16).to_be()))
            .wrapping_add(u64::from(6_u16.to_be()));
        let check = checksum(
            sum(tcp)
                .wrapping_add(pseudo)
                .wrapping_add(u64::from(payload)),
        );
        tcp.get_mut(place)?.copy_from_slice(&check);
        Some(())
    }
}

/// The sum of the words of `bytes`, which are a multiple of 4, in the byte order of the machine:
/// neither that nor how long the words are matters to a checksum. RFC 1071.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(4)
        .filter_map(|word| word.first_chunk())
        .fold(0, |sum, word| {
            sum.wrapping_add(u64::from(u32::from_ne_bytes(*word)))
        })
}

impl Text for TcpSegment<'_> {
    fn len(&self) -> usize {
        self.gso.headers_len.wrapping_add(self.payload_len())
    }

    fn write(&self, out: &mut [u8]) -> Option<()> {
        let gso = self.gso;
        let (headers, payload) = out.split_at_mut_checked(gso.headers_len)?;
        headers.copy_from_slice(gso.skb.head().get(..gso.headers_len)?);
        let len = self.payload_len();
        if payload.len() != len {
            return None;
        }
        let offset = gso.headers_len.wrapping_add(self.offset());
        // SAFETY: The buffer is valid and has that many bytes there, of which it has less than
        // 2^31; `payload` has room for them.
        let sum = unsafe {
            bindings::skb_copy_and_csum_bits(
                gso.skb.as_raw(),
                offset as i32,
                payload.as_mut_ptr(),
                len as i32,
            )
        };
        self.finish_headers(headers, sum)
    }
}
