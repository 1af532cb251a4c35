// SPDX-License-Identifier: GPL-2.0

//! Faces that only this engine wants. They bend C interfaces to its purpose, so they are no
//! proposal for the kernel:
//!
//! * [`aead`]: ChaCha20-Poly1305 where the text lies, with the authenticator's key made in the same
//!   pass of the cipher.

pub(crate) mod aead;
