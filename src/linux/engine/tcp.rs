// SPDX-License-Identifier: GPL-2.0

//! TCP segments, written directly to their destination.
//!
//! [`SkBuff::gso_segment`] makes a buffer of each segment. That is a detour if the segments are
//! encrypted into other memory anyway. This file avoids the detour for the most common kind of
//! packet.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h) (`SKB_GSO_TCPV4`,
//! `SKB_GSO_TCPV6`)

use super::{
    segments::{
        checksum,
        fold, //
    },
    Text, //
};
use crate::linux::{
    bindings,
    ip::IPV6_HEADER_LEN,
    skbuff::{
        SkBuff,
        ETH_P_IP,
        ETH_P_IPV6, //
    }, //
};

/// Bytes of a TCP header without options.
const TCP_HEADER_LEN: usize = 20;
/// Offset of the checksum in a TCP header.
const TCP_CHECK: usize = 16;
/// Offset of the flags byte in a TCP header. `FIN_PSH` are flags of the last segment only, `CWR` of
/// the first only.
const TCP_FLAGS: usize = 13;
const FIN_PSH: u8 = 0x01 | 0x08;
const CWR: u8 = 0x80;

/// A packet of several TCP segments, on plain IPv4 or IPv6.
///
/// # Invariants
///
/// The data of `skb` begin with a network header of `network_len` bytes and a TCP header of
/// `headers_len - network_len` bytes. Both are linear, and more data follow.
pub(crate) struct TcpGso<'a> {
    skb: &'a SkBuff,
    network_len: usize,
    headers_len: usize,
    mss: usize,
    /// How many segments there are.
    count: usize,
}

/// One segment of a [`TcpGso`].
pub(crate) struct TcpSegment<'a> {
    gso: &'a TcpGso<'a>,
    index: usize,
}

impl SkBuff {
    /// The segments of the packet, if it is a TCP GSO packet of the most common kind: without
    /// extension headers, other tunnels, IP fragments or anything else that only
    /// [`Self::gso_segment`] handles.
    pub(crate) fn tcp_gso(&self) -> Option<TcpGso<'_>> {
        const V4: u32 = bindings::SKB_GSO_TCPV4 as u32;
        const V6: u32 = bindings::SKB_GSO_TCPV6 as u32;
        // Bits that change nothing here: the packet is from an untrusted source; it has congestion
        // bits that only the first segment keeps.
        const SAME: u32 = (bindings::SKB_GSO_DODGY | bindings::SKB_GSO_TCP_ECN) as u32;
        let shinfo = self.shinfo();
        let kind = shinfo.gso_type & !SAME;
        let headers = self.headers();
        let data = self.head();
        let network_len = match (self.protocol(), kind) {
            // Not an IP fragment, and TCP.
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
            && headers_len < self.len();
        let plain = self.network_offset() == 0
            && self.transport_offset() == network_len as isize
            && headers.encapsulation() == 0
            && u32::from(headers.ip_summed()) == bindings::CHECKSUM_PARTIAL
            && !self.goes_alone();
        let mss = usize::from(shinfo.gso_size);
        let payload_len = self.len().wrapping_sub(headers_len);
        let count = payload_len
            .wrapping_add(mss.wrapping_sub(1))
            .checked_div(mss)?;
        // INVARIANT: `fits` and `plain` are these conditions.
        (fits && plain).then_some(TcpGso {
            skb: self,
            network_len,
            headers_len,
            mss,
            count,
        })
    }
}

impl<'a> TcpGso<'a> {
    /// How many segments there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The segment with this number, counted from 0, if there is one.
    pub(crate) fn segment(&'a self, index: usize) -> Option<TcpSegment<'a>> {
        (index < self.count).then_some(TcpSegment { gso: self, index })
    }
}

impl TcpSegment<'_> {
    fn offset(&self) -> usize {
        self.index.wrapping_mul(self.gso.mss)
    }

    fn payload_len(&self) -> usize {
        let gso = self.gso;
        gso.skb
            .len()
            .wrapping_sub(gso.headers_len)
            .saturating_sub(self.offset())
            .min(gso.mss)
    }

    /// Completes the headers of this segment. `payload` is the sum of the bytes behind them.
    fn finish_headers(&self, headers: &mut [u8], payload: u32) -> Option<()> {
        let (ip, tcp) = headers.split_at_mut_checked(self.gso.network_len)?;
        let tcp_len = tcp.len().wrapping_add(self.payload_len());
        let last = self.index.wrapping_add(1) == self.gso.count;

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
            // The checksum of an IPv4 header may be 0.
            let check = !fold(sum(ip));
            *ip.get_mut(10..)?.first_chunk_mut()? = check.to_ne_bytes();
            ip.get(12..20)?
        };
        let place = TCP_CHECK..TCP_CHECK.wrapping_add(2);
        tcp.get_mut(place.clone())?.fill(0);
        // The pseudo header: the addresses, the length and the protocol.
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

/// The sum of `bytes`, whose number is a multiple of 4, as words of 4 bytes in the byte order of
/// the machine. A checksum depends neither on the byte order nor on the word length. RFC 1071.
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
        if payload.len() != self.payload_len() {
            return None;
        }
        let offset = gso.headers_len.wrapping_add(self.offset());
        let sum = gso.skb.copy_and_csum_bits(offset, payload)?;
        self.finish_headers(headers, sum)
    }
}
