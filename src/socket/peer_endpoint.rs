// SPDX-License-Identifier: GPL-2.0

//! The far end of a peer: its endpoint, and the routes to it.

use kernel::{
    fmt::{
        self,
        Display, //
    },
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

use super::{
    sender::{
        Path,
        Sender, //
    },
    Endpoint, //
};
use crate::{
    debug::dev_dbg,
    linux::{
        dst_cache::DstCache,
        engine::link::Handle,
        spinlock::{
            new_spinlock_bh,
            SpinLockBh, //
        }, //
    }, //
};

/// The outer address of a peer, and the routes to it.
///
/// The lock is taken in process and softirq context; below it are only locks of the routing core.
#[pin_data]
pub(crate) struct PeerEndpoint {
    #[pin]
    inner: SpinLockBh<Inner>,
    /// The endpoint as it is now or lately was, to be read without the lock: see
    /// [`Endpoint::words`].
    published: [Atomic<u64>; Endpoint::WORDS],
}

struct Inner {
    endpoint: Option<Endpoint>,
    cache: DstCache,
    /// The device of the peer, for the last message.
    device: Handle,
    peer_id: u64,
}

impl Drop for Inner {
    /// Logs that a peer is gone, and where it was.
    fn drop(&mut self) {
        dev_dbg!(
            self.device,
            "Peer {} ({}) destroyed\n",
            self.peer_id,
            Shown(self.endpoint)
        );
    }
}

impl PeerEndpoint {
    /// An endpoint that is not known yet, of the peer of `device` with the number `peer_id`. Process
    /// context.
    pub(crate) fn new(device: Handle, peer_id: u64) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let inner = Inner {
                endpoint: None,
                cache: DstCache::new()?,
                device,
                peer_id,
            };
            Ok(try_pin_init!(Self {
                inner <- new_spinlock_bh!(inner, "wireguard::PeerEndpoint::inner"),
                published: [const { Atomic::new(0) }; Endpoint::WORDS],
            }? Error))
        })
    }

    /// Whether the endpoint is known.
    pub(crate) fn is_set(&self) -> bool {
        // The first word holds the family, which is not 0.
        self.published
            .first()
            .is_some_and(|word| word.load(Relaxed) != 0)
    }

    /// The endpoint, if it is known.
    pub(crate) fn get(&self) -> Option<Endpoint> {
        self.inner.lock().endpoint
    }

    /// The endpoint for log messages. It is read here, not where the message is put together: that
    /// is done with interrupts off.
    pub(crate) fn shown(&self) -> impl Display {
        Shown(self.get())
    }

    /// Sets the endpoint, if it differs from the present one. Returns whether the peer has moved: it
    /// had another address or port before.
    ///
    /// It seldom differs, so the two are compared without the lock. If another CPU is just changing
    /// the endpoint, either change may come first: it does not matter which.
    pub(crate) fn set(&self, endpoint: &Endpoint) -> bool {
        let words = endpoint.words();
        if self
            .published
            .iter()
            .zip(&words)
            .all(|(published, word)| published.load(Relaxed) == *word)
        {
            return false;
        }
        let mut inner = self.inner.lock();
        let before = inner.endpoint.replace(*endpoint);
        inner.cache.reset();
        self.publish(endpoint);
        before.is_some_and(|before| !before.is_same_place(endpoint))
    }

    /// Forgets the sticky source address, and the routes that go with it.
    pub(crate) fn clear_src(&self) {
        let mut inner = self.inner.lock();
        let Inner {
            endpoint, cache, ..
        } = &mut *inner;
        cache.reset_now();
        if let Some(endpoint) = endpoint {
            endpoint.clear_src();
            self.publish(endpoint);
        }
    }

    /// To be called with the lock held.
    fn publish(&self, endpoint: &Endpoint) {
        for (published, word) in self.published.iter().zip(endpoint.words()) {
            published.store(word, Relaxed);
        }
    }

    /// Looks up the route to the endpoint.
    pub(crate) fn path(&self, sender: &Sender<'_>) -> Result<Path> {
        let mut inner = self.inner.lock();
        let Inner {
            endpoint, cache, ..
        } = &mut *inner;
        let endpoint = endpoint.as_mut().ok_or(EAFNOSUPPORT)?;
        let before = endpoint.words();
        let path = sender.path(endpoint, Some(cache));
        if endpoint.words() != before {
            self.publish(endpoint);
        }
        let endpoint = *endpoint;
        drop(inner);
        path.inspect_err(|error| sender.no_route(&endpoint, error))
    }
}

/// See [`PeerEndpoint::shown`].
struct Shown(Option<Endpoint>);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(endpoint) => endpoint.fmt(f),
            None => f.write_str("(einval)"),
        }
    }
}
