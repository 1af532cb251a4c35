// SPDX-License-Identifier: GPL-2.0

//! The RTNL.
//!
//! C header: [`include/linux/rtnetlink.h`](srctree/include/linux/rtnetlink.h)

use kernel::types::NotThreadSafe;

use super::bindings;

/// Evidence that the RTNL, the lock of network device configuration, is held by the current task.
///
/// # Invariants
///
/// The value owns the RTNL, which the task that made the value has taken.
#[must_use = "the RTNL is released when the guard is dropped"]
pub(crate) struct RtnlGuard {
    _not_send: NotThreadSafe,
}

/// `rtnl_lock()`. Process context: it sleeps. Releasing the lock may take long: it destroys the
/// devices that were unregistered under the lock.
pub(crate) fn lock() -> RtnlGuard {
    // SAFETY: The function may be called from any context that may sleep. A task that has the lock
    // already waits for ever, which touches no memory.
    unsafe { bindings::rtnl_lock() };
    // INVARIANT: The lock has just been taken.
    RtnlGuard {
        _not_send: NotThreadSafe,
    }
}

impl Drop for RtnlGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the lock is held by this task, as the value is not `Send`.
        unsafe { bindings::rtnl_unlock() };
    }
}
