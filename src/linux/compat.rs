// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crates of the series lack that the module is built for, beside the newest one.
//!
//! Each item has the name and the meaning that it has in the newest series, 7.3, where it is that
//! item. `Kbuild` sets `linux_7_2` for 7.2.

#[cfg(not(linux_7_2))]
pub(crate) use self::newest::*;

#[cfg(linux_7_2)]
pub(crate) use self::v7_2::*;

#[cfg(not(linux_7_2))]
mod newest {
    pub(crate) use crate::linux::bindings::rcu_gp_seq;
    pub(crate) use kernel::{
        error::code,
        sync::{
            barrier,
            rcu::rcu_barrier, //
        },
    };
    pub(crate) use pin_init::raw_try_init;
}

#[cfg(linux_7_2)]
mod v7_2 {
    use crate::linux::bindings;
    use pin_init::PinInit;

    /// What `get_state_synchronize_rcu_full()` writes, by its newer name.
    pub(crate) use bindings::rcu_gp_oldstate as rcu_gp_seq;

    /// Errors that `kernel::error::code` lacks.
    ///
    /// C header: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)
    pub(crate) mod code {
        use core::mem::transmute;
        use kernel::{
            bindings,
            error::{
                code::EINVAL,
                Error, //
            }, //
        };

        // `Error` has no constructor that the compiler can evaluate. It holds the negative errno
        // and nothing else.
        // SAFETY: Any initialised value of the size of an `i32` is one.
        const _: () =
            assert!(unsafe { transmute::<Error, i32>(EINVAL) } == -(bindings::EINVAL as i32));

        macro_rules! declare_err {
            ($($err:ident)*) => {$(
                pub(crate) const $err: Error = {
                    assert!(bindings::$err > 0 && bindings::$err <= bindings::MAX_ERRNO);
                    // SAFETY: By the assertions, an `Error` is its negative errno, and this is one.
                    unsafe { transmute::<i32, Error>(-(bindings::$err as i32)) }
                };
            )*};
        }

        declare_err! {
            EADDRINUSE
            EAFNOSUPPORT
            EBADMSG
            EBADR
            EDESTADDRREQ
            EDQUOT
            ENETUNREACH
            ENOKEY
            ENONET
            EOPNOTSUPP
            EPFNOSUPPORT
            EPROTONOSUPPORT
        }
    }

    /// Memory barriers.
    pub(crate) mod barrier {
        pub(crate) use kernel::sync::atomic::ordering::Full;

        /// A full memory barrier. Any context.
        #[inline(always)]
        pub(crate) fn smp_mb(_ordering: Full) {
            kernel::sync::barrier::smp_mb();
        }
    }

    /// Waits for all RCU callbacks that are queued. Process context: it sleeps.
    pub(crate) fn rcu_barrier() {
        // SAFETY: The function may be called wherever it is possible to sleep; where it is not, the
        // kernel reports it.
        unsafe { bindings::rcu_barrier() };
    }

    /// Initialises the place `slot`.
    ///
    /// # Safety
    ///
    /// `slot` must be valid for writes, and must not move until its contents are dropped. If this
    /// fails, it holds nothing.
    pub(crate) unsafe fn raw_try_init<T, E>(
        slot: *mut T,
        init: impl PinInit<T, E>,
    ) -> Result<(), E> {
        // SAFETY: By the safety requirement.
        unsafe { init.__pinned_init(slot) }
    }
}
