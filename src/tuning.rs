// SPDX-License-Identifier: GPL-2.0

//! The numbers that decide who does what, and how much of it together. Each says how it was found.
//!
//! Limits that the C module has, too, are in [`protocol::limits`](crate::protocol::limits).

/// A packet of up to this many segments is encrypted as one. A packet of more is split first.
///
/// Bounds what takes one place in the queues. A packet of 64 KB and usual segments has 45 or so.
pub(crate) const MAX_SEGMENTS: usize = 64;

/// From this many packets on it is worth waking up the workers of all CPUs.
///
/// Not measured by itself. Bounds how many packets wait for the single worker of another CPU: two
/// batches of [`MAX_SENT_BATCH`].
pub(crate) const MIN_SHARED: usize = 32;

/// Most messages of a batch on the way out, unless they are segments of one packet.
///
/// While a batch is on its way the next one is encrypted, and the packets of the first no longer
/// count against their sockets, which may only have so much under way. Measured with a flow of
/// datagrams of 1,400 bytes on two CPUs, when the bound came and the worker moved to the next CPU:
/// 8,800 in a second, 7,000 before.
pub(crate) const MAX_SENT_BATCH: usize = 16;

/// Most packets that are encrypted inline, by the thread that sends them.
///
/// Not measured by itself. Bounds how long a sender is held up. The packet of a sender of little
/// traffic need not wait for a worker.
pub(crate) const MAX_INLINE: usize = 2;

/// How often the sender encrypts before packets are left to a worker, which takes more of them at a
/// time.
///
/// Otherwise a stream of single packets would keep the sender's CPU busy, and no two of them would
/// ever go together. Measured on two CPUs with streams of UDP, when the count no longer began anew
/// in each tick: of 64 bytes 1.99 times the rate of the C module (1.46 before), of 1,400 bytes 1.00
/// times (0.88 before).
///
/// The count begins anew when the peer sends something, as the peer may then wait for an answer,
/// and after a pause of [`QUIET_MSECS`].
pub(crate) const MAX_STEPS: u32 = 8;

/// A pause in sending that ends a stream, in milliseconds.
///
/// Not measured by itself. Bounds how soon a stream that pauses is sent inline again.
pub(crate) const QUIET_MSECS: u32 = 100;

/// Batches of a peer that are sent in a row, before other work of the CPU has its turn.
///
/// Not measured by itself. Bounds how long softirqs are off for one peer: 256 messages, or the
/// segments of 16 packets.
pub(crate) const MAX_SENT_IN_TURN: usize = 16;

/// Batches that a worker encrypts or decrypts before other work of its CPU has its turn.
///
/// Lets the work queue run one item at a time on a CPU, while none waits for long. Measured with
/// that, without AVX2: one TCP flow 377 Mbit/s (366 before), datagrams of 1,400 bytes 21,200 in a
/// second (20,800 before).
pub(crate) const MAX_CRYPT_IN_TURN: usize = 4;

/// How many CPUs in a row are passed over because they have other work to do, when the one
/// is chosen that is to encrypt or decrypt.
///
/// Not measured by itself. Bounds the time that the choice takes.
pub(crate) const MAX_BUSY_CPUS: usize = 4;

/// Up to this many messages that arrive together are decrypted inline.
///
/// Bounds what a NAPI does by itself. More messages are worth the help of other CPUs.
pub(crate) const MAX_DECRYPTED_INLINE: usize = 2;

/// A batch of up to this many bytes is decrypted inline, whatever else has arrived, as long as the
/// budget of the poll lasts.
///
/// Handing it to a worker costs more than decrypting it, as was measured with single datagrams of
/// 64 bytes from 1,000 peers in turn.
pub(crate) const MAX_BYTES_INLINE: usize = 512;

/// Most messages of a batch on the way in, so that other CPUs have something to do, too.
///
/// Not measured by itself. It is as many as a NAPI handles in one turn (`NAPI_POLL_WEIGHT`).
pub(crate) const MAX_RECEIVED_BATCH: usize = 64;

/// Least bytes of the pages that messages are decrypted into.
///
/// A longer message is copied before it is decrypted. As large as the pages of `napi_alloc_frag()`,
/// which the page allocator still hands out quickly.
pub(crate) const DECRYPTED_PAGE_BYTES: u32 = 32_768;

/// How many of these pages wait, on each CPU, to be used again.
///
/// Bounds what a CPU keeps: 1 MB, as it may have as many at hand. Measured with one and with eight
/// TCP flows: with 16 or 32 the kernel clears no memory any more, except for the programs.
pub(crate) const DECRYPTED_PAGES: u32 = 16;

/// Up to this many allowed IPs that replace those of a peer are compared with them first.
///
/// Bounds the stack that the comparison needs. A configuration that is set again for a small change
/// then costs what has changed, not a removal and an insertion for each prefix.
pub(crate) const FEW_ALLOWED_IPS: usize = 16;
