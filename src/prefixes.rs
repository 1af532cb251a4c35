// SPDX-License-Identifier: GPL-2.0

//! Which peer a prefix belongs to: the list of the peer and the trie of the device change together.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    allowedips::{
        AllowedIp,
        Entry, //
    },
    extension::Change,
    linux::rcu::RcuArc,
    state::{
        device::Config,
        peer::Peer, //
    }, //
};

impl Peer {
    /// Gives `prefix` to this peer, and takes it from its previous owner. `handle` is this peer's
    /// [`Config::handle`].
    ///
    /// Process context. `ENOMEM`: nothing has changed.
    pub(crate) fn insert_allowed_ip(
        self: &Arc<Self>,
        _config: &Config,
        handle: &RcuArc<Arc<Self>>,
        prefix: AllowedIp,
    ) -> Result {
        let (ours, theirs) = {
            let mut list = self.allowed_ips.lock();
            let mut trie = self.device.allowed_ips.write();
            let room = list.reserve(|prefix, place| trie.moved(prefix, place))?;
            let entry = Entry {
                owner: handle.clone(),
                place: room.place(),
            };
            let (ours, theirs) = match trie.insert(prefix, entry)? {
                Some(old) if Arc::ptr_eq(&old.owner, self) => (Some(old.place), None),
                old => (None, old),
            };
            room.put(prefix, ours);
            (ours, theirs)
        };
        if let Some(Entry { owner, place }) = theirs {
            owner.allowed_ips.lock().remove(place);
            self.tell_allowed_ip(Change::AllowedIpMoved, &prefix, Some(&**owner));
        } else if ours.is_none() {
            self.tell_allowed_ip(Change::AllowedIpAdded, &prefix, None);
        }
        Ok(())
    }

    /// Removes `prefix` from this peer. If it is not this peer's, nothing happens.
    pub(crate) fn remove_allowed_ip(self: &Arc<Self>, _config: &Config, prefix: &AllowedIp) {
        let removed = self
            .device
            .allowed_ips
            .write()
            .remove(prefix, |owner| Arc::ptr_eq(owner, self));
        if let Some(Entry { place, .. }) = removed {
            self.allowed_ips.lock().remove(place);
            self.tell_allowed_ip(Change::AllowedIpRemoved, prefix, None);
        }
    }

    /// Removes from this peer the prefixes for which `which` returns true. Process context; `which`
    /// may not sleep.
    pub(crate) fn remove_allowed_ips(&self, _config: &Config, which: impl Fn(&AllowedIp) -> bool) {
        let mut prefixes = self.allowed_ips.lock();
        if prefixes.is_empty() {
            return;
        }
        let mut trie = self.device.allowed_ips.write();
        prefixes.retain(|prefix| {
            let remove = which(prefix);
            if remove {
                trie.remove(prefix, |owner| owner.id == self.id);
            }
            !remove
        });
    }
}
