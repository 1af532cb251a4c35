// SPDX-License-Identifier: GPL-2.0

//! Allowed-ips: which peer an inner address belongs to.
//!
//! A compressed binary trie for each address family, keyed by prefix. A packet that goes out is
//! given to the owner of the longest prefix that holds its destination; a packet that came in is
//! accepted only if the owner of the longest prefix that holds its source is the peer that sent it
//! ("cryptokey routing", section 2 of the paper).
//!
//! Packets look up under RCU and take neither a lock nor a reference. Configuration changes the
//! trie through [`AllowedIps::write`], whose guard is the proof that there is one writer.
//!
//! # What a reader sees
//!
//! An entry never moves: its node is linked once, and unlinked when the entry is removed. An entry
//! appears, changes hands or disappears by one pointer that is exchanged. The other exchanges
//! insert or take out nodes that carry no entry, and a node that has been taken out keeps its
//! children until no reader is left in it, so a reader that is on its way through it still arrives
//! where it wanted to go.
//!
//! # Lock order
//!
//! The writers' lock nests inside the device's update mutex and is taken with no other lock of this
//! module inside it. It sleeps, so it belongs to process context.

use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        lock::{
            mutex::MutexBackend,
            Guard as LockGuard, //
        },
        Mutex, //
    }, //
};

use crate::linux::{
    rcu::{
        AtomicDrop,
        Guard,
        RcuArc,
        RcuBorrow,
        RcuPtr, //
    },
    sched, //
};

mod address;
mod list;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;

use address::Address;
pub(crate) use list::{
    AllowedIp,
    AllowedIpList, //
};

/// What the trie has for a prefix.
pub(crate) struct Entry<T: AtomicDrop + Send + Sync + 'static> {
    pub(crate) owner: RcuArc<T>,
    /// The place of the prefix in the [`AllowedIpList`] of the owner.
    pub(crate) place: u32,
}

/// A node of the trie: an entry, or a place where the ways to two entries part.
///
/// # Invariants
///
/// * `bits` has no bit set that `mask`, the mask of `cidr` bits, does not have.
/// * A child that is linked to a live node is of a longer prefix, which begins with `bits`; the bit
///   after it says which of the two children it is.
/// * A live node without a value has both children.
struct Node<A: Address, T: AtomicDrop + Send + Sync + 'static> {
    bits: A,
    mask: A,
    cidr: u8,
    /// The place of the entry in the list of its owner. Only writers use it.
    place: Atomic<u32>,
    value: RcuPtr<T>,
    zero: RcuPtr<Node<A, T>>,
    one: RcuPtr<Node<A, T>>,
}

impl<A: Address, T: AtomicDrop + Send + Sync + 'static> AtomicDrop for Node<A, T> {}

impl<A: Address, T: AtomicDrop + Send + Sync + 'static> Node<A, T> {
    fn new(bits: A, cidr: u8, value: Option<RcuArc<T>>) -> Result<RcuArc<Self>> {
        let mask = A::mask(cidr);
        RcuArc::new(
            // INVARIANT: The host bits are cleared here, and there is no child yet.
            Self {
                bits: bits & mask,
                mask,
                cidr,
                place: Atomic::new(0),
                value: RcuPtr::new(value),
                zero: RcuPtr::new(None),
                one: RcuPtr::new(None),
            },
            GFP_KERNEL,
        )
    }

    /// Changes the entry and returns the one before. Only one writer at a time may call this.
    fn replace(&self, entry: Option<Entry<T>>) -> Option<Entry<T>> {
        let (owner, place) = entry.map_or((None, 0), |entry| (Some(entry.owner), entry.place));
        let owner = self.value.replace(owner);
        let before = self.place.load(Relaxed);
        self.place.store(place, Relaxed);
        owner.map(|owner| Entry {
            owner,
            place: before,
        })
    }

    /// Whether `ip` begins with this prefix.
    #[inline]
    fn holds(&self, ip: A) -> bool {
        ip & self.mask == self.bits
    }

    /// The side on which a longer prefix or an address lies.
    #[inline]
    fn child(&self, ip: A) -> &RcuPtr<Self> {
        if ip.bit(self.cidr) {
            &self.one
        } else {
            &self.zero
        }
    }
}

/// The trie of one address family.
struct Root<A: Address, T: AtomicDrop + Send + Sync + 'static>(RcuPtr<Node<A, T>>);

/// Where a prefix is in a trie, or belongs.
struct Spot<A: Address, T: AtomicDrop + Send + Sync + 'static> {
    /// The last node on the way to the prefix, which is the prefix itself if it is there.
    parent: Option<RcuArc<Node<A, T>>>,
    /// If it is not there, the node that is in its way.
    down: Option<RcuArc<Node<A, T>>>,
}

impl<A: Address, T: AtomicDrop + Send + Sync + 'static> Root<A, T> {
    fn new() -> Self {
        Self(RcuPtr::new(None))
    }

    #[inline]
    fn lookup<'g>(&self, ip: A, guard: &'g Guard) -> Option<RcuBorrow<'g, T>> {
        let mut found = None;
        let mut next = self.0.load(guard);
        while let Some(node) = next {
            let node = node.get_ref();
            if !node.holds(ip) {
                break;
            }
            found = node.value.load(guard).or(found);
            next = node.child(ip).load(guard);
        }
        found
    }

    /// Where the prefix is, or belongs.
    fn spot(&self, bits: A, cidr: u8) -> Spot<A, T> {
        let guard = Guard::new();
        let mut last = None;
        let mut next = self.0.load(&guard);
        while let Some(node) = next {
            if node.cidr > cidr || !node.holds(bits) {
                break;
            }
            last = Some(node);
            if node.cidr == cidr {
                next = None;
                break;
            }
            next = node.get_ref().child(bits).load(&guard);
        }
        Spot {
            parent: last.and_then(RcuBorrow::try_get),
            down: next.and_then(RcuBorrow::try_get),
        }
    }

    /// Only one writer at a time may call this.
    fn insert(&self, bits: A, cidr: u8, entry: Entry<T>) -> Result<Option<Entry<T>>> {
        let Spot { parent, down } = self.spot(bits, cidr);
        let slot = match &parent {
            Some(node) if node.cidr == cidr => return Ok(node.replace(Some(entry))),
            Some(node) => node.child(bits),
            None => &self.0,
        };
        let leaf = Node::new(bits, cidr, None)?;
        leaf.replace(Some(entry));
        let Some(down) = down else {
            slot.replace(Some(leaf));
            return Ok(None);
        };

        // The present node goes below the new one, or beside it below a node where the two part.
        let down_bits = down.bits;
        let common = cidr.min(bits.common_bits(down_bits));
        let top = if common == cidr {
            leaf
        } else {
            let fork = Node::new(bits, common, None)?;
            fork.child(bits).replace(Some(leaf));
            fork
        };
        top.child(down_bits).replace(Some(down));
        slot.replace(Some(top));
        Ok(None)
    }

    /// Only one writer at a time may call this.
    fn remove(&self, bits: A, cidr: u8, is_owner: impl FnOnce(&T) -> bool) -> Option<Entry<T>> {
        let guard = Guard::new();
        let mut parent = None;
        let mut slot = &self.0;
        let mut node = slot.load(&guard)?.get_ref();
        while node.cidr != cidr {
            if node.cidr > cidr || !node.holds(bits) {
                return None;
            }
            parent = Some((slot, node));
            slot = node.child(bits);
            node = slot.load(&guard)?.get_ref();
        }
        if node.bits != bits || !is_owner(&*node.value.load(&guard)?) {
            return None;
        }
        let entry = node.replace(None);

        // A node with two children stays, as the place where the ways to them part.
        let child = match (node.zero.load(&guard), node.one.load(&guard)) {
            (Some(_), Some(_)) => return entry,
            (child, None) | (None, child) => child,
        };
        let was_leaf = child.is_none();
        slot.replace(child.and_then(RcuBorrow::try_get));
        if let (true, Some((slot, parent))) = (was_leaf, parent) {
            if parent.value.is_none() {
                // Only one way is left through it.
                let left = parent.zero.load(&guard).or(parent.one.load(&guard));
                slot.replace(left.and_then(RcuBorrow::try_get));
            }
        }
        entry
    }

    /// Only one writer at a time may call this.
    fn moved(&self, bits: A, cidr: u8, place: u32) {
        if let Some(node) = self.spot(bits, cidr).parent {
            if node.cidr == cidr {
                node.place.store(place, Relaxed);
            }
        }
    }

    /// Takes out up to `limit` nodes, leaves first. Returns whether none is left.
    ///
    /// No node is dropped while it holds the last reference to another: a whole trie is then free
    /// after one grace period, not after one for each of its levels.
    fn dismantle(&self, limit: usize) -> bool {
        for _ in 0..limit {
            let guard = Guard::new();
            let mut slot = &self.0;
            let Some(mut node) = slot.load(&guard).map(RcuBorrow::get_ref) else {
                return true;
            };
            loop {
                let below = match node.zero.load(&guard) {
                    Some(child) => Some((&node.zero, child)),
                    None => node.one.load(&guard).map(|child| (&node.one, child)),
                };
                let Some((below, child)) = below else {
                    break;
                };
                slot = below;
                node = child.get_ref();
            }
            // Now, not with the node: an owner whose last reference this entry holds is then
            // dropped after one grace period, not after two.
            node.value.replace(None);
            slot.replace(None);
        }
        false
    }
}

impl<A: Address, T: AtomicDrop + Send + Sync + 'static> Drop for Root<A, T> {
    fn drop(&mut self) {
        while !self.dismantle(usize::MAX) {}
    }
}

/// The tries of a device: prefixes and the objects that own them.
///
/// An owner stays alive while it has an entry, and is then dropped after a grace period and in
/// softirq context if the trie held the last reference.
#[pin_data]
pub(crate) struct AllowedIps<T: AtomicDrop + Send + Sync + 'static> {
    root4: Root<u32, T>,
    root6: Root<u128, T>,
    /// Goes up with each change. Written under `writers`, read without.
    seq: Atomic<u64>,
    /// Covers every change of the tries: its holder is the only writer.
    #[pin]
    writers: Mutex<()>,
}

impl<T: AtomicDrop + Send + Sync + 'static> AllowedIps<T> {
    /// Two empty tries.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            root4: Root::new(),
            root6: Root::new(),
            seq: Atomic::new(1),
            writers <- new_mutex!((), "AllowedIps::writers"),
        })
    }

    /// The owner of the longest prefix that holds `ip`.
    ///
    /// Any context.
    #[inline]
    pub(crate) fn lookup<'g>(&self, ip: IpAddr, guard: &'g Guard) -> Option<RcuBorrow<'g, T>> {
        match ip {
            IpAddr::V4(ip) => self.lookup_v4(ip, guard),
            IpAddr::V6(ip) => self.lookup_v6(ip, guard),
        }
    }

    /// [`Self::lookup`] for an IPv4 address.
    #[inline]
    pub(crate) fn lookup_v4<'g>(&self, ip: Ipv4Addr, guard: &'g Guard) -> Option<RcuBorrow<'g, T>> {
        self.root4.lookup(ip.to_bits(), guard)
    }

    /// [`Self::lookup`] for an IPv6 address.
    #[inline]
    pub(crate) fn lookup_v6<'g>(&self, ip: Ipv6Addr, guard: &'g Guard) -> Option<RcuBorrow<'g, T>> {
        self.root6.lookup(ip.to_bits(), guard)
    }

    /// A number, never 0, that is another one after each change: a dump that was interrupted goes
    /// on where it was only if the number is still the same.
    pub(crate) fn seq(&self) -> u64 {
        self.seq.load(Relaxed)
    }

    /// Becomes the writer.
    ///
    /// Process context: sleeps until no other writer is left.
    pub(crate) fn write(&self) -> TrieWriter<'_, T> {
        TrieWriter {
            trie: self,
            _held: self.writers.lock(),
        }
    }
}

/// The proof that its holder is the only writer of an [`AllowedIps`].
pub(crate) struct TrieWriter<'a, T: AtomicDrop + Send + Sync + 'static> {
    trie: &'a AllowedIps<T>,
    _held: LockGuard<'a, (), MutexBackend>,
}

impl<T: AtomicDrop + Send + Sync + 'static> TrieWriter<'_, T> {
    fn changed(&mut self) {
        let next = match self.trie.seq.load(Relaxed).wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.trie.seq.store(next, Relaxed);
    }

    /// Makes `entry` that of exactly this prefix and returns the previous one.
    ///
    /// Process context. `ENOMEM`: nothing has changed. It cannot fail where the prefix has an owner
    /// already.
    pub(crate) fn insert(
        &mut self,
        prefix: AllowedIp,
        entry: Entry<T>,
    ) -> Result<Option<Entry<T>>> {
        self.changed();
        let cidr = prefix.cidr();
        match prefix.addr() {
            IpAddr::V4(ip) => self.trie.root4.insert(ip.to_bits(), cidr, entry),
            IpAddr::V6(ip) => self.trie.root6.insert(ip.to_bits(), cidr, entry),
        }
    }

    /// Notes that a prefix that is there has got another place in the list of its owner.
    pub(crate) fn moved(&mut self, prefix: &AllowedIp, place: u32) {
        let cidr = prefix.cidr();
        match prefix.addr() {
            IpAddr::V4(ip) => self.trie.root4.moved(ip.to_bits(), cidr, place),
            IpAddr::V6(ip) => self.trie.root6.moved(ip.to_bits(), cidr, place),
        }
    }

    /// Removes the entry for exactly this prefix and returns it, if there is one and `is_owner`
    /// returns true for its owner.
    ///
    /// `is_owner` may not sleep. Cannot fail otherwise: it allocates nothing.
    pub(crate) fn remove(
        &mut self,
        prefix: &AllowedIp,
        is_owner: impl FnOnce(&T) -> bool,
    ) -> Option<Entry<T>> {
        self.changed();
        let cidr = prefix.cidr();
        match prefix.addr() {
            IpAddr::V4(ip) => self.trie.root4.remove(ip.to_bits(), cidr, is_owner),
            IpAddr::V6(ip) => self.trie.root6.remove(ip.to_bits(), cidr, is_owner),
        }
    }

    /// Empties both tries for every reader that begins later.
    ///
    /// Returns the nodes that were in them, to be dropped a grace period later.
    pub(crate) fn clear(&mut self) -> Detached<T> {
        self.changed();
        Detached {
            root4: Root(RcuPtr::new(self.trie.root4.0.replace(None))),
            root6: Root(RcuPtr::new(self.trie.root6.0.replace(None))),
        }
    }
}

/// The nodes that [`TrieWriter::clear`] has taken out.
///
/// A reader that began earlier may still be on its way through them. They are to be dropped after
/// [`synchronize_net()`](crate::linux::rcu::synchronize_net), which the owners' removal waits for
/// in any case. Sooner than that, such a reader may find a shorter prefix than the longest that was
/// there.
///
/// To be dropped in process context: where there are many nodes, others may run meanwhile.
#[must_use = "to be dropped after a grace period"]
pub(crate) struct Detached<T: AtomicDrop + Send + Sync + 'static> {
    root4: Root<u32, T>,
    root6: Root<u128, T>,
}

impl<T: AtomicDrop + Send + Sync + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        /// Nodes that are taken out before others may run.
        const BATCH: usize = 512;

        while !(self.root4.dismantle(BATCH) && self.root6.dismantle(BATCH)) {
            sched::cond_resched();
        }
    }
}
