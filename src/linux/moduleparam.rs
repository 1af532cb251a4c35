// SPDX-License-Identifier: GPL-2.0

//! Module parameters that can be read and changed while the module is loaded.
//!
//! The parameters of `module!` can only be set when the module is loaded, and are not in sysfs.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use kernel::{
    bindings::{
        __this_module,
        kernel_param,
        kernel_param__bindgen_ty_1,
        param_ops_bool, //
    },
    ffi::c_void,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    }, //
};

/// The value of a parameter, `Y` or `N`: see [`bool_param!`].
#[repr(transparent)]
pub(crate) struct BoolParam(Atomic<bool>);

impl BoolParam {
    /// A parameter that has the value `default` until another one is written.
    pub(crate) const fn new(default: bool) -> Self {
        Self(Atomic::new(default))
    }

    /// The current value. A write to the file may change it concurrently.
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// The address of the value, for `struct kernel_param`.
    const fn as_void_ptr(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

/// An entry of the table of parameters, which is a section of the object file: see [`bool_param!`].
#[repr(transparent)]
pub(crate) struct Entry(kernel_param);

// SAFETY: Only C uses an entry, and C does not write to it. Everything that the entry refers to is
// static.
unsafe impl Sync for Entry {}

impl Entry {
    /// Makes the entry of `value` under `name`, which has to end with a null byte. Every user may
    /// read the file; root may write it.
    ///
    /// C reads and writes the one byte of the value with plain accesses, and takes a lock for both.
    /// C only ever stores one of the two values of a `bool`, and [`BoolParam::get`] reads the byte
    /// atomically.
    pub(crate) const fn new(name: &'static str, value: &'static BoolParam) -> Self {
        let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) else {
            panic!("no null byte, or more than one");
        };
        Self(kernel_param {
            name: as_char_ptr_in_const_context(name),
            // The module's structure exists for as long as the module.
            mod_: (&raw const __this_module).cast_mut(),
            ops: &raw const param_ops_bool,
            perm: 0o644,
            level: -1,
            flags: 0,
            __bindgen_anon_1: kernel_param__bindgen_ty_1 {
                arg: value.as_void_ptr(),
            },
        })
    }
}

/// The bytes of a line for the section `.modinfo`.
pub(crate) const fn line<const LEN: usize>(line: &str) -> [u8; LEN] {
    match line.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => panic!("the line is shorter"),
    }
}

/// Makes a static [`BoolParam`] a module parameter. Root may change it at any time.
///
/// The file is `/sys/module/MODULE/parameters/NAME`. The value can also be set when the module is
/// loaded.
///
/// # Examples
///
/// ```ignore
/// /// Whether the thing is done.
/// static DO_IT: BoolParam = BoolParam::new(true);
///
/// bool_param! {
///     DO_IT: do_it, "Do the thing";
/// }
///
/// if DO_IT.get() {
///     // …
/// }
/// ```
macro_rules! bool_param {
    ($value:path: $name:ident, $description:literal;) => {
        const _: () = {
            const TYPE: &str = ::core::concat!("parmtype=", ::core::stringify!($name), ":bool\0");
            const TEXT: &str =
                ::core::concat!("parm=", ::core::stringify!($name), ":", $description, "\0");

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TYPE_LINE: [u8; TYPE.len()] = $crate::linux::moduleparam::line(TYPE);

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TEXT_LINE: [u8; TEXT.len()] = $crate::linux::moduleparam::line(TEXT);

            #[link_section = "__param"]
            #[used(compiler)]
            static ENTRY: $crate::linux::moduleparam::Entry =
                $crate::linux::moduleparam::Entry::new(
                    ::core::concat!(::core::stringify!($name), "\0"),
                    &$value,
                );
        };
    };
}
pub(crate) use bool_param;
