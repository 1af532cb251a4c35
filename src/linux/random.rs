// SPDX-License-Identifier: GPL-2.0

//! The kernel's random number generator.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use kernel::{
    error::to_result,
    prelude::*, //
};

use super::bindings;

/// Fills `bytes` with random bytes. Any context.
///
/// Until the generator is seeded ([`rng_is_initialized`]) the bytes are not good enough for a key.
pub(crate) fn get_random_bytes(bytes: &mut [u8]) {
    // SAFETY: `bytes` is valid for writes of its length.
    unsafe { bindings::get_random_bytes(bytes.as_mut_ptr().cast(), bytes.len()) };
}

/// Sleeps until the generator is seeded; returns immediately if it is already. Process context.
///
/// # Errors
///
/// `ERESTARTSYS` when a signal came first.
pub(crate) fn wait_for_random_bytes() -> Result {
    // SAFETY: The function takes nothing. A call in a context that may not sleep is a "scheduling
    // while atomic" report and touches no memory.
    to_result(unsafe { bindings::wait_for_random_bytes() })
}

/// A random number. Any context.
pub(crate) fn get_random_u32() -> u32 {
    // SAFETY: The function takes nothing and may be called anywhere.
    unsafe { bindings::get_random_u32() }
}

/// A random number below `ceil`, each as likely as any other, and 0 if `ceil` is 0. Any context.
pub(crate) fn get_random_u32_below(ceil: u32) -> u32 {
    if ceil == 0 {
        return 0;
    }
    // SAFETY: The function may be called anywhere, and `ceil` is not zero.
    unsafe { bindings::__get_random_u32_below(ceil) }
}

/// Whether the generator is seeded. Any context.
pub(crate) fn rng_is_initialized() -> bool {
    // SAFETY: The function takes nothing and may be called anywhere.
    unsafe { bindings::rng_is_initialized() }
}

#[kernel::macros::kunit_tests(rust_random)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_filled_to_the_end() -> Result {
        let (mut a, mut b) = ([0u8; 64], [0u8; 64]);
        wait_for_random_bytes()?;
        get_random_bytes(&mut a);
        get_random_bytes(&mut b);
        assert!(rng_is_initialized());
        assert!(a != b);
        for half in [&a[..32], &a[32..], &b[..32], &b[32..]] {
            assert!(half.iter().any(|byte| *byte != 0));
        }
        Ok(())
    }

    #[test]
    fn below_its_bound() {
        assert_eq!(get_random_u32_below(0), 0);
        assert_eq!(get_random_u32_below(1), 0);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            let place = seen.get_mut(get_random_u32_below(7) as usize);
            assert!(place.is_some());
            if let Some(place) = place {
                *place = true;
            }
        }
        assert!(seen == [true; 7]);
    }
}
