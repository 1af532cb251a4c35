// SPDX-License-Identifier: GPL-2.0

//! Sending.
//!
//! A packet's way through this folder, from [`transmit()`](crate::interface), a file for each
//! station:
//!
//! 1. `stage.rs`, [`Peer::stage_and_send`]: the packet joins those that wait with the peer. A
//!    packet of many TCP segments stays one.
//! 2. [`Peer::send_staged_packets`]: the packets that wait get counters and become a batch. That is
//!    done inline, or by a worker, which takes along all packets that have come until its turn.
//!    Without a key they go on waiting, and a handshake is asked for.
//! 3. `encrypt.rs`: the batch is encrypted, by the caller if it is small, otherwise by a worker.
//!    Packets that can walk the stack together become one aggregate, most of them without a copy.
//! 4. `leave.rs`: the batches of a peer go to the socket in order, all of them on one CPU.
//!
//! `handshake.rs` sends the messages that are not data.
//!
//! # Order
//!
//! The packets of a peer leave in the order in which they were staged. [`Peer::staged`] is locked
//! from when packets get counters until their batch is in [`Peer::tx_queue`], which gives batches
//! back in that order. Below, the network stack keeps what one CPU sends in order, but not what
//! several do: a CPU may have a transmit queue of the network card to itself (XPS), and has a
//! backlog of its own for what devices like veth pass on. So a peer has a
//! [`TransmitCpu`](crate::pace::TransmitCpu), and `Peer::transmit()` sends on that one alone. Which
//! CPU encrypts does not matter: if it is another one, [`Peer::TRANSMIT_WORK`] has the right one
//! send.
//!
//! If the transmit CPU goes offline another one takes its place. Only then may packets overtake:
//! the kernel passes the backlog of the old CPU to some other one.
//!
//! [`Peer::stage_and_send`]: crate::state::peer::Peer::stage_and_send
//! [`Peer::send_staged_packets`]: crate::state::peer::Peer::send_staged_packets
//! [`Peer::staged`]: crate::state::peer::Peer::staged
//! [`Peer::tx_queue`]: crate::state::peer::Peer::tx_queue
//! [`Peer::TRANSMIT_WORK`]: crate::state::peer::Peer::TRANSMIT_WORK

mod encrypt;
mod handshake;
mod leave;
mod stage;

pub(crate) use handshake::send_handshake_cookie;
