// SPDX-License-Identifier: GPL-2.0

//! What lives on a device and keeps it: the end of the device waits for the end of the last of
//! them, and of nobody else's.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Arc,
        Completion, //
    },
};

/// The residents of a device.
pub(crate) struct Residents(Arc<Count>);

#[pin_data]
struct Count {
    /// Residents, and one more until somebody waits.
    left: Atomic<usize>,
    #[pin]
    gone: Completion,
}

impl Count {
    fn leave(&self) {
        if self.left.fetch_sub(1, Full) == 1 {
            self.gone.complete_all();
        }
    }
}

impl Residents {
    /// Nobody yet. Process context. `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        let count = Arc::pin_init(
            pin_init!(Count {
                left: Atomic::new(1),
                gone <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self(count))
    }

    /// One more resident.
    pub(crate) fn enter(&self) -> Resident {
        self.0.left.fetch_add(1, Relaxed);
        Resident(self.0.clone())
    }

    /// Waits until all have left, once, when nobody enters any more. Process context; it sleeps.
    ///
    /// How long depends on the residents alone, whose end has begun.
    pub(super) fn wait(&self) {
        self.0.leave();
        self.0.gone.wait_for_completion();
    }
}

/// One resident, until it is dropped. It does not keep the device by itself: it comes last in what
/// does, and so is dropped when the device is kept no more.
pub(crate) struct Resident(Arc<Count>);

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.leave();
    }
}
