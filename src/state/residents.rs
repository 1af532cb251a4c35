// SPDX-License-Identifier: GPL-2.0

//! Residents live on a device and keep it. The end of the device waits until the last of its own
//! residents has gone, and for no other device's.

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
    /// The number of residents, plus one until [`Residents::wait`] is called.
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
    /// No residents yet. Process context. `ENOMEM` if there is no memory.
    pub(crate) fn new() -> Result<Self> {
        let count = Arc::pin_init(
            pin_init!(Count {
                left: Atomic::new(1),
                gone <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self(count))
    }

    /// Adds a resident.
    pub(crate) fn enter(&self) -> Resident {
        self.0.left.fetch_add(1, Relaxed);
        Resident(self.0.clone())
    }

    /// Waits until all residents have left. To be called once, when none enters any more. Process
    /// context; it sleeps.
    ///
    /// How long that takes depends only on the residents, whose end has begun.
    pub(crate) fn wait(&self) {
        self.0.leave();
        self.0.gone.wait_for_completion();
    }
}

/// One resident, until it is dropped. It does not keep the device by itself. It is the last field
/// of an object that does, and so is dropped after that object's reference to the device.
pub(crate) struct Resident(Arc<Count>);

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.leave();
    }
}
