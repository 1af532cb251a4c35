// SPDX-License-Identifier: GPL-2.0

//! Tests of the trie and of the lists.

use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Full,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        Arc,
        Completion, //
    },
    workqueue, //
};

use super::{
    Address,
    AllowedIp,
    AllowedIpList,
    AllowedIps,
    Entry,
    Node,
    Root, //
};
use crate::{
    linux::{
        rcu::{
            self,
            AtomicDrop,
            Guard,
            RcuArc, //
        },
        sched::cond_resched, //
    },
    testing::Numbers, //
};

mod table;

/// An owner of prefixes, which counts how many of its kind are alive.
struct Owner {
    id: u64,
    alive: Arc<Atomic<u64>>,
}

impl AtomicDrop for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Full);
    }
}

fn owner(id: u64, alive: &Arc<Atomic<u64>>) -> Result<RcuArc<Owner>> {
    alive.fetch_add(1, Full);
    let alive = alive.clone();
    RcuArc::new(Owner { id, alive }, GFP_KERNEL)
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// 2001:db8::/32 and 96 bits.
fn v6(b: u32, c: u32, d: u32) -> IpAddr {
    let bits = 0x2001_0db8 << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d);
    IpAddr::V6(Ipv6Addr::from_bits(bits))
}

/// The tries and some owners, numbered from 0.
struct Fixture {
    trie: Pin<KBox<AllowedIps<Owner>>>,
    owners: KVec<RcuArc<Owner>>,
    alive: Arc<Atomic<u64>>,
}

impl Fixture {
    fn new(owners: u64) -> Result<Self> {
        let alive = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut list = KVec::new();
        for id in 0..owners {
            list.push(owner(id, &alive)?, GFP_KERNEL)?;
        }
        Ok(Self {
            trie: KBox::pin_init(AllowedIps::new(), GFP_KERNEL)?,
            owners: list,
            alive,
        })
    }

    /// Returns the number of the prefix's previous owner.
    fn insert(&self, ip: IpAddr, cidr: u8, id: usize) -> Result<Option<u64>> {
        let before = self.insert_at(AllowedIp::new(ip, cidr)?, id, 0)?;
        Ok(before.map(|(id, _)| id))
    }

    /// Returns the number of the prefix's previous owner, and the place in that one's list.
    fn insert_at(&self, prefix: AllowedIp, id: usize, place: u32) -> Result<Option<(u64, u32)>> {
        let owner = self.owners.get(id).ok_or(EINVAL)?.clone();
        let before = self.trie.write().insert(prefix, Entry { owner, place })?;
        Ok(before.map(|before| (before.owner.id, before.place)))
    }

    fn remove(&self, ip: IpAddr, cidr: u8, id: u64) -> Result<bool> {
        Ok(self.remove_from(AllowedIp::new(ip, cidr)?, id).is_some())
    }

    /// Returns the place in the list of the owner.
    fn remove_from(&self, prefix: AllowedIp, id: u64) -> Option<u32> {
        let mut trie = self.trie.write();
        Some(trie.remove(&prefix, |owner| owner.id == id)?.place)
    }

    fn lookup(&self, ip: IpAddr) -> Option<u64> {
        let guard = Guard::new();
        self.trie.lookup(ip, &guard).map(|owner| owner.id)
    }

    /// The numbers of nodes and of entries, if the tries are as they must be.
    fn shape(&self) -> Result<(usize, usize)> {
        let (nodes4, entries4) = shape(&self.trie.root4)?;
        let (nodes6, entries6) = shape(&self.trie.root6)?;
        Ok((nodes4 + nodes6, entries4 + entries6))
    }

    fn clear(&self) {
        let detached = self.trie.write().clear();
        rcu::synchronize_net();
        drop(detached);
    }

    /// How many owners are left once the tries, the owners and all that was deferred are gone.
    fn left(self) -> u64 {
        let Self {
            trie,
            owners,
            alive,
        } = self;
        drop(trie);
        drop(owners);
        rcu::barrier();
        alive.load(Acquire)
    }
}

fn shape<A: Address>(root: &Root<A, Owner>) -> Result<(usize, usize)> {
    let (mut nodes, mut entries) = (0, 0);
    let mut stack = KVec::<RcuArc<Node<A, Owner>>>::new();
    if let Some(top) = root.0.get() {
        stack.push(top, GFP_KERNEL)?;
    }
    while let Some(node) = stack.pop() {
        nodes += 1;
        let children = [(node.zero.get(), false), (node.one.get(), true)];
        if node.value.is_none() {
            if children.iter().any(|(child, _)| child.is_none()) {
                pr_err!("a node that is not needed\n");
                return Err(EUCLEAN);
            }
        } else {
            entries += 1;
        }
        if node.bits & node.mask != node.bits || node.mask != A::mask(node.cidr) {
            pr_err!("a node with host bits\n");
            return Err(EUCLEAN);
        }
        for (child, side) in children {
            let Some(child) = child else {
                continue;
            };
            let placed = child.cidr > node.cidr
                && node.holds(child.bits)
                && child.bits.bit(node.cidr) == side;
            if !placed {
                pr_err!("a node in the wrong place\n");
                return Err(EUCLEAN);
            }
            stack.push(child, GFP_KERNEL)?;
        }
    }
    Ok((nodes, entries))
}

/// The state that the test shares with a reader on another CPU.
struct Race {
    fixture: Fixture,
    stop: Atomic<bool>,
    rounds: Atomic<u64>,
    missed: Atomic<u64>,
}

#[pin_data]
struct Reader {
    #[pin]
    done: Completion,
}

#[kernel::macros::kunit_tests(wireguard_allowedips)]
mod cases {
    use super::*;

    #[test]
    fn subnet_of_another_peer_is_refused() -> Result {
        // The owner of a network does not own the part that belongs to another peer, whichever side
        // of the network that part is on, and whichever entry came first.
        for (wide, narrow) in [(0, 1), (1, 0)] {
            let t = Fixture::new(2)?;
            for first in [wide, narrow] {
                let cidr = if first == wide { 8 } else { 16 };
                t.insert(v4(10, 1, 0, 0), cidr, first)?;
                t.insert(v6(1, 0, 0), if first == wide { 32 } else { 64 }, first)?;
            }
            for (ip, owner) in [
                (v4(10, 1, 0, 0), narrow),
                (v4(10, 1, 255, 255), narrow),
                (v4(10, 0, 255, 255), wide),
                (v4(10, 2, 0, 0), wide),
                (v6(1, 7, 7), narrow),
                (v6(0, 7, 7), wide),
                (v6(2, 7, 7), wide),
            ] {
                assert_eq!(t.lookup(ip), Some(owner as u64));
            }
            assert_eq!(t.lookup(v4(11, 1, 0, 0)), None);
            assert_eq!(t.left(), 0);
        }
        Ok(())
    }

    #[test]
    fn longest_prefix_wins() -> Result {
        let t = Fixture::new(8)?;
        let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7];
        // Host bits are to be ignored, and the last owner of a prefix has it.
        t.insert(v4(192, 168, 4, 0), 24, a)?;
        t.insert(v4(192, 168, 4, 4), 32, b)?;
        t.insert(v4(192, 168, 0, 0), 16, c)?;
        assert_eq!(t.insert(v4(192, 95, 5, 64), 27, d)?, None);
        assert_eq!(t.insert(v4(192, 95, 5, 65), 27, c)?, Some(3));
        t.insert(v4(0, 0, 0, 0), 0, e)?;
        t.insert(v4(64, 15, 112, 0), 20, g)?;
        t.insert(v4(64, 15, 123, 211), 25, h)?;
        t.insert(v4(10, 0, 0, 0), 25, a)?;
        t.insert(v4(10, 0, 0, 128), 25, b)?;
        t.insert(v4(10, 1, 0, 0), 30, a)?;
        t.insert(v4(10, 1, 0, 4), 30, b)?;
        t.insert(v4(10, 1, 0, 8), 29, c)?;
        t.insert(v4(10, 1, 0, 16), 29, d)?;
        assert_eq!(t.lookup(v4(192, 168, 4, 20)), Some(0));
        assert_eq!(t.lookup(v4(192, 168, 4, 0)), Some(0));
        assert_eq!(t.lookup(v4(192, 168, 4, 4)), Some(1));
        assert_eq!(t.lookup(v4(192, 168, 200, 182)), Some(2));
        assert_eq!(t.lookup(v4(192, 95, 5, 68)), Some(2));
        assert_eq!(t.lookup(v4(192, 95, 5, 96)), Some(4));
        assert_eq!(t.lookup(v4(64, 15, 116, 26)), Some(6));
        assert_eq!(t.lookup(v4(64, 15, 127, 3)), Some(6));
        assert_eq!(t.lookup(v4(64, 15, 123, 1)), Some(6));
        assert_eq!(t.lookup(v4(64, 15, 123, 128)), Some(7));
        assert_eq!(t.lookup(v4(64, 15, 123, 129)), Some(7));
        assert_eq!(t.lookup(v4(10, 0, 0, 52)), Some(0));
        assert_eq!(t.lookup(v4(10, 0, 0, 220)), Some(1));
        assert_eq!(t.lookup(v4(10, 1, 0, 2)), Some(0));
        assert_eq!(t.lookup(v4(10, 1, 0, 6)), Some(1));
        assert_eq!(t.lookup(v4(10, 1, 0, 10)), Some(2));
        assert_eq!(t.lookup(v4(10, 1, 0, 20)), Some(3));
        // IPv4 prefixes do not hold IPv6 addresses.
        assert_eq!(t.lookup(v6(0, 0, 0)), None);

        assert_eq!(t.insert(v6(0, 0, 0), 0, e)?, None);
        assert_eq!(t.insert(v6(0, 0, 0), 0, f)?, Some(4));
        t.insert(v6(0x6000_6b00, 0, 0x4321), 128, d)?;
        t.insert(v6(0x6000_6b00, 0, 0), 64, c)?;
        t.insert(v6(0, 0, 0), 32, g)?;
        t.insert(v6(0x4004_0800, 0xdead_beef, 0x8765_4321), 64, h)?;
        t.insert(v6(0x4004_0800, 0xdead_beef, 0x8765_4321), 128, a)?;
        t.insert(v6(0xf0e4_0800, 0xeeae_0000, 0), 98, b)?;
        assert_eq!(t.lookup(v6(0x6000_6b00, 0, 0x4321)), Some(3));
        assert_eq!(t.lookup(v6(0x6000_6b00, 0, 0x4320)), Some(2));
        assert_eq!(t.lookup(v6(0x6000_6b01, 0, 0)), Some(6));
        assert_eq!(t.lookup(v6(0x4004_0806, 0x1234, 0x5678)), Some(6));
        assert_eq!(t.lookup(IpAddr::V6(Ipv6Addr::LOCALHOST)), Some(5));
        assert_eq!(t.lookup(v6(0x4004_0800, 0x1234, 0x5678)), Some(7));
        assert_eq!(t.lookup(v6(0x4004_0800, 0, 0)), Some(7));
        assert_eq!(t.lookup(v6(0x4004_0800, 0xdead_beef, 0x8765_4321)), Some(0));
        assert_eq!(t.lookup(v6(0xf0e4_0800, 0xeeae_0000, 0x3fff_ffff)), Some(1));
        assert_eq!(t.lookup(v6(0xf0e4_0800, 0xeeae_0000, 0x4000_0000)), Some(6));
        assert!(t.shape().is_ok());
        assert_eq!(t.left(), 0);
        Ok(())
    }

    #[test]
    fn removal_is_exact() -> Result {
        let t = Fixture::new(2)?;
        t.insert(v4(192, 0, 2, 0), 24, 0)?;
        t.insert(v6(1, 2, 3), 128, 0)?;
        // Another length, another owner.
        assert!(!t.remove(v4(192, 0, 2, 0), 32, 0)?);
        assert!(!t.remove(v4(192, 0, 2, 0), 23, 0)?);
        assert!(!t.remove(v4(192, 0, 2, 0), 24, 1)?);
        assert!(!t.remove(v6(1, 2, 3), 96, 0)?);
        assert!(!t.remove(v6(1, 2, 3), 128, 1)?);
        assert_eq!(t.lookup(v4(192, 0, 2, 1)), Some(0));
        assert_eq!(t.lookup(v6(1, 2, 3)), Some(0));
        // No such length.
        assert!(AllowedIp::new(v4(192, 0, 2, 0), 33).is_err());
        assert!(AllowedIp::new(v6(1, 2, 3), 129).is_err());
        // Host bits do not matter.
        assert!(t.remove(v4(192, 0, 2, 77), 24, 0)?);
        assert!(!t.remove(v4(192, 0, 2, 77), 24, 0)?);
        assert!(t.remove(v6(1, 2, 3), 128, 0)?);
        assert_eq!(t.lookup(v4(192, 0, 2, 1)), None);
        assert_eq!(t.lookup(v6(1, 2, 3)), None);
        assert_eq!(t.shape()?, (0, 0));
        assert_eq!(t.left(), 0);
        Ok(())
    }

    #[test]
    fn host_bits_are_masked() -> Result {
        let prefix = AllowedIp::new(v4(192, 95, 5, 93), 27)?;
        assert!(prefix.addr() == v4(192, 95, 5, 64));
        let prefix = AllowedIp::new(v4(255, 255, 255, 255), 0)?;
        assert!(prefix.addr() == v4(0, 0, 0, 0));
        let prefix = AllowedIp::new(v6(0x6d8a_6bf8, 0xdab1_f1df, 0xc05f_1523), 83)?;
        assert!(prefix.addr() == v6(0x6d8a_6bf8, 0xdab1_e000, 0));
        let prefix = AllowedIp::new(v6(0x6d8a_6bf8, 0xdab1_f1df, 0xc05f_1523), 21)?;
        assert!(prefix.addr() == IpAddr::V6(Ipv6Addr::from_bits(0x2001_0800 << 96)));
        assert_eq!(prefix.cidr(), 21);
        Ok(())
    }

    #[test]
    fn intermediate_nodes_go() -> Result {
        let t = Fixture::new(1)?;
        // Five single addresses need four places where their ways part.
        for first in [1, 64, 128, 192, 255] {
            t.insert(v4(first, 0, 0, 0), 32, 0)?;
        }
        assert_eq!(t.shape()?, (9, 5));
        for (first, nodes) in [(64, 7), (255, 5), (1, 3), (128, 1), (192, 0)] {
            assert!(t.remove(v4(first, 0, 0, 0), 32, 0)?);
            assert_eq!(t.shape()?.0, nodes);
            assert_eq!(t.lookup(v4(first, 0, 0, 0)), None);
        }
        // An entry with two ways below stays as a node, and goes with the first of the ways.
        t.insert(v4(10, 0, 0, 0), 8, 0)?;
        t.insert(v4(10, 0, 0, 0), 16, 0)?;
        t.insert(v4(10, 128, 0, 0), 16, 0)?;
        assert_eq!(t.shape()?, (3, 3));
        assert!(t.remove(v4(10, 0, 0, 0), 8, 0)?);
        assert_eq!(t.shape()?, (3, 2));
        assert_eq!(t.insert(v4(10, 0, 0, 0), 8, 0)?, None);
        assert_eq!(t.shape()?, (3, 3));
        assert!(t.remove(v4(10, 0, 0, 0), 8, 0)?);
        assert!(t.remove(v4(10, 128, 0, 0), 16, 0)?);
        assert_eq!(t.shape()?, (1, 1));
        assert_eq!(t.lookup(v4(10, 0, 1, 1)), Some(0));
        assert_eq!(t.left(), 0);
        Ok(())
    }

    #[test]
    fn deepest_trie_is_cleared() -> Result {
        let t = Fixture::new(1)?;
        // A node at each of the 129 lengths, and one beside each.
        for cidr in 0..=128u8 {
            let ones = u128::MAX.checked_shl(128 - u32::from(cidr)).unwrap_or(0);
            t.insert(IpAddr::V6(Ipv6Addr::from_bits(ones)), cidr, 0)?;
            t.insert(IpAddr::V6(Ipv6Addr::from_bits(ones)), 128, 0)?;
        }
        let (_, entries) = t.shape()?;
        assert_eq!(entries, 257);
        assert_eq!(
            t.lookup(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX << 1))),
            Some(0)
        );
        t.clear();
        assert_eq!(t.shape()?, (0, 0));
        assert_eq!(t.lookup(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))), None);
        // Once more, for the drop of a trie that is not empty.
        t.insert(v4(0, 0, 0, 0), 0, 0)?;
        t.insert(v6(0, 0, 0), 0, 0)?;
        assert_eq!(t.left(), 0);
        Ok(())
    }

    #[test]
    fn sequence_number_tells_of_changes() -> Result {
        let t = Fixture::new(1)?;
        let mut last = t.trie.seq();
        assert!(last != 0);
        t.insert(v4(10, 0, 0, 0), 8, 0)?;
        assert!(t.trie.seq() != last);
        last = t.trie.seq();
        t.lookup(v4(10, 0, 0, 0));
        assert_eq!(t.trie.seq(), last);
        t.remove(v4(10, 0, 0, 0), 8, 0)?;
        assert!(t.trie.seq() != last);
        last = t.trie.seq();
        t.clear();
        assert!(t.trie.seq() != last);
        // It is never 0, not even when it wraps around.
        t.trie.seq.store(u64::MAX, Relaxed);
        t.clear();
        assert_eq!(t.trie.seq(), 1);
        Ok(())
    }

    /// Puts `prefix` at the end of a list. Returns its place; `EUCLEAN` if another prefix has moved
    /// for that.
    fn put(list: &mut AllowedIpList, prefix: AllowedIp, from: Option<u32>) -> Result<u32> {
        let mut moves = 0;
        let room = list.reserve(|_, _| moves += 1)?;
        let place = room.place();
        room.put(prefix, from);
        if moves != 0 {
            return Err(EUCLEAN);
        }
        Ok(place)
    }

    #[test]
    fn lists_keep_their_order() -> Result {
        let mut list = AllowedIpList::new();
        let [a, b, c] = [
            AllowedIp::new(v4(10, 0, 0, 0), 8)?,
            AllowedIp::new(v6(0, 0, 0), 32)?,
            AllowedIp::new(v4(10, 0, 0, 0), 9)?,
        ];
        for (number, prefix) in [a, b, c].into_iter().enumerate() {
            assert_eq!(put(&mut list, prefix, None)?, number as u32);
        }
        assert!(list.iter().eq(&[a, b, c]));
        assert_eq!(put(&mut list, a, Some(0))?, 3);
        assert!(list.places() == [None, Some(b), Some(c), Some(a)]);
        assert!(list.remove(0).is_none() && list.remove(4).is_none());
        assert!(list.remove(2) == Some(c) && list.remove(2).is_none());
        assert!(list.iter().eq(&[b, a]));
        // There is no room but that of empty places.
        let (mut moved, mut moves) = ([None; 2], 0);
        let room = list.reserve(|prefix, place| {
            if let Some(entry) = moved.get_mut(moves) {
                *entry = Some((*prefix, place));
            }
            moves += 1;
        })?;
        assert_eq!(room.place(), 2);
        room.put(c, None);
        assert!(moves == 2 && moved == [Some((b, 0)), Some((a, 1))]);
        assert!(list.places() == [Some(b), Some(a), Some(c)]);
        // Empty places at the end go immediately.
        list.remove(1);
        list.remove(2);
        assert!(list.places() == [Some(b)]);
        assert!(list.take().iter().eq(&[b]));
        assert!(list.is_empty());
        for count in [3, 4, 5, 200] {
            for number in 0..count {
                put(&mut list, AllowedIp::new(v4(10, number, 0, 0), 16)?, None)?;
            }
            assert_eq!(list.iter().count(), usize::from(count));
            let second = AllowedIp::new(v4(10, 1, 0, 0), 16)?;
            list.retain(|prefix| *prefix == second);
            assert!(list.places() == [None, Some(second)]);
            assert_eq!(put(&mut list, b, None)?, 2);
            list.retain(|_| false);
            assert!(list.is_empty());
            assert_eq!(put(&mut list, b, None)?, 0);
            list.retain(|_| false);
        }
        Ok(())
    }

    #[test]
    fn a_list_that_changes_all_the_time_moves_few_prefixes() -> Result {
        let prefix = |number: u32| AllowedIp::new(IpAddr::V4(Ipv4Addr::from_bits(number)), 32);
        for many in [1_u32, 4, 5, 1000] {
            let (mut list, mut moves) = (AllowedIpList::new(), 0);
            // Where each is, in the order of their numbers.
            let mut places = KVVec::<u32>::new();
            for number in 0..5000_u32 {
                if let Some(oldest) = number.checked_sub(many) {
                    let place = places[oldest as usize];
                    assert!(list.remove(place) == Some(prefix(oldest)?));
                }
                let room = list.reserve(|prefix, place| {
                    let IpAddr::V4(ip) = prefix.addr() else {
                        return;
                    };
                    moves += 1;
                    places[ip.to_bits() as usize] = place;
                })?;
                places.push(room.place(), GFP_KERNEL)?;
                room.put(prefix(number)?, None);
                let len = list.places().len();
                assert!(len <= 4 * many.max(2) as usize);
            }
            assert!(moves <= 5000 * 3);
            assert!(list.iter().count() == many as usize);
        }
        Ok(())
    }

    #[test]
    fn agrees_with_a_table_ipv4() -> Result {
        table::against_table(true, 100_000)
    }

    #[test]
    fn agrees_with_a_table_ipv6() -> Result {
        table::against_table(false, 100_000)
    }

    #[test]
    fn readers_miss_nothing() -> Result {
        let race = Arc::new(
            Race {
                fixture: Fixture::new(3)?,
                stop: Atomic::new(false),
                rounds: Atomic::new(0),
                missed: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let reader = Arc::pin_init(pin_init!(Reader { done <- Completion::new() }), GFP_KERNEL)?;
        // These are never touched.
        for last in 0..32u8 {
            race.fixture.insert(v4(10, 0, last * 8, 0), 29, 0)?;
        }
        let (theirs, finished) = (race.clone(), reader.clone());
        workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
            while !theirs.stop.load(Acquire) {
                for last in 0..32u8 {
                    if theirs.fixture.lookup(v4(10, 0, last * 8, 3)) != Some(0) {
                        theirs.missed.fetch_add(1, Relaxed);
                    }
                }
                theirs.rounds.fetch_add(1, Relaxed);
                cond_resched();
            }
            // The last reference is dropped here or below, in process context either way.
            drop(theirs);
            finished.done.complete_all();
        })?;
        // Prefixes above and beside them change all the time. With bit 3 set none is within them.
        let mut numbers = Numbers::new(10);
        for _ in 0..20_000 {
            let (third, last) = (numbers.next() as u8, numbers.next() as u8 | 8);
            let ip = v4(10, numbers.below(2) as u8, third, last);
            let cidr = numbers.below(33) as u8;
            race.fixture.insert(ip, cidr, 1)?;
            if numbers.below(2) == 0 {
                race.fixture.insert(ip, cidr, 2)?;
                race.fixture.remove(ip, cidr, 2)?;
            } else {
                race.fixture.remove(ip, cidr, 1)?;
            }
            cond_resched();
        }
        race.stop.store(true, Release);
        reader.done.wait_for_completion();
        assert!(race.rounds.load(Relaxed) > 0);
        assert_eq!(race.missed.load(Relaxed), 0);
        assert_eq!(race.fixture.shape()?.1, 32);
        Ok(())
    }
}
