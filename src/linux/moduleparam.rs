// SPDX-License-Identifier: GPL-2.0

//! Module parameters that can be read and changed while the module is loaded.
//!
//! The parameters of `module!` can only be set when the module is loaded, and are not in sysfs.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use kernel::{
    bindings::{
        kernel_param,
        kernel_param__bindgen_ty_1,
        kernel_param_ops,
        param_get_uint,
        param_ops_bool,
        param_set_uint_minmax, //
    },
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
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

/// The value of a parameter that is one of the numbers from 0 to `MAX`: see [`choice_param!`].
#[repr(transparent)]
pub(crate) struct ChoiceParam<const MAX: u32>(Atomic<u32>);

impl<const MAX: u32> ChoiceParam<MAX> {
    /// How C reads and writes the value.
    const OPS: &'static kernel_param_ops = &kernel_param_ops {
        flags: 0,
        set: Some(set_at_most::<MAX>),
        get: Some(param_get_uint),
        free: None,
    };

    /// A parameter that has the value `default` until another one is written.
    pub(crate) const fn new(default: u32) -> Self {
        Self(Atomic::new(default))
    }

    /// The current value. A write to the file may change it concurrently.
    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Writes the number in the text `val` to the parameter. `EINVAL` if it is none, or above `MAX`.
///
/// # Safety
///
/// - `val` is null or a string that ends with a null byte.
/// - `kp` is valid, and its argument points to a `u32`.
unsafe extern "C" fn set_at_most<const MAX: u32>(
    val: *const c_char,
    kp: *const kernel_param,
) -> c_int {
    // SAFETY: By the safety requirements, which are those of this call.
    unsafe { param_set_uint_minmax(val, kp, 0, MAX) }
}

/// An entry of the table of parameters, which is a section of the object file: see [`bool_param!`]
/// and [`choice_param!`].
#[repr(transparent)]
pub(crate) struct Entry(kernel_param);

// SAFETY: Only C uses an entry, and C does not write to it. Everything that the entry refers to is
// static.
unsafe impl Sync for Entry {}

impl Entry {
    /// Makes the entry of `value` under `name`, which has to end with a null byte. The name is
    /// `MODULE.NAME` if the module is built in.
    ///
    /// C reads and writes the one byte of the value with plain accesses, and takes a lock for both.
    /// C only ever stores one of the two values of a `bool`, and [`BoolParam::get`] reads the byte
    /// atomically.
    pub(crate) const fn of_bool(name: &'static str, value: &'static BoolParam) -> Self {
        Self::new(name, &raw const param_ops_bool, value.as_void_ptr())
    }

    /// As [`Entry::of_bool`], of a number. C accesses its four bytes in the same way.
    pub(crate) const fn of_choice<const MAX: u32>(
        name: &'static str,
        value: &'static ChoiceParam<MAX>,
    ) -> Self {
        Self::new(name, ChoiceParam::<MAX>::OPS, value.0.as_ptr().cast())
    }

    /// Every user may read the file; root may write it.
    const fn new(name: &'static str, ops: *const kernel_param_ops, arg: *mut c_void) -> Self {
        let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) else {
            panic!("no null byte, or more than one");
        };
        Self(kernel_param {
            name: as_char_ptr_in_const_context(name),
            // The module's structure exists for as long as the module.
            #[cfg(MODULE)]
            mod_: (&raw const kernel::bindings::__this_module).cast_mut(),
            #[cfg(not(MODULE))]
            mod_: core::ptr::null_mut(),
            ops,
            perm: 0o644,
            level: -1,
            flags: 0,
            __bindgen_anon_1: kernel_param__bindgen_ty_1 { arg },
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

/// Joins literals to a string. If the module is built in, `wireguard.` precedes them, because the
/// entries of all built-in modules stand in the same sections.
macro_rules! of_module {
    ($($part:expr),*) => {{
        #[cfg(MODULE)]
        const JOINED: &str = ::core::concat!($($part),*);
        #[cfg(not(MODULE))]
        const JOINED: &str = ::core::concat!("wireguard.", $($part),*);
        JOINED
    }};
}
pub(crate) use of_module;

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
        $crate::linux::moduleparam::param! { of_bool, "bool", $value: $name, $description }
    };
}
pub(crate) use bool_param;

/// As [`bool_param!`], for a static [`ChoiceParam`].
macro_rules! choice_param {
    ($value:path: $name:ident, $description:literal;) => {
        $crate::linux::moduleparam::param! { of_choice, "uint", $value: $name, $description }
    };
}
pub(crate) use choice_param;

/// The common part of [`bool_param!`] and [`choice_param!`].
macro_rules! param {
    ($entry:ident, $type:literal, $value:path: $name:ident, $description:literal) => {
        const _: () = {
            const TYPE: &str = $crate::linux::moduleparam::of_module!(
                "parmtype=",
                ::core::stringify!($name),
                ":",
                $type,
                "\0"
            );
            const TEXT: &str = $crate::linux::moduleparam::of_module!(
                "parm=",
                ::core::stringify!($name),
                ":",
                $description,
                "\0"
            );

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TYPE_LINE: [u8; TYPE.len()] = $crate::linux::moduleparam::line(TYPE);

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TEXT_LINE: [u8; TEXT.len()] = $crate::linux::moduleparam::line(TEXT);

            #[link_section = "__param"]
            #[used(compiler)]
            static ENTRY: $crate::linux::moduleparam::Entry =
                $crate::linux::moduleparam::Entry::$entry(
                    $crate::linux::moduleparam::of_module!(::core::stringify!($name), "\0"),
                    &$value,
                );
        };
    };
}
pub(crate) use param;
