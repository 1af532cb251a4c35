// SPDX-License-Identifier: GPL-2.0

//! A prefix, and the list of those that belong to one peer.

use core::net::IpAddr;
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

/// The places of a list. One is empty after its prefix was removed; the last one never is.
enum Places {
    /// The first ones of the array, as many as the number says.
    Few([Option<AllowedIp>; FEW], usize),
    /// Those of the vector.
    Many(KVVec<Option<AllowedIp>>),
}

/// The allowed-ips of one peer, in the order in which they were given to it.
///
/// It mirrors the trie, for dumps and for the removal of a peer. The trie knows the place of each
/// prefix, so that none is searched for here: a peer may have a million. The owner keeps the two
/// together: room is reserved here before the trie is changed, so that a failure leaves both as
/// they were.
pub(crate) struct AllowedIpList {
    places: Places,
    /// How many places are empty.
    empty: usize,
}

impl AllowedIpList {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            places: Places::Few([None; FEW], 0),
            empty: 0,
        }
    }

    /// The prefixes in their places, the newest at the end, with `None` for each empty place. The
    /// last place is not empty.
    pub(crate) fn places(&self) -> &[Option<AllowedIp>] {
        match &self.places {
            Places::Few(places, len) => places.get(..*len).unwrap_or_default(),
            Places::Many(places) => places,
        }
    }

    /// The prefixes, the newest at the end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &AllowedIp> {
        self.places().iter().flatten()
    }

    /// Whether there is no prefix.
    pub(crate) fn is_empty(&self) -> bool {
        self.places().is_empty()
    }

    fn places_mut(&mut self) -> &mut [Option<AllowedIp>] {
        match &mut self.places {
            Places::Few(places, len) => places.get_mut(..*len).unwrap_or_default(),
            Places::Many(places) => places,
        }
    }

    /// Drops the places after the first `new_len`. The memory of an empty list goes, too.
    fn truncate(&mut self, new_len: usize) {
        match &mut self.places {
            Places::Few(_, len) => *len = new_len.min(*len),
            Places::Many(places) if new_len != 0 => places.truncate(new_len),
            Places::Many(_) => drop(self.take()),
        }
    }

    /// Drops the empty places at the end.
    fn trim(&mut self) {
        let places = self.places();
        let dropped = places
            .iter()
            .rev()
            .take_while(|place| place.is_none())
            .count();
        if dropped != 0 {
            let len = places.len().saturating_sub(dropped);
            self.truncate(len);
            self.empty = self.empty.saturating_sub(dropped);
        }
    }

    /// Makes sure of room for one more prefix. If prefixes get other places for that, `moved` is
    /// called with each and its place.
    ///
    /// Process context. `ENOMEM` if there is none.
    pub(crate) fn reserve(&mut self, moved: impl FnMut(&AllowedIp, u32)) -> Result<Room<'_>> {
        let (capacity, enough) = match &self.places {
            Places::Few(..) => (FEW, 1),
            Places::Many(places) => (places.capacity(), places.capacity() / 2),
        };
        if self.places().len() == capacity {
            // Not for fewer empty places: each insertion would move all prefixes.
            if self.empty >= enough {
                self.close_up(moved);
            } else {
                self.grow(capacity.saturating_mul(2))?;
            }
        }
        // INVARIANT: There is room now, and the list cannot change while it is borrowed.
        Ok(Room { list: self })
    }

    fn grow(&mut self, capacity: usize) -> Result {
        u32::try_from(capacity).map_err(|_| ENOMEM)?;
        // By hand: `KVVec::reserve()` has arithmetic that the compiler cannot prove not to panic.
        let mut places = KVVec::with_capacity(capacity, GFP_KERNEL)?;
        for place in self.places() {
            places.push_within_capacity(*place).map_err(|_| ENOMEM)?;
        }
        self.places = Places::Many(places);
        Ok(())
    }

    /// Moves the prefixes together, in their order.
    fn close_up(&mut self, mut moved: impl FnMut(&AllowedIp, u32)) {
        let places = self.places_mut();
        let mut next = 0usize;
        for at in 0..places.len() {
            let Some(prefix) = places.get_mut(at).and_then(Option::take) else {
                continue;
            };
            if at != next {
                moved(&prefix, next as u32);
            }
            if let Some(place) = places.get_mut(next) {
                *place = Some(prefix);
            }
            next = next.saturating_add(1);
        }
        self.truncate(next);
        self.empty = 0;
    }

    /// Removes the prefix in a place. The others keep theirs.
    pub(crate) fn remove(&mut self, place: u32) -> Option<AllowedIp> {
        let prefix = self.places_mut().get_mut(place as usize)?.take()?;
        self.empty = self.empty.saturating_add(1);
        self.trim();
        Some(prefix)
    }

    /// Removes the prefixes for which `keep` returns false. The others keep their places.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&AllowedIp) -> bool) {
        let mut removed = 0usize;
        for place in self.places_mut() {
            if place.is_some_and(|prefix| !keep(&prefix)) {
                *place = None;
                removed = removed.saturating_add(1);
            }
        }
        self.empty = self.empty.saturating_add(removed);
        self.trim();
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
    /// The number of the place.
    pub(crate) fn place(&self) -> u32 {
        self.list.places().len() as u32
    }

    /// Puts `prefix` there. `from`: the place that it had in this list until now, if any.
    pub(crate) fn put(self, prefix: AllowedIp, from: Option<u32>) {
        // By the type invariant there is room.
        match &mut self.list.places {
            Places::Few(places, len) => {
                if let Some(place) = places.get_mut(*len) {
                    *place = Some(prefix);
                    *len = len.saturating_add(1);
                }
            }
            Places::Many(places) => {
                let put = places.push_within_capacity(Some(prefix));
                debug_assert!(put.is_ok());
            }
        }
        if let Some(from) = from {
            self.list.remove(from);
        }
    }
}
