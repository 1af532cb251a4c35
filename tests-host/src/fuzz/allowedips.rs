// SPDX-License-Identifier: GPL-2.0

//! The trie of allowed IPs, against a map of prefixes that is searched from the longest prefix on.

use super::Script;
use crate::{
    allowedips::{
        AllowedIp,
        AllowedIps,
        Entry, //
    },
    linux::rcu::{
        self,
        AtomicDrop,
        Guard,
        RcuArc, //
    }, //
};
use core::net::IpAddr;
use kernel::prelude::*;
use std::collections::BTreeMap;

/// The owner of prefixes.
#[derive(PartialEq, Debug)]
struct Owner(u8);

impl AtomicDrop for Owner {}

/// The family (true: IPv4) and the first `cidr` bits of an address.
fn cut(ip: IpAddr, cidr: u8) -> (bool, u128) {
    let (ipv4, bits) = match ip {
        IpAddr::V4(ip) => (true, u128::from(ip.to_bits()) << 96),
        IpAddr::V6(ip) => (false, ip.to_bits()),
    };
    (
        ipv4,
        bits & u128::MAX.checked_shl(128 - u32::from(cidr)).unwrap_or(0),
    )
}

/// An address; many of them share their beginning.
fn address(script: &mut Script<'_>) -> IpAddr {
    let kind = script.byte();
    // Ones up to a place, XORed with some bits of the script behind it.
    let ones = u128::MAX.checked_shl(u32::from(kind >> 1)).unwrap_or(0);
    let spread = u128::from(script.byte()) << (kind >> 1 & 127);
    if kind & 1 == 0 {
        IpAddr::from((((ones ^ spread) >> 48) as u32).to_be_bytes())
    } else {
        IpAddr::from((ones ^ spread).to_be_bytes())
    }
}

/// Inserts, moves and removes prefixes, and looks addresses up.
pub fn allowedips(bytes: &[u8]) {
    let mut script = Script(bytes);
    let trie = KBox::pin_init(AllowedIps::<Owner>::new(), GFP_KERNEL).unwrap();
    let mut owners = BTreeMap::<((bool, u128), u8), (Owner, u32)>::new();
    while !script.is_empty() {
        let step = script.byte();
        let ip = address(&mut script);
        let len = if ip.is_ipv4() { 32 } else { 128 };
        if step >= 0xc0 {
            let guard = Guard::new();
            let wanted = (0..=len)
                .rev()
                .find_map(|cidr| owners.get(&(cut(ip, cidr), cidr)))
                .map(|(owner, _)| owner);
            assert_eq!(trie.lookup(ip, &guard).as_deref(), wanted);
            continue;
        }
        let cidr = script.byte();
        let Ok(prefix) = AllowedIp::new(ip, cidr) else {
            assert!(cidr > len);
            continue;
        };
        assert!(cidr <= len && cut(prefix.addr(), 128) == cut(ip, cidr));
        let key = (cut(ip, cidr), cidr);
        let owner = step & 3;
        let seq = trie.seq();
        match step >> 4 {
            0..6 => {
                let entry = Entry {
                    owner: RcuArc::new(Owner(owner), GFP_KERNEL).unwrap(),
                    place: step.into(),
                };
                let before = trie.write().insert(prefix, entry).unwrap();
                assert_eq!(
                    before.map(|entry| (Owner(entry.owner.0), entry.place)),
                    owners.insert(key, (Owner(owner), step.into()))
                );
            }
            6..11 => {
                let removed = trie.write().remove(&prefix, |found| found.0 == owner);
                let theirs = owners.get(&key).map(|(owner, _)| owner.0);
                assert_eq!(removed.is_some(), theirs == Some(owner));
                if let Some(removed) = removed {
                    let (_, place) = owners.remove(&key).unwrap();
                    assert_eq!(removed.place, place);
                }
            }
            _ => {
                let detached = trie.write().clear();
                rcu::synchronize_net();
                drop(detached);
                owners.clear();
            }
        }
        assert!(trie.seq() != seq && trie.seq() != 0);
    }
}
