// SPDX-License-Identifier: GPL-2.0

//! C structures that a subsystem of the kernel refers to while they are registered with it.

use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// How a kind of structures is registered.
///
/// # Safety
///
/// * If [`Self::register`] fails, or once [`Self::unregister`] has returned, nothing refers to the
///   structure or runs one of its callbacks.
/// * Both may be called by any thread.
pub(crate) unsafe trait Register: 'static {
    /// The structure.
    type Raw;

    /// The structure, as it is to be registered.
    fn raw() -> Self::Raw;

    /// Registers the structure. Returns zero or a negative error number.
    ///
    /// # Safety
    ///
    /// `raw` must point to a value of [`Self::raw`]. The value must not move, and be valid until it
    /// is unregistered.
    unsafe fn register(raw: *mut Self::Raw) -> c_int;

    /// Undoes [`Self::register`].
    ///
    /// # Safety
    ///
    /// `raw` must be registered.
    unsafe fn unregister(raw: *mut Self::Raw);
}

/// A structure that is registered until this value is dropped.
///
/// # Invariants
///
/// `raw` is registered from the end of the initialisation until the value is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<R: Register> {
    #[pin]
    raw: Opaque<R::Raw>,
    _p: PhantomData<fn(R)>,
}

// SAFETY: The only operation on the value is the drop, which any thread may do.
unsafe impl<R: Register> Send for Registration<R> {}
// SAFETY: As above.
unsafe impl<R: Register> Sync for Registration<R> {}

impl<R: Register> Registration<R> {
    /// Registers a structure. Context and errors are those of the kind.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            raw <- Opaque::try_ffi_init(|slot: *mut R::Raw| {
                // SAFETY: The slot is valid for writing.
                unsafe { slot.write(R::raw()) };
                // SAFETY: The structure was just made, is pinned, and is unregistered before it is
                // freed.
                to_result(unsafe { R::register(slot) })
            }),
            _p: PhantomData,
        }? Error)
    }
}

#[pinned_drop]
impl<R: Register> PinnedDrop for Registration<R> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the structure is registered.
        unsafe { R::unregister(self.raw.get()) };
    }
}
