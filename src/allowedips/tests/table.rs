// SPDX-License-Identifier: GPL-2.0

//! A table of prefixes that is searched from end to end, and a trie that must agree with it at
//! every step.

use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::prelude::*;

use super::Fixture;
use crate::{
    allowedips::{
        AllowedIp,
        AllowedIpList, //
    },
    linux::sched::cond_resched,
    testing::Numbers, //
};

/// The first `cidr` bits of `ip` and the address's length, without the help of the tested code.
fn cut(ip: IpAddr, cidr: u8) -> (u128, u32) {
    let (bits, len) = match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let host_bits = len - u32::from(cidr);
    (
        if host_bits == 128 {
            0
        } else {
            bits >> host_bits
        },
        len,
    )
}

/// A table of prefixes and their owners that is searched from end to end.
struct Table(KVVec<(IpAddr, u8, u64)>);

impl Table {
    fn find(&self, ip: IpAddr, cidr: u8) -> Option<usize> {
        self.0
            .iter()
            .position(|entry| entry.1 == cidr && cut(entry.0, cidr) == cut(ip, cidr))
    }

    fn remove(&mut self, ip: IpAddr, cidr: u8) -> Option<u64> {
        let at = self.find(ip, cidr)?;
        self.0.remove(at).ok().map(|entry| entry.2)
    }

    fn insert(&mut self, ip: IpAddr, cidr: u8, id: u64) -> Result<Option<u64>> {
        let before = self.remove(ip, cidr);
        self.0.push((ip, cidr, id), GFP_KERNEL)?;
        Ok(before)
    }

    fn lookup(&self, ip: IpAddr) -> Option<u64> {
        let holds = |entry: &&(IpAddr, u8, u64)| {
            entry.0.is_ipv4() == ip.is_ipv4() && cut(entry.0, entry.1) == cut(ip, entry.1)
        };
        let longest = self.0.iter().filter(holds).max_by_key(|entry| entry.1)?;
        Some(longest.2)
    }
}

/// An address and a length that fits it. Many of the addresses share their beginning.
fn random_prefix(numbers: &mut Numbers, ipv4: bool) -> (IpAddr, u8) {
    let spread = match numbers.below(3) {
        0 => 0,
        1 => u128::from(numbers.next()) << 64 | u128::from(numbers.next()),
        // One bit somewhere.
        _ => 1 << numbers.below(128),
    };
    let base = u128::from(numbers.below(8)).wrapping_mul(0x2492_4924_9249_2492_4924_9249_2492_4925);
    let bits = base ^ spread;
    if ipv4 {
        let ip = Ipv4Addr::from_bits((bits >> 96) as u32);
        (IpAddr::V4(ip), numbers.below(33) as u8)
    } else {
        (
            IpAddr::V6(Ipv6Addr::from_bits(bits)),
            numbers.below(129) as u8,
        )
    }
}

/// `operations` of all kinds on a trie, a table and the owners' lists, which must agree at every
/// step.
pub(super) fn against_table(ipv4: bool, operations: u32) -> Result {
    const OWNERS: u64 = 8;
    const ENTRIES: usize = 300;

    let mut numbers = Numbers::new(if ipv4 { 4 } else { 6 });
    let fixture = Fixture::new(OWNERS)?;
    let mut table = Table(KVVec::new());
    let mut lists = KVec::new();
    for _ in 0..OWNERS {
        lists.push(AllowedIpList::new(), GFP_KERNEL)?;
    }
    let disagree = |step: u32, what: &str| {
        pr_err!("step {step}: {what}\n");
        Err(EUCLEAN)
    };

    for step in 0..operations {
        let (ip, cidr) = random_prefix(&mut numbers, ipv4);
        let full = table.0.len() >= ENTRIES;
        match numbers.below(100) {
            0..30 if !full => {
                let id = numbers.below(OWNERS);
                let prefix = AllowedIp::new(ip, cidr)?;
                let list = lists.get_mut(id as usize).ok_or(EINVAL)?;
                let room = list.reserve(|prefix, place| {
                    fixture.trie.write().moved(prefix, place);
                })?;
                let before = fixture.insert_at(prefix, id as usize, room.place())?;
                let of_owner = |before: (u64, u32)| (before.0 == id).then_some(before.1);
                room.put(prefix, before.and_then(of_owner));
                if let Some((other, place)) = before.filter(|before| before.0 != id) {
                    let list = lists.get_mut(other as usize).ok_or(EINVAL)?;
                    if list.remove(place) != Some(prefix) {
                        return disagree(step, "not in the list it came from");
                    }
                }
                if before.map(|before| before.0) != table.insert(ip, cidr, id)? {
                    return disagree(step, "inserted over another owner");
                }
            }
            0..55 => {
                // A prefix that is there, most of the time.
                let at = numbers.below(table.0.len() as u64 + 5) as usize;
                let (ip, cidr) = match table.0.get(at) {
                    Some(entry) => (entry.0, entry.1),
                    None => (ip, cidr),
                };
                let id = table
                    .find(ip, cidr)
                    .and_then(|at| table.0.get(at))
                    .map(|entry| entry.2);
                if fixture.remove(ip, cidr, OWNERS)? {
                    return disagree(step, "removed for a stranger");
                }
                let prefix = AllowedIp::new(ip, cidr)?;
                let place = fixture.remove_from(prefix, id.unwrap_or(0));
                if place.is_some() != id.is_some() {
                    return disagree(step, "removal");
                }
                table.remove(ip, cidr);
                if let (Some(id), Some(place)) = (id, place) {
                    let list = lists.get_mut(id as usize).ok_or(EINVAL)?;
                    if list.remove(place) != Some(prefix) {
                        return disagree(step, "not in its list");
                    }
                }
            }
            _ => {
                if fixture.lookup(ip) != table.lookup(ip) {
                    return disagree(step, "lookup");
                }
            }
        }
        if step % 512 == 0 {
            let (nodes, entries) = fixture.shape()?;
            if entries != table.0.len() || nodes > (2 * entries).saturating_sub(1) {
                return disagree(step, "number of nodes");
            }
            for (id, list) in lists.iter().enumerate() {
                let mine = table.0.iter().filter(|entry| entry.2 == id as u64);
                let same = |(a, b): (&AllowedIp, &(IpAddr, u8, u64))| {
                    a.cidr() == b.1 && cut(a.addr(), b.1) == cut(b.0, b.1)
                };
                if list.iter().count() != mine.clone().count() || !list.iter().zip(mine).all(same) {
                    return disagree(step, "list");
                }
            }
            cond_resched();
        }
    }

    // Owner by owner, in the order of their lists.
    for (id, list) in lists.iter_mut().enumerate() {
        for prefix in list.take().iter() {
            if !fixture.remove(prefix.addr(), prefix.cidr(), id as u64)? {
                return disagree(operations, "listed, but not in the trie");
            }
        }
    }
    if fixture.shape()? != (0, 0) {
        return disagree(operations, "nodes are left");
    }
    if fixture.left() != 0 {
        return disagree(operations, "owners are left");
    }
    Ok(())
}
