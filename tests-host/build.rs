// SPDX-License-Identifier: GPL-2.0

//! Sets the options that Kbuild would set: the KUnit suites are compiled, and RCU is preemptible.
//! What is compiled is no module.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(CONFIG_KUNIT, values(\"y\"))");
    println!("cargo::rustc-cfg=CONFIG_KUNIT=\"y\"");
    println!("cargo::rustc-check-cfg=cfg(CONFIG_PREEMPT_RCU)");
    println!("cargo::rustc-cfg=CONFIG_PREEMPT_RCU");
    println!("cargo::rustc-check-cfg=cfg(CONFIG_RUST)");
    println!("cargo::rerun-if-changed=build.rs");
}
