// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use kernel::types::Opaque;

use super::bindings;

/// A network device.
///
/// # Invariants
///
/// A reference to this type refers to a valid `struct net_device` that is not freed during the reference's
/// lifetime.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

// SAFETY: What this type offers of a `struct net_device` may be used from any thread.
unsafe impl Send for NetDevice {}
// SAFETY: As above.
unsafe impl Sync for NetDevice {}

impl NetDevice {
    /// Looks at a device of C.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid, and the device must not be freed during `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net_device) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The C structure, for the faces of other subsystems.
    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }
}
