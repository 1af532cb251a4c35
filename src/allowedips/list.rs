// SPDX-License-Identifier: GPL-2.0

//! A prefix, and the list of those that belong to one peer.

use core::net::{
    IpAddr,
    Ipv4Addr, //
};
use kernel::prelude::*;

use super::address::Address;

/// A prefix: an address whose host bits are zero, and a length.
///
/// # Invariants
///
/// `cidr` is at most the address's length in bits, and no bit of `addr` after the first `cidr` is
/// set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AllowedIp {
    addr: IpAddr,
    cidr: u8,
}

impl AllowedIp {
    /// The prefix of the first `cidr` bits of `addr`, whose other bits are ignored.
    ///
    /// `EINVAL` if the address has fewer bits than that.
    pub(crate) fn new(addr: IpAddr, cidr: u8) -> Result<Self> {
        let (bits, addr) = match addr {
            IpAddr::V4(ip) => (
                u32::BITS,
                IpAddr::V4((ip.to_bits() & <u32 as Address>::mask(cidr)).into()),
            ),
            IpAddr::V6(ip) => (
                u128::BITS,
                IpAddr::V6((ip.to_bits() & <u128 as Address>::mask(cidr)).into()),
            ),
        };
        if u32::from(cidr) > bits {
            return Err(EINVAL);
        }
        // INVARIANT: `cidr` has just been compared with the length, and the host bits have been
        // cleared.
        Ok(Self { addr, cidr })
    }

    /// The address, host bits zero.
    pub(crate) fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The length in bits: 0 to 32 for IPv4, 0 to 128 for IPv6.
    pub(crate) fn cidr(&self) -> u8 {
        self.cidr
    }
}

/// The number of prefixes that a list has room for without an allocation. Most peers have no more.
const FEW: usize = 4;

/// The entries of a list.
enum Entries {
    /// The first ones of the array, as many as the number says.
    Few([AllowedIp; FEW], usize),
    /// Those of the vector.
    Many(KVVec<AllowedIp>),
}

/// The allowed-ips of one peer, in the order in which they were given to it.
///
/// It mirrors the trie, for dumps and for the removal of a peer. Its owner keeps the two together:
/// room is reserved here before the trie is changed, so that a failure leaves both as they were.
pub(crate) struct AllowedIpList {
    entries: Entries,
}

impl AllowedIpList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        let unused = AllowedIp {
            addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            cidr: 0,
        };
        Self {
            entries: Entries::Few([unused; FEW], 0),
        }
    }

    /// The prefixes, the newest at the end.
    pub(crate) fn as_slice(&self) -> &[AllowedIp] {
        match &self.entries {
            Entries::Few(entries, len) => entries.get(..*len).unwrap_or_default(),
            Entries::Many(entries) => entries,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [AllowedIp] {
        match &mut self.entries {
            Entries::Few(entries, len) => entries.get_mut(..*len).unwrap_or_default(),
            Entries::Many(entries) => entries,
        }
    }

    /// Drops the entries after the first `new_len`.
    fn truncate(&mut self, new_len: usize) {
        match &mut self.entries {
            Entries::Few(_, len) => *len = new_len.min(*len),
            Entries::Many(entries) => entries.truncate(new_len),
        }
    }

    /// Makes sure of room for one more prefix.
    ///
    /// Process context. `ENOMEM` if there is none.
    pub(crate) fn reserve(&mut self) -> Result<Room<'_>> {
        let capacity = match &self.entries {
            Entries::Few(..) => FEW,
            Entries::Many(entries) => entries.capacity(),
        };
        if self.as_slice().len() == capacity {
            // By hand: `KVVec::reserve()` has arithmetic that the compiler cannot prove not to
            // panic.
            let mut entries = KVVec::with_capacity(capacity.saturating_mul(2), GFP_KERNEL)?;
            for entry in self.as_slice() {
                entries.push_within_capacity(*entry).map_err(|_| ENOMEM)?;
            }
            self.entries = Entries::Many(entries);
        }
        // INVARIANT: There is room now, and the list cannot change while it is borrowed.
        Ok(Room { list: self })
    }

    /// Removes `prefix` and returns whether it was there. The others keep their order.
    pub(crate) fn remove(&mut self, prefix: &AllowedIp) -> bool {
        let entries = self.as_mut_slice();
        let last = entries.len().saturating_sub(1);
        // From the end, where the newest are.
        let found = (0..entries.len())
            .rev()
            .find(|at| entries.get(*at) == Some(prefix));
        let Some(tail @ [_, ..]) = found.and_then(|at| entries.get_mut(at..)) else {
            return false;
        };
        tail.copy_within(1.., 0);
        self.truncate(last);
        true
    }

    /// Removes the prefixes for which `keep` returns false. The others keep their order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&AllowedIp) -> bool) {
        let entries = self.as_mut_slice();
        let mut kept = 0usize;
        for at in 0..entries.len() {
            let Some(entry) = entries.get(at).copied() else {
                break;
            };
            if keep(&entry) {
                if let Some(place) = entries.get_mut(kept) {
                    *place = entry;
                }
                kept = kept.saturating_add(1);
            }
        }
        self.truncate(kept);
        if kept == 0 {
            self.take();
        }
    }

    /// Takes all prefixes out. Their memory goes with them.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }
}

/// A place at the end of a list.
///
/// # Invariants
///
/// The list has room for one more.
pub(crate) struct Room<'a> {
    list: &'a mut AllowedIpList,
}

impl Room<'_> {
    /// Puts `prefix` at the end. `listed`: it may be in the list already, and moves.
    pub(crate) fn put(self, prefix: AllowedIp, listed: bool) {
        if listed {
            self.list.remove(&prefix);
        }
        // By the type invariant there is room.
        match &mut self.list.entries {
            Entries::Few(entries, len) => {
                if let Some(place) = entries.get_mut(*len) {
                    *place = prefix;
                    *len = len.saturating_add(1);
                }
            }
            Entries::Many(entries) => {
                let put = entries.push_within_capacity(prefix);
                debug_assert!(put.is_ok());
            }
        }
    }
}
