// SPDX-License-Identifier: GPL-2.0

//! What tracers see: the events of the system `wireguard` in tracefs.
//!
//! Each function costs a patched jump or two while nobody traces. All may be called in any context.

use kernel::str::CStr;

use crate::{
    events::Event,
    linux::{
        engine::{
            link::Handle,
            trace::*, //
        },
        netdevice::NetDevice,
        rcu,
    },
    protocol::messages::MessageType,
    socket::Endpoint, //
};

/// Calls `f` with the network device, if it still exists.
#[cold]
fn with(device: &Handle, f: impl FnOnce(&NetDevice)) {
    let guard = rcu::Guard::new();
    if let Some(dev) = device.get(&guard) {
        f(dev);
    }
}

/// Traces an event that has happened `n` times to peer number `peer`, 0 if none is known, if
/// something was refused or dropped.
#[inline]
pub(crate) fn happened(device: &Handle, peer: u64, event: Event, n: usize) {
    if handshake_refused::is_on() && event.is_refusal() {
        with(device, |dev| {
            handshake_refused::trace(dev, peer, event.name(), n as u32);
        });
    }
    if packet_dropped::is_on() && event.is_drop() {
        with(device, |dev| {
            packet_dropped::trace(dev, peer, event.name(), n as u32);
        });
    }
}

/// Traces that a handshake message, which begins with the number of its kind, goes to `to`.
#[inline]
pub(crate) fn sent(device: &Handle, peer: u64, message: &[u8], to: &Endpoint) {
    if handshake_sent::is_on() {
        let kind = message
            .first_chunk()
            .and_then(|header| MessageType::classify(*header, message.len()));
        if let Some(kind) = kind {
            with(device, |dev| {
                handshake_sent::trace(dev, peer, name_of(kind), to.to_sockaddr().as_bytes());
            });
        }
    }
}

/// Traces that a handshake message has arrived, whose source `from` finds out.
#[inline]
pub(crate) fn received(
    device: &Handle,
    kind: MessageType,
    from: impl FnOnce() -> Option<Endpoint>,
) {
    if handshake_received::is_on() {
        let from = from().map(Endpoint::to_sockaddr);
        let from = from.as_ref().map_or(&[][..], |from| from.as_bytes());
        with(device, |dev| {
            handshake_received::trace(dev, 0, name_of(kind), from);
        });
    }
}

/// Traces what has happened to the endpoint of a peer.
#[inline]
pub(crate) fn endpoint_changed(
    device: &Handle,
    peer: u64,
    event: Event,
    now: impl FnOnce() -> Option<Endpoint>,
) {
    if endpoint::is_on() {
        let now = now().map(Endpoint::to_sockaddr);
        let now = now.as_ref().map_or(&[][..], |now| now.as_bytes());
        with(device, |dev| {
            endpoint::trace(dev, peer, event.name(), now);
        });
    }
}

/// Traces that a session has begun. `index` is that which the peer sends to.
#[inline]
pub(crate) fn begun(device: &Handle, peer: u64, i_am_the_initiator: bool, index: u32) {
    if session_begun::is_on() {
        with(device, |dev| {
            session_begun::trace(dev, peer, role_of(i_am_the_initiator), index);
        });
    }
}

/// Traces that a session has ended: nothing is sent or received with its keys any more.
#[inline]
pub(crate) fn ended(device: &Handle, peer: u64, i_am_the_initiator: bool, index: u32) {
    if session_ended::is_on() {
        with(device, |dev| {
            session_ended::trace(dev, peer, role_of(i_am_the_initiator), index);
        });
    }
}

const fn role_of(i_am_the_initiator: bool) -> &'static CStr {
    if i_am_the_initiator {
        c"initiator"
    } else {
        c"responder"
    }
}

const fn name_of(kind: MessageType) -> &'static CStr {
    match kind {
        MessageType::HandshakeInitiation => c"initiation",
        MessageType::HandshakeResponse => c"response",
        MessageType::HandshakeCookie => c"cookie-reply",
        MessageType::Data => c"data",
    }
}
