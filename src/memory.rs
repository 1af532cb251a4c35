// SPDX-License-Identifier: GPL-2.0

//! The memory for what is encrypted and decrypted, which all devices share: on each CPU pages that
//! packets had before, and that need not be cleared again.

use kernel::prelude::*;

use crate::{
    linux::{
        engine::PageRings,
        page_pool::PagePools, //
    },
    tuning::{
        DECRYPTED_PAGES,
        DECRYPTED_PAGE_BYTES, //
    },
};

/// Pages that packets had before.
pub(crate) struct Memory {
    /// For the datagrams of aggregates.
    pub(crate) encrypted: PageRings,
    /// For the packets inside.
    pub(crate) decrypted: PagePools,
}

impl Memory {
    /// No pages yet. Process context. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            encrypted: PageRings::new()?,
            decrypted: PagePools::new(DECRYPTED_PAGE_BYTES, DECRYPTED_PAGES)?,
        })
    }
}
