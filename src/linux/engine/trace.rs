// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of `trace.h`: what `perf`, `bpftrace` and `trace-cmd` see of the module.
//!
//! Each tracepoint has a module of its own. While nobody traces it, it costs a patched jump: ask
//! `is_on()` before the arguments of `trace()` are made.
//!
//! The kernel crate has `declare_trace!`, which looks for the tracepoint in the crate's own
//! bindings. Those of a module are not there.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

// The types are those of the kernel's bindings. Somewhere in them is a `lock_class_key`, which is
// empty where locks are not debugged.
#![allow(improper_ctypes)]

use kernel::str::CStr;
#[cfg(CONFIG_TRACEPOINTS)]
use kernel::{
    ffi::c_char,
    str::CStrExt, //
};

#[cfg(CONFIG_TRACEPOINTS)]
use super::super::bindings;
use super::super::netdevice::NetDevice;

/// Makes the modules of tracepoints: `name(argument)`, with the kind of their last argument.
macro_rules! tracepoints {
    ($($(#[$doc:meta])* $name:ident => $symbol:ident($last:tt);)*) => {$(
        $(#[$doc])*
        pub(crate) mod $name {
            use super::*;

            kernel::macros::paste! {
                #[cfg(CONFIG_TRACEPOINTS)]
                extern "C" {
                    static [<__tracepoint_ $symbol>]: kernel::bindings::tracepoint;
                }
            }

            /// Whether somebody traces it. Any context.
            #[inline(always)]
            // Both operations are in the macro.
            #[allow(clippy::multiple_unsafe_ops_per_block)]
            pub(crate) fn is_on() -> bool {
                #[cfg(CONFIG_TRACEPOINTS)]
                kernel::macros::paste! {
                    // SAFETY: The tracepoint is a static of C, whose key may be asked for always.
                    return unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            [<__tracepoint_ $symbol>],
                            kernel::bindings::tracepoint,
                            key
                        )
                    };
                }
                #[cfg(not(CONFIG_TRACEPOINTS))]
                false
            }

            tracepoints!(@$last $symbol);
        }
    )*};
    (@address $symbol:ident) => { kernel::macros::paste! {
        #[cfg(CONFIG_TRACEPOINTS)]
        extern "C" {
            fn [<rust_do_trace_ $symbol>](
                dev: *const bindings::net_device,
                peer: u64,
                what: *const c_char,
                address: *const u8,
                len: u32,
            );
        }

        /// Has it traced, with an address as `struct sockaddr_in` or `struct sockaddr_in6`; empty
        /// if it is not known. Any context.
        #[cold]
        pub(crate) fn trace(dev: &NetDevice, peer: u64, what: &CStr, address: &[u8]) {
            let dev = dev.as_raw();
            #[cfg(CONFIG_TRACEPOINTS)]
            // SAFETY: The device and the string are valid, as are `len` bytes of the address. C
            // copies what it needs of them during the call.
            unsafe {
                [<rust_do_trace_ $symbol>](
                    dev,
                    peer,
                    what.as_char_ptr(),
                    address.as_ptr(),
                    address.len() as u32,
                )
            };
            #[cfg(not(CONFIG_TRACEPOINTS))]
            let _ = (dev, peer, what, address);
        }
    }};
    (@number $symbol:ident) => { kernel::macros::paste! {
        #[cfg(CONFIG_TRACEPOINTS)]
        extern "C" {
            fn [<rust_do_trace_ $symbol>](
                dev: *const bindings::net_device,
                peer: u64,
                what: *const c_char,
                number: u32,
            );
        }

        /// Has it traced. Any context.
        #[cold]
        pub(crate) fn trace(dev: &NetDevice, peer: u64, what: &CStr, number: u32) {
            let dev = dev.as_raw();
            #[cfg(CONFIG_TRACEPOINTS)]
            // SAFETY: The device and the string are valid. C copies what it needs of them during
            // the call.
            unsafe {
                [<rust_do_trace_ $symbol>](dev, peer, what.as_char_ptr(), number)
            };
            #[cfg(not(CONFIG_TRACEPOINTS))]
            let _ = (dev, peer, what, number);
        }
    }};
}

tracepoints! {
    /// A handshake message was handed to the network stack: which, and where it goes.
    handshake_sent => wg_handshake_sent(address);
    /// A handshake message has arrived: which, and where it came from.
    handshake_received => wg_handshake_received(address);
    /// Handshake messages were not taken: why, and how many.
    handshake_refused => wg_handshake_refused(number);
    /// Packets or messages were dropped: why, and how many.
    packet_dropped => wg_packet_dropped(number);
    /// A session has begun: the role of this side, and the index that the peer sends to.
    session_begun => wg_session_begun(number);
    /// A session has ended: likewise.
    session_ended => wg_session_ended(number);
    /// Something has happened to an endpoint: what, and which it is now.
    endpoint => wg_endpoint(address);
}
