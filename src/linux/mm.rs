// SPDX-License-Identifier: GPL-2.0

//! The memory of the machine.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use kernel::page::PAGE_SIZE;

use super::bindings;

/// The memory that the kernel manages, in bytes. Any context.
pub(crate) fn totalram_bytes() -> u64 {
    // SAFETY: The function reads an atomic counter of the kernel.
    let pages = unsafe { bindings::totalram_pages() };
    (pages as u64).saturating_mul(PAGE_SIZE as u64)
}
