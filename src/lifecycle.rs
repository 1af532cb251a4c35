// SPDX-License-Identifier: GPL-2.0

//! A peer comes and goes; the sockets of a device open.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc, //
    },
};

use crate::{
    debug::dev_dbg,
    linux::{
        compat::code::ENONET,
        crypto::Secret,
        net_namespace::WeakNet,
        rcu::{
            self,
            RcuArc, //
        },
        sched, //
    },
    protocol::{
        identity::PublicKey,
        limits::MAX_PEERS_PER_DEVICE, //
    },
    state::{
        device::{
            Config,
            Device, //
        },
        peer::Peer, //
    }, //
};

/// The number of the peer that was created last.
static PEER_COUNTER: Atomic<i64> = Atomic::new(0);

impl Peer {
    /// Creates a peer of `device`.
    ///
    /// Process context. `ENOMEM` if there is no memory, or there are [`MAX_PEERS_PER_DEVICE`]
    /// already.
    pub(crate) fn create(
        device: &Arc<Device>,
        config: &mut Config,
        public_key: &PublicKey,
        preshared_key: Option<&Secret<32>>,
    ) -> Result<Arc<Self>> {
        if config.peer_count() >= MAX_PEERS_PER_DEVICE as usize {
            return Err(ENOMEM);
        }
        let id = PEER_COUNTER.fetch_add(1, Relaxed).wrapping_add(1) as u64;
        let peer = Peer::new(device, id, public_key)?;
        // Before anything can fail: the end of the peer is logged in any case.
        dev_dbg!(device, "Peer {} created\n", id);
        if let Some(key) = preshared_key {
            peer.set_preshared_key(key);
        }
        if let Some(identity) = device.identity.get() {
            peer.precompute_static_static(&identity);
        }
        let handle = RcuArc::new(peer.clone(), GFP_KERNEL)?;
        config.add_peer(id, handle)?;
        if let Err(e) =
            device
                .peers_by_key
                .insert(peer.public_key.as_bytes(), peer.clone(), GFP_KERNEL)
        {
            config.remove_peer(id);
            return Err(e);
        }
        Ok(peer)
    }

    /// Takes the peer out of the table of public keys, and lets nothing new begin for it.
    fn make_dead(&self) {
        self.device
            .peers_by_key
            .remove_if(self.public_key.as_bytes(), |peer| peer.id == self.id);
        self.mark_dead();
    }

    /// Ends all that goes on with the peer, a grace period after [`Peer::make_dead`]. By then every
    /// CPU sees that the peer is dead: no timer is armed, no work item queued and no keypair
    /// installed any more.
    pub(crate) fn finish(self: &Arc<Self>) {
        self.timers_stop();
        self.let_go();
    }

    /// Clears the handshake and the keypairs, which refer to the peer, and drops the packets that
    /// wait and the routes. Nothing is sent any more, or the device has no sockets.
    fn let_go(&self) {
        self.endpoint.drop_routes();
        self.clear_handshake();
        self.keypairs.clear(&self.device.index_table);
        self.purge_staged_packets();
    }

    /// The first half of the end of a peer whose device is down, is being unregistered and has no
    /// allowed IPs any more. The other half is [`Peer::finish`], a grace period later: it ends what
    /// has begun in between, which is next to nothing, so in most cases it leaves nothing to RCU.
    /// Process context.
    pub(crate) fn disappear(&self) {
        drop(self.allowed_ips.lock().take());
        self.make_dead();
        self.let_go();
    }

    /// Removes `peers`, with a single grace period for all of them.
    ///
    /// Process context; it sleeps.
    pub(crate) fn remove(config: &mut Config, peers: &[Arc<Peer>]) {
        for peer in peers {
            peer.detach(config);
        }
        Self::finish_all(peers);
    }

    /// The first half of a removal: takes the peer out of all tables, and lets nothing new begin
    /// for it. Process context.
    pub(crate) fn detach(&self, config: &mut Config) {
        self.remove_allowed_ips(config, |_| true);
        self.make_dead();
        config.remove_peer(self.id);
    }

    /// The second half of a removal, for peers that were [detached](Peer::detach), with a single
    /// grace period for all of them. Process context; it sleeps.
    pub(crate) fn finish_all<'a>(peers: impl IntoIterator<Item = &'a Arc<Peer>>) {
        let mut peers = peers.into_iter().peekable();
        if peers.peek().is_none() {
            return;
        }
        rcu::synchronize_net();
        for peer in peers {
            peer.finish();
            sched::cond_resched();
        }
    }

    /// Removes all peers of `device`, with a single grace period for all of them.
    ///
    /// Process context; it sleeps.
    pub(crate) fn remove_all(device: &Device, config: &mut Config) {
        // Without peers there are no allowed IPs either, and nothing to wait for.
        if config.peer_count() == 0 {
            return;
        }
        // Clear the tries as a whole, not prefix by prefix.
        let detached = device.allowed_ips.write().clear();
        for peer in config.peers() {
            peer.make_dead();
            sched::cond_resched();
        }
        rcu::synchronize_net();
        while let Some(peer) = config.take_first_peer() {
            drop(peer.allowed_ips.lock().take());
            peer.finish();
            sched::cond_resched();
        }
        drop(detached);
    }

    /// Stops all that goes on with the peer, a grace period after its device has gone down: by then
    /// every CPU sees that, and nothing begins any more. Process context.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.timers_stop();
        self.let_go();
        self.reset_last_sent_handshake();
    }
}

impl Device {
    /// Opens the sockets on `port`, or on a free port if it is 0, and closes the old ones.
    ///
    /// Process context; it sleeps. On error the old sockets stay: `ENONET` if the creating
    /// namespace has gone, `EADDRINUSE` if the port is taken, or another error of creating a
    /// socket.
    pub(crate) fn open_sockets(self: &Arc<Self>, config: &mut Config, port: u16) -> Result {
        let net = self
            .creating_net
            .lock()
            .as_ref()
            .and_then(WeakNet::upgrade)
            .ok_or(ENONET)?;
        config.incoming_port = self.sockets.open(&net, port, self.clone(), &self.name())?;
        Ok(())
    }
}
