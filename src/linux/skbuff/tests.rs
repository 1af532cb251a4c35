// SPDX-License-Identifier: GPL-2.0

//! Tests of packets whose headers another party wrote, and of lengths at the limits.

use super::*;
use crate::{
    linux::netdevice::NetDevice,
    testing::Numbers, //
};

/// Bytes of headroom of the packets here.
pub(in crate::linux) const HEADROOM: usize = 128;

/// A packet of these bytes, which begin with a network header.
pub(in crate::linux) fn packet(bytes: &[u8], protocol: u16, network_len: usize) -> Result<SkBuff> {
    let mut skb = SkBuff::alloc(HEADROOM, bytes.len())?;
    skb.put(bytes)?;
    skb.set_protocol(protocol);
    let start = skb.headroom();
    let headers = skb.headers_mut();
    headers.mac_header = start as u16;
    headers.network_header = start as u16;
    headers.transport_header = (start + network_len) as u16;
    Ok(skb)
}

/// Leaves the checksum from `start` on to the device, which is to store it `offset` bytes behind.
pub(in crate::linux) fn leave_checksum(skb: &mut SkBuff, start: u16, offset: u16) {
    // SAFETY: The buffer is ours.
    unsafe { bindings::skb_partial_csum_set(skb.as_raw(), start, offset) };
}

/// Declares `skb` a GSO packet of TCP segments of `mss` bytes.
pub(in crate::linux) fn set_tcp_gso(skb: &mut SkBuff, kind: u32, mss: u16) {
    leave_checksum(skb, skb.transport_offset() as u16, 16);
    if let Some(shinfo) = skb.shinfo_mut() {
        shinfo.gso_type = kind;
        shinfo.gso_size = mss;
    }
}

/// A clone, which shares the data.
pub(in crate::linux) fn clone(skb: &SkBuff) -> Result<SkBuff> {
    // SAFETY: The buffer is valid.
    let clone = unsafe { bindings::skb_clone(skb.as_raw(), bindings::GFP_KERNEL) };
    // SAFETY: The buffer is new and ours.
    Ok(unsafe { SkBuff::from_raw(NonNull::new(clone).ok_or(ENOMEM)?) })
}

/// The sum of the 16-bit words, folded.
pub(in crate::linux) fn words(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for word in part.chunks(2) {
            let low = word.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([word[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A GSO packet of TCP segments of `mss` bytes inside an IPv4-in-IPv4 tunnel, as the tunnel's
/// device makes it.
fn tcp_in_ipip(numbers: &mut Numbers, len: usize, mss: u16) -> Result<SkBuff> {
    const OUTER: usize = 20;
    const INNER: usize = 20;
    let total = OUTER + INNER + 20 + len;
    let mut bytes = KVec::from_elem(0, total, GFP_KERNEL)?;
    numbers.fill(&mut bytes);
    for (at, protocol) in [(0, 4), (OUTER, 6)] {
        bytes[at] = 0x45;
        bytes[at + 2..at + 4].copy_from_slice(&((total - at) as u16).to_be_bytes());
        bytes[at + 6..at + 8].copy_from_slice(&[0x40, 0]);
        bytes[at + 9] = protocol;
    }
    let tcp = OUTER + INNER;
    bytes[tcp + 12] = 5 << 4;
    let start = words(&[
        &bytes[OUTER + 12..tcp],
        &[0, 6],
        &((20 + len) as u16).to_be_bytes(),
    ]);
    bytes[tcp + 16..tcp + 18].copy_from_slice(&start.to_be_bytes());
    let mut skb = packet(&bytes, ETH_P_IP, tcp)?;
    let kind = (bindings::SKB_GSO_TCPV4 | bindings::SKB_GSO_IPXIP4) as u32;
    set_tcp_gso(&mut skb, kind, mss);
    let start = skb.headroom();
    let headers = skb.headers_mut();
    headers.set_encapsulation(1);
    headers.inner_mac_header = (start + OUTER) as u16;
    headers.inner_network_header = (start + OUTER) as u16;
    headers.inner_transport_header = (start + tcp) as u16;
    Ok(skb)
}

/// The bytes of a packet whose checksum is yet to be computed.
fn contents_without_checksum(skb: &SkBuff) -> Result<KVec<u8>> {
    let mut bytes = KVec::new();
    bytes.extend_from_slice(skb.head(), GFP_KERNEL)?;
    Ok(bytes)
}

/// A device that is always there.
pub(in crate::linux) fn device() -> &'static NetDevice {
    // SAFETY: The function has no requirements.
    let dev = unsafe { bindings::helper_loopback() };
    // SAFETY: The first loopback device stays.
    unsafe { NetDevice::from_raw(dev) }
}

#[kernel::macros::kunit_tests(rust_skbuff)]
mod cases {
    use super::*;

    #[test]
    fn a_length_that_c_would_wrap_is_refused() {
        let most = u32::MAX as usize;
        for (headroom, len) in [
            (0, most),
            (0, most - 62),
            (0, most - 320),
            (HEADROOM, most - HEADROOM),
            (32_767, most - 32_767),
            (0, most + 1),
            (0, usize::MAX),
            (1, usize::MAX),
            (0, (1 << 30) + 1),
            (32_768, 0),
        ] {
            assert!(SkBuff::alloc(headroom, len).is_err());
        }
    }

    #[test]
    fn data_begin_where_an_offset_can_say() -> Result {
        let mut skb = SkBuff::alloc(0, 100_000)?;
        skb.put(&KVec::from_elem(0x45, 100_000, GFP_KERNEL)?)?;
        skb.pull(65_534)?;
        assert!(skb.pull(1).is_err());
        assert!(skb.pull(20_000).is_err());
        skb.set_network_header();
        assert!(skb.network_offset() == 0 && skb.network_header().len() == 100_000 - 65_534);
        Ok(())
    }

    #[test]
    fn segments_of_a_tunnel_are_made_with_the_device() -> Result {
        const DEV: usize = core::mem::offset_of!(
            bindings::sk_buff,
            __bindgen_anon_1.__bindgen_anon_1.__bindgen_anon_1.dev
        );

        let mut numbers = Numbers::new(12);
        let skb = tcp_in_ipip(&mut numbers, 3500, 1000)?;
        let whole = contents_without_checksum(&skb)?;
        let mut segments = skb.gso_segment(device()).map_err(|(error, _)| error)?;
        assert!(segments.len() == 4);
        let mut payload = 60;
        while let Some(mut segment) = segments.pop_front() {
            let dev: *const *mut bindings::net_device =
                segment.as_raw().wrapping_byte_add(DEV).cast();
            // SAFETY: The buffer is valid.
            assert!(unsafe { *dev }.is_null());
            segment.checksum_help()?;
            let len = segment.len();
            assert!(segment.may_pull(len));
            let bytes = segment.head();
            assert!(words(&[&bytes[..20]]) == 0xffff && words(&[&bytes[20..40]]) == 0xffff);
            assert!(u16::from_be_bytes([bytes[22], bytes[23]]) as usize == bytes.len() - 20);
            let len = ((bytes.len() - 40) as u16).to_be_bytes();
            assert!(words(&[&bytes[32..40], &[0, 6], &len, &bytes[40..]]) == 0xffff);
            assert!(bytes[60..] == whole[payload..payload + bytes.len() - 60]);
            payload += bytes.len() - 60;
        }
        assert!(payload == whole.len());
        Ok(())
    }

    #[test]
    fn segments_are_not_made_where_the_headers_of_a_tunnel_are_in_disorder() -> Result {
        let mut numbers = Numbers::new(13);
        let changes: [fn(&mut SkBuff); 4] = [
            |skb| skb.headers_mut().inner_mac_header = 0,
            |skb| skb.headers_mut().inner_mac_header = u16::MAX,
            |skb| skb.headers_mut().inner_network_header -= 1,
            |skb| skb.headers_mut().inner_network_header = 60_000,
        ];
        for change in changes {
            let mut skb = tcp_in_ipip(&mut numbers, 3500, 1000)?;
            change(&mut skb);
            assert!(matches!(skb.gso_segment(device()), Err((EINVAL, _))));
        }
        Ok(())
    }
}
