// SPDX-License-Identifier: GPL-2.0

//! Sets what Kbuild would: the KUnit suites are compiled.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(CONFIG_KUNIT, values(\"y\"))");
    println!("cargo::rustc-cfg=CONFIG_KUNIT=\"y\"");
    println!("cargo::rerun-if-changed=build.rs");
}
