// SPDX-License-Identifier: GPL-2.0

//! See `wireguard_host::fuzz::peers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireguard_host::fuzz::peers(bytes));
