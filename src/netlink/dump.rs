// SPDX-License-Identifier: GPL-2.0

//! Dumps of a device and its peers, for both families.
//!
//! A dump is as many messages as it takes. Between two of them it holds no lock, only a reference
//! to the device. It then goes on with the next peer that there is. Each message tells whether the
//! configuration has changed since the one before ([`DumpBuffer::set_generation`]); readers then
//! ask again.

use core::ops::ControlFlow;
use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::attributes::{
    lookup_interface,
    GET_ATTRS,
    GET_POLICY, //
};
use crate::{
    linux::{
        genetlink::{
            Access,
            DumpBuffer,
            DumpOp,
            Message,
            Progress,
            Request, //
        },
        netlink::{
            PolicyRef,
            Put, //
        },
        rtnetlink,
    },
    state::{
        device::{
            Config,
            Device, //
        },
        peer::Peer, //
    },
};

/// The result of putting a peer.
pub(super) enum Outcome {
    /// The whole peer is put.
    Whole,
    /// A part of the peer is put. The next message goes on with the same peer.
    Part,
    /// There was no room for the peer, or for more of it, and nothing is put that was not before.
    Nothing,
}

/// What a dump puts into its messages. The value is what it remembers from one to the next.
pub(super) trait Contents: Send + 'static {
    /// The number of the command in a request.
    const CMD: u8;
    /// The attribute that has the peers in it. `None`: each is an attribute of the message.
    const PEERS: Option<u16>;

    /// The contents before the first message.
    fn new() -> Self;

    /// Puts the attributes of a device besides its peers.
    fn put_device(device: &Device, config: &Config, message: &mut Message<'_>) -> Result;

    /// Puts a peer, or what earlier messages lack of it.
    fn put_peer(&mut self, peer: &Peer, to: &mut impl Put) -> Outcome;
}

/// A dump of a device.
pub(super) struct DeviceDump<C> {
    device: Arc<Device>,
    /// Set once the device's own attributes have been put.
    begun: bool,
    /// The number of the last peer that was put as a whole; 0: none.
    last_peer: u64,
    contents: C,
}

impl<C: Contents> DumpOp for DeviceDump<C> {
    const CMD: u8 = C::CMD;
    const ACCESS: Access = Access::NamespaceAdmin;
    // Both families name the device by the same attributes.
    const POLICY: PolicyRef = GET_POLICY.by_ref();

    fn start(request: &Request<'_>) -> Result<Self> {
        Ok(Self {
            device: lookup_interface(request, &request.attrs::<GET_ATTRS>())?,
            begun: false,
            last_peer: 0,
            contents: C::new(),
        })
    }

    fn dump(&mut self, request: &Request<'_>, buffer: &mut DumpBuffer<'_>) -> Result<Progress> {
        // Under the RTNL the name is that of the index, and neither changes. It is released last,
        // see the lock order.
        let _rtnl = (!self.begun).then(rtnetlink::lock);
        let device = self.device.clone();
        let mut config = device.update.lock();
        buffer.set_generation(config.generation);
        let mut message = buffer.message()?;

        let begun = self.begun;
        if !begun {
            C::put_device(&device, &config, &mut message).map_err(|errno| {
                if errno == ENODEV {
                    request
                        .extack()
                        .err(errno, c"the interface has been deleted meanwhile")
                } else {
                    errno
                }
            })?;
            self.begun = true;
        }

        let (progress, any) = match C::PEERS {
            Some(attribute) => {
                let mut nest = message.nest(attribute)?;
                let put = self.put_peers(&mut config, &mut nest);
                if put.1 {
                    nest.end()?;
                }
                put
            }
            None => self.put_peers(&mut config, &mut message),
        };
        if begun && !any && matches!(progress, Progress::More) {
            // The buffer is too small for a single peer: it will not be larger the next time.
            return Err(request
                .extack()
                .err(EMSGSIZE, c"the buffer is too small for a peer"));
        }
        message.end();
        Ok(progress)
    }
}

impl<C: Contents> DeviceDump<C> {
    /// Puts as many peers as there is room for. Returns how far it got, and whether it put any.
    fn put_peers(&mut self, config: &mut Config, to: &mut impl Put) -> (Progress, bool) {
        let mut any = false;
        let full = config.try_for_each_peer_after(self.last_peer, |peer| {
            let outcome = self.contents.put_peer(peer, to);
            any |= !matches!(outcome, Outcome::Nothing);
            if !matches!(outcome, Outcome::Whole) {
                return ControlFlow::Break(());
            }
            self.last_peer = peer.id;
            ControlFlow::Continue(())
        });
        let progress = match full {
            ControlFlow::Break(()) => Progress::More,
            ControlFlow::Continue(()) => Progress::Done,
        };
        (progress, any)
    }
}
