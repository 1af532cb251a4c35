// SPDX-License-Identifier: GPL-2.0

//! Bindings to the C interfaces named in `bindings.h`, made by bindgen.

#![allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code,
    unused_imports,
    clashing_extern_declarations,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::multiple_unsafe_ops_per_block,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks
)]

use kernel::bindings::{
    bio,
    dentry,
    device,
    device_driver,
    device_node,
    file,
    fwnode_handle,
    inode,
    kobject,
    mm_struct,
    module,
    pci_dev,
    request_queue,
    super_block,
    task_struct,
    work_struct, //
};
use kernel::ffi;
use pin_init::{MaybeZeroable, Zeroable};

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

// SAFETY: `__BindgenBitfieldUnit<Storage>` is a newtype around `Storage`.
unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

include!("bindings_generated.rs");
