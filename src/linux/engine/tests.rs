// SPDX-License-Identifier: GPL-2.0

//! Tests of GSO packets and aggregates: our segments are equal to those that the kernel makes.

use kernel::prelude::*;

use super::{
    Chain,
    PageRings,
    Segments,
    Text, //
};
use crate::{
    linux::{
        bindings,
        bottom_half,
        compat::code::EBADMSG,
        page_pool::PagePools,
        skbuff::{
            tests::{
                clone,
                device,
                leave_checksum,
                packet,
                set_tcp_gso,
                words,
                HEADROOM, //
            },
            SkBuff,
            SkbList,
            ETH_P_IP,
            ETH_P_IPV6, //
        }, //
    },
    testing::Numbers, //
};

/// A TCP packet of random contents with `len` bytes of payload, as a socket gives it to a device
/// that segments. Also returns the length of its network header.
fn tcp(numbers: &mut Numbers, v6: bool, len: usize) -> Result<(KVec<u8>, usize)> {
    let network_len = if v6 {
        40
    } else {
        20 + 4 * numbers.below(11) as usize
    };
    let doff = 20 + 4 * numbers.below(11) as usize;
    let total = network_len + doff + len;
    let mut bytes = KVec::from_elem(0, total, GFP_KERNEL)?;
    numbers.fill(&mut bytes);
    if v6 {
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&((doff + len) as u16).to_be_bytes());
        bytes[6] = 6;
    } else {
        bytes[0] = 0x40 | (network_len / 4) as u8;
        bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&[0x40, 0]);
        bytes[9] = 6;
    }
    bytes[network_len + 12] = (doff / 4) as u8 * 16;
    // The socket sums the addresses, the length and the protocol, and leaves the rest to the
    // device.
    let addresses = if v6 { 8..40 } else { 12..20 };
    let start = words(&[
        &bytes[addresses],
        &[0, 6],
        &((doff + len) as u16).to_be_bytes(),
    ]);
    bytes[network_len + 16..][..2].copy_from_slice(&start.to_be_bytes());
    Ok((bytes, network_len))
}

/// Where the data behind the first 16 bytes are decrypted from.
fn source(skb: &SkBuff) -> *const c_void {
    // SAFETY: The buffer is valid.
    unsafe { bindings::helper_skb_source(skb.as_raw(), 16) }
}

fn contents(text: &impl Text) -> Result<KVec<u8>> {
    let mut bytes = KVec::from_elem(0, text.len(), GFP_ATOMIC)?;
    text.write(&mut bytes).ok_or(EINVAL)?;
    Ok(bytes)
}

/// Bytes of an IPv4 and a UDP header.
const OUTER: usize = 28;

/// Puts IPv4 and UDP headers in front of an aggregate, as a tunnel does.
fn put_outer_headers(skb: &mut SkBuff) -> Result {
    let total = (skb.len() + OUTER) as u16;
    skb.push(OUTER)?;
    let mut header = [0; OUTER];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[9] = 17;
    header[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    // SAFETY: There are that many bytes, and they are ours.
    unsafe {
        skb.skb()
            .data
            .copy_from_nonoverlapping(header.as_ptr(), OUTER)
    };
    let start = skb.headroom();
    skb.set_protocol(ETH_P_IP);
    let headers = skb.headers_mut();
    headers.mac_header = start as u16;
    headers.network_header = start as u16;
    headers.transport_header = (start + 20) as u16;
    Ok(())
}

/// A datagram with 16 bytes of header and a packet of these bytes, encrypted with `key` and the
/// counter 5.
fn sealed(bytes: &[u8], pages: &PageRings, key: &[u8; 32]) -> Result<SkBuff> {
    let text = packet(bytes, ETH_P_IP, 0)?;
    let mut run = Segments::new(HEADROOM, 16 + bytes.len() + 16, 1, pages)?;
    run.push(&text, &[0; 16], 0, 5, key)?;
    run.finish(&text).ok_or(EINVAL)
}

#[kernel::macros::kunit_tests(rust_segments)]
mod cases {
    use super::*;

    #[test]
    fn tcp_segments_are_the_kernels() -> Result {
        let mut numbers = Numbers::new(7);
        for round in 0..100_u64 {
            let v6 = round % 2 == 1;
            let mss = 1 + numbers.below(1500) as u16;
            let most = (usize::from(mss) * 40).min(64_000);
            let len =
                1 + usize::from(mss) + numbers.below((most - usize::from(mss)) as u64) as usize;
            let (bytes, network_len) = tcp(&mut numbers, v6, len)?;
            let (protocol, kind) = if v6 {
                (ETH_P_IPV6, bindings::SKB_GSO_TCPV6)
            } else {
                (ETH_P_IP, bindings::SKB_GSO_TCPV4)
            };
            let mut skb = packet(&bytes, protocol, network_len)?;
            set_tcp_gso(&mut skb, kind as u32, mss);
            let gso = skb.tcp_gso().ok_or(EINVAL)?;
            let mut ours: KVec<KVec<u8>> = KVec::new();
            for index in 0..gso.count() {
                let segment = gso.segment(index).ok_or(EINVAL)?;
                ours.push(contents(&segment)?, GFP_KERNEL)?;
            }
            assert!(gso.segment(gso.count()).is_none());
            let mut kernels = skb.gso_segment(device()).map_err(|(error, _)| error)?;
            assert!(kernels.len() == ours.len());
            for ours in &ours {
                let mut segment = kernels.pop_front().ok_or(EINVAL)?;
                segment.checksum_help()?;
                assert!(contents(&segment)?[..] == ours[..]);
            }
        }
        Ok(())
    }

    #[test]
    fn tcp_segments_are_left_to_the_kernel_where_there_is_more_to_know() -> Result {
        let mut numbers = Numbers::new(8);
        let made = |change: &dyn Fn(&mut SkBuff)| -> Result<bool> {
            let mut numbers = Numbers::new(9);
            let (bytes, network_len) = tcp(&mut numbers, false, 3000)?;
            let mut skb = packet(&bytes, ETH_P_IP, network_len)?;
            set_tcp_gso(&mut skb, bindings::SKB_GSO_TCPV4 as u32, 1000);
            change(&mut skb);
            Ok(skb.tcp_gso().is_some())
        };
        let kind = |kind: i32| {
            move |skb: &mut SkBuff| set_tcp_gso(skb, (bindings::SKB_GSO_TCPV4 | kind) as u32, 1000)
        };
        assert!(made(&|_| {})?);
        assert!(made(&kind(bindings::SKB_GSO_TCP_ECN))?);
        assert!(made(&kind(bindings::SKB_GSO_DODGY))?);
        assert!(!made(&kind(bindings::SKB_GSO_TCP_ACCECN))?);
        assert!(!made(&kind(bindings::SKB_GSO_TCP_FIXEDID))?);
        assert!(!made(&kind(bindings::SKB_GSO_UDP_TUNNEL))?);
        assert!(!made(&|skb| set_tcp_gso(
            skb,
            bindings::SKB_GSO_TCPV6 as u32,
            1000
        ))?);
        assert!(!made(&|skb| set_tcp_gso(
            skb,
            bindings::SKB_GSO_TCPV4 as u32,
            0
        ))?);
        assert!(!made(&|skb| skb.headers_mut().set_encapsulation(1))?);
        assert!(!made(&|skb| skb.headers_mut().set_ip_summed(0))?);
        assert!(!made(&|skb| skb.headers_mut().transport_header += 4)?);
        assert!(!made(&|skb| skb.set_protocol(ETH_P_IPV6))?);
        assert!(!made(&|skb| assert!(skb.trim(30).is_ok()))?);
        // No header, however broken, makes the functions panic or fail.
        for _ in 0..2000 {
            let (mut bytes, network_len) = tcp(&mut numbers, false, 100)?;
            for _ in 0..2 {
                let at = numbers.below(60) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = numbers.next() as u8;
                }
            }
            let mut skb = packet(&bytes, ETH_P_IP, network_len)?;
            set_tcp_gso(
                &mut skb,
                bindings::SKB_GSO_TCPV4 as u32,
                numbers.below(100) as u16,
            );
            skb.trim(numbers.below(200) as usize)?;
            if let Some(gso) = skb.tcp_gso() {
                for index in 0..gso.count() {
                    contents(&gso.segment(index).ok_or(EINVAL)?)?;
                }
            }
        }
        Ok(())
    }

    /// Makes aggregates, lets the kernel take them apart, as it does for a tunnel's socket, and
    /// decrypts each datagram after `change` has changed it.
    fn open_all(change: impl Fn(&mut SkBuff) -> Result) -> Result {
        let mut numbers = Numbers::new(10);
        let mut key = [0; 32];
        numbers.fill(&mut key);
        let (pages, pools) = (PageRings::new()?, PagePools::new(1 << 15, 4)?);
        for round in 0..100 {
            let most = if round % 10 == 0 { 32_000 } else { 2000 };
            let len = 1 + numbers.below(most) as usize;
            let count = 1 + numbers.below(40) as usize;
            let overhead = 16 + 16;
            let mut run = Segments::new(HEADROOM, len + overhead, count, &pages)?;
            let mut plain: KVec<KVec<u8>> = KVec::new();
            for index in 0..count {
                if run.room() == 0 {
                    break;
                }
                let last = index + 1 == count;
                let cut = if last {
                    numbers.below(len as u64) as usize
                } else {
                    0
                };
                let mut bytes = KVec::from_elem(0, len - cut, GFP_KERNEL)?;
                numbers.fill(&mut bytes);
                let text = packet(&bytes, ETH_P_IP, 0)?;
                run.push(&text, &[index as u8; 16], 0, index as u64, &key)?;
                plain.push(bytes, GFP_KERNEL)?;
            }
            let like = packet(&[0; 40], ETH_P_IP, 20)?;
            let mut skb = run.finish(&like).ok_or(EINVAL)?;
            assert!(skb.segments() == plain.len());
            put_outer_headers(&mut skb)?;
            let mut datagrams = skb.gso_segment(device()).map_err(|(error, _)| error)?;
            assert!(datagrams.len() == plain.len());
            for (index, bytes) in plain.iter().enumerate() {
                let mut datagram = datagrams.pop_front().ok_or(EINVAL)?;
                datagram.pull(OUTER)?;
                assert!(datagram.read::<[u8; 16]>() == Some([index as u8; 16]));
                change(&mut datagram)?;
                *datagram.cb() = [index as u64; 6];
                let mut datagram = datagram.open(16, index as u64, &key, &pools)?;
                assert!(datagram.head() == &bytes[..]);
                assert!(*datagram.cb::<[u64; 6]>() == [index as u64; 6]);
                assert!(datagram.protocol() == ETH_P_IP);
                assert!(datagram.network_offset() < 0 && datagram.transport_offset() < 0);
                assert!(datagram.network_header()[9] == 17);
                let udp = datagram.transport_header();
                assert!(udp[4..6] == ((bytes.len() + 8 + overhead) as u16).to_be_bytes());
            }
        }
        Ok(())
    }

    #[test]
    fn datagrams_that_were_sent_as_one_packet_are_decrypted_from_where_they_lie() -> Result {
        open_all(|_| Ok(()))
    }

    #[test]
    fn datagrams_in_one_piece_are_decrypted_in_place() -> Result {
        open_all(|skb| {
            let len = skb.len();
            if skb.may_pull(len) {
                Ok(())
            } else {
                Err(ENOMEM)
            }
        })
    }

    #[test]
    fn datagrams_of_a_chain_keep_their_buffers() -> Result {
        let mut numbers = Numbers::new(12);
        let mut key = [0; 32];
        numbers.fill(&mut key);
        let pools = PagePools::new(1 << 15, 4)?;
        for _ in 0..100 {
            let len = 1 + numbers.below(2000) as usize;
            let count = 2 + numbers.below(40) as usize;
            let mut chain = Chain::new(64, len + 32, count)?;
            let mut plain: KVec<(KVec<u8>, *mut u8)> = KVec::new();
            while chain.room() != 0 {
                let index = plain.len();
                let cut = if index + 1 == count {
                    numbers.below(len as u64) as usize
                } else {
                    0
                };
                let mut bytes = KVec::from_elem(0, len - cut, GFP_KERNEL)?;
                numbers.fill(&mut bytes);
                let mut skb = SkBuff::alloc(HEADROOM, len + 16)?;
                skb.put(&bytes)?;
                let pad = cut.min(1);
                skb.seal(&[index as u8; 16], pad, index as u64, &key)?;
                plain.push((bytes, skb.skb().data), GFP_KERNEL)?;
                assert!(chain.push(skb).is_ok());
            }
            let mut skb = chain.finish().ok_or(EINVAL)?;
            assert!(skb.segments() == plain.len());
            put_outer_headers(&mut skb)?;
            let mut datagrams = skb.gso_segment(device()).map_err(|(error, _)| error)?;
            assert!(datagrams.len() == plain.len());
            for (index, (bytes, data)) in plain.iter().enumerate() {
                let mut datagram = datagrams.pop_front().ok_or(EINVAL)?;
                assert!(datagram.network_header()[9] == 17);
                let udp = datagram.transport_header();
                assert!(udp[4..6] == ((datagram.len() - 20) as u16).to_be_bytes());
                datagram.pull(OUTER)?;
                assert!(datagram.skb().data == *data);
                assert!(datagram.read::<[u8; 16]>() == Some([index as u8; 16]));
                let datagram = datagram.open(16, index as u64, &key, &pools)?;
                assert!(datagram.head().get(..bytes.len()) == Some(&bytes[..]));
            }
        }
        Ok(())
    }

    #[test]
    fn a_chain_takes_only_what_is_its_own() -> Result {
        let mut chain = Chain::new(64, 100, 3)?;
        // Too long.
        assert!(chain.push(packet(&[0; 101], ETH_P_IP, 0)?).is_err());
        let skb = packet(&[0; 100], ETH_P_IP, 0)?;
        let clone = clone(&skb)?;
        let Err(skb) = chain.push(skb) else {
            return Err(EINVAL);
        };
        clone.consume();
        assert!(chain.push(skb).is_ok());
        // A shorter datagram is the last.
        assert!(chain.push(packet(&[0; 99], ETH_P_IP, 0)?).is_ok());
        assert!(chain.room() == 0);
        assert!(chain.push(packet(&[0; 1], ETH_P_IP, 0)?).is_err());
        assert!(chain.finish().is_some_and(|skb| skb.len() == 199));
        // What is not finished is freed.
        let mut chain = Chain::new(64, 100, 3)?;
        assert!(chain.push(packet(&[0; 100], ETH_P_IP, 0)?).is_ok());
        drop(chain);
        assert!(Chain::new(64, 100, 3)?.finish().is_none());
        assert!(Chain::new(64, 65_500, 3).is_err() && Chain::new(0, 100, 3).is_err());
        Ok(())
    }

    #[test]
    fn a_forged_datagram_is_refused_wherever_it_lies() -> Result {
        let key = [1; 32];
        let (pages, pools) = (PageRings::new()?, PagePools::new(1 << 15, 4)?);
        for linear in [false, true] {
            let mut skb = sealed(&[7; 1000], &pages, &key)?;
            let start = skb.headroom() as u16;
            skb.headers_mut().network_header = start;
            skb.headers_mut().transport_header = start;
            if linear {
                assert!(skb.may_pull(1032));
            }
            assert!(skb.open(16, 6, &key, &pools).err() == Some(EBADMSG));
        }
        let short = packet(&[0; 31], ETH_P_IP, 0)?;
        assert!(short.open(16, 0, &key, &pools).err() == Some(EINVAL));
        Ok(())
    }

    #[test]
    fn padding_is_zero_whatever_the_memory_held_before() -> Result {
        let key = [1; 32];
        let (pages, pools) = (PageRings::new()?, PagePools::new(1 << 15, 4)?);
        // Stay on one CPU, which has 16 pages, and use each of them.
        let _bh = bottom_half::disable();
        let text = packet(&[0xff; 1000], ETH_P_IP, 0)?;
        for _ in 0..16 {
            let mut run = Segments::new(HEADROOM, 1032, 30, &pages)?;
            for nonce in 0..30 {
                run.push(&text, &[0; 16], 0, nonce, &key)?;
            }
            drop(run.finish(&text));
        }
        let mut run = Segments::new(HEADROOM, 1032, 30, &pages)?;
        let text = packet(&[7; 985], ETH_P_IP, 0)?;
        run.push(&text, &[0; 16], 15, 5, &key)?;
        let skb = run.finish(&text).ok_or(EINVAL)?;
        let opened = skb.open(16, 5, &key, &pools)?;
        assert!(opened.head()[..985] == [7; 985] && opened.head()[985..] == [0; 15]);

        // And where the packet lies.
        let mut skb = packet(&[7; 985], ETH_P_IP, 0)?;
        let mut linear = skb.linear().ok_or(EINVAL)?;
        let tailroom = linear.tailroom();
        assert!(tailroom >= 31);
        linear.memory(0, tailroom).ok_or(EINVAL)?[985..].fill(0xff);
        skb.seal(&[0; 16], 15, 5, &key)?;
        let opened = skb.open(16, 5, &key, &pools)?;
        assert!(opened.head()[..985] == [7; 985] && opened.head()[985..] == [0; 15]);
        Ok(())
    }

    #[test]
    fn a_linear_datagram_accounts_for_its_own_memory_alone() -> Result {
        let key = [1; 32];
        let (pages, pools) = (PageRings::new()?, PagePools::new(1 << 15, 4)?);
        let mut skb = sealed(&[7; 100], &pages, &key)?;
        assert!(skb.may_pull(132));
        let truesize = skb.skb().truesize;
        // As the stack leaves the first of those that GRO had joined.
        skb.skb_mut().truesize = truesize + 100_000;
        let opened = skb.open(16, 5, &key, &pools)?;
        assert!(opened.head() == [7; 100] && opened.skb().truesize == truesize);
        Ok(())
    }

    #[test]
    fn pages_that_a_clone_has_too_are_not_decrypted_from() -> Result {
        let key = [1; 32];
        let (pages, pools) = (PageRings::new()?, PagePools::new(1 << 15, 4)?);
        let skb = sealed(&[7; 1000], &pages, &key)?;
        assert!(!source(&skb).is_null());
        let clone = clone(&skb)?;
        assert!(source(&skb).is_null() && source(&clone).is_null());
        // Nor from those that a process may still write to.
        let mut lent = sealed(&[7; 1000], &pages, &key)?;
        let flags = lent.shinfo().flags;
        lent.shinfo_mut().ok_or(EINVAL)?.flags = flags | bindings::SKBFL_SHARED_FRAG as u8;
        assert!(source(&lent).is_null());
        lent.shinfo_mut().ok_or(EINVAL)?.flags = flags;
        assert!(!source(&lent).is_null());
        assert!(skb.open(16, 5, &key, &pools)?.head() == [7; 1000]);
        // The decryption of the first has not changed the clone.
        assert!(clone.open(16, 5, &key, &pools)?.head() == [7; 1000]);
        Ok(())
    }

    #[test]
    fn a_page_is_used_again_once_its_datagrams_are_gone() -> Result {
        let pages = PageRings::new()?;
        let text = packet(&[7; 1000], ETH_P_IP, 0)?;
        let run = || {
            let mut run = Segments::new(HEADROOM, 1032, 30, &pages)?;
            run.push(&text, &[0; 16], 0, 5, &[1; 32])?;
            run.push(&text, &[0; 16], 0, 6, &[1; 32])?;
            let skb = run.finish(&text).ok_or(EINVAL)?;
            let place = source(&skb);
            Ok::<_, Error>((skb, place))
        };
        // Stay on one CPU, which has 16 pages.
        let _bh = bottom_half::disable();
        let (kept, place) = run()?;
        let mut places = [core::ptr::null(); 15];
        let mut datagrams = SkbList::new();
        for (index, other) in places.iter_mut().enumerate() {
            let (mut skb, place) = run()?;
            *other = place;
            if index == 4 {
                // The datagrams outlive the aggregate.
                put_outer_headers(&mut skb)?;
                datagrams = skb.gso_segment(device()).map_err(|(error, _)| error)?;
            }
        }
        assert!(!place.is_null() && !places.contains(&place));
        // The first page is still in use: another takes its turn.
        assert!(run()?.1 != place);
        for (index, other) in places.iter().enumerate() {
            assert!((run()?.1 == *other) == (index != 4));
        }
        assert!(kept.len() == 2 * 1032 && datagrams.len() == 2);
        Ok(())
    }

    #[test]
    fn a_checksum_is_never_zero() -> Result {
        let mut numbers = Numbers::new(11);
        for round in 0..300 {
            let len = 60 + 2 * numbers.below(700) as usize;
            let start = 2 * numbers.below(15) as usize;
            let place = start + 2 * numbers.below(10) as usize;
            let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
            numbers.fill(&mut bytes);
            if round % 2 == 0 {
                bytes[len - 2..].fill(0);
                let rest = !words(&[&bytes[start..]]);
                bytes[len - 2..].copy_from_slice(&rest.to_be_bytes());
            }
            let mut skb = packet(&bytes, ETH_P_IPV6, 40)?;
            leave_checksum(&mut skb, start as u16, (place - start) as u16);
            let ours = contents(&skb)?;
            assert!(ours[place..place + 2] != [0, 0]);
            assert!(round % 2 != 0 || ours[place..place + 2] == [0xff, 0xff]);
            skb.checksum_help()?;
            assert!(ours[..] == contents(&skb)?[..]);
        }
        Ok(())
    }

    #[test]
    fn a_checksum_is_not_put_outside_of_the_packet() -> Result {
        let bytes = [7; 100];
        for (start, offset) in [
            (0_usize, 99_u16),
            (0, 60_000),
            (99, 1),
            (101, 0),
            (60_000, 0),
        ] {
            let mut skb = packet(&bytes, ETH_P_IP, 20)?;
            leave_checksum(&mut skb, 0, 0);
            let first = skb.headroom();
            let left = &mut skb.headers_mut().__bindgen_anon_1;
            left.__bindgen_anon_1.csum_start = (first + start) as u16;
            left.__bindgen_anon_1.csum_offset = offset;
            assert!(contents(&skb).is_err());
        }
        Ok(())
    }

    #[test]
    fn what_wants_something_of_its_own_goes_alone() -> Result {
        let with = |change: &dyn Fn(&mut bindings::skb_shared_info)| -> Result<bool> {
            let mut skb = packet(&[0; 40], ETH_P_IP, 20)?;
            change(skb.shinfo_mut().ok_or(EINVAL)?);
            let alone = skb.goes_alone();
            // The buffer must be freed with the flags that it was made with.
            skb.shinfo_mut().ok_or(EINVAL)?.flags = 0;
            Ok(alone)
        };
        assert!(!with(&|_| {})?);
        for bit in 0..8 {
            assert!(with(&|shinfo| shinfo.tx_flags = 1 << bit)?);
        }
        assert!(with(&|shinfo| shinfo.flags = 1)?);
        let (mut a, b) = (
            packet(&[0; 40], ETH_P_IP, 20)?,
            packet(&[0; 40], ETH_P_IP, 20)?,
        );
        assert!(a.same_owner(&b) && a.same_flow(&b));
        a.headers_mut().hash = 1;
        assert!(!a.same_flow(&b));
        Ok(())
    }
}
