// SPDX-License-Identifier: GPL-2.0

//! Stand-ins for the C functions that the module's faces call: the primitives of RustCrypto, random
//! numbers that are the same in every run, and the RCU of the stand-in for the `kernel` crate.
//!
//! Their contracts are those of the C functions, and their safety requirements, too.

#![allow(
    clippy::missing_safety_doc,
    non_camel_case_types,
    non_upper_case_globals
)]
#![deny(unsafe_op_in_unsafe_fn)]

use blake2::{
    digest::{
        array::Array,
        block_api::{
            Buffer,
            UpdateCore,
            VariableOutputCore, //
        }, //
    },
    Blake2sVarCore, //
};
use chacha20::{
    cipher::{
        KeyIvInit,
        StreamCipher,
        StreamCipherSeek, //
    },
    ChaCha20, //
};
use chacha20poly1305::{
    aead::{
        Aead,
        Payload, //
    },
    ChaCha20Poly1305,
    KeyInit,
    XChaCha20Poly1305, //
};
use core::{
    ffi::c_void,
    mem::size_of,
    slice::{
        from_raw_parts,
        from_raw_parts_mut, //
    }, //
};
use kernel::sync::rcu;
use poly1305::Poly1305;
use std::cell::Cell;

/// The `len` bytes at `ptr`, which may be any pointer if `len` is 0.
unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: By the contract of the caller, `ptr` is valid for reads of `len` bytes, which is not
    // 0.
    unsafe { from_raw_parts(ptr, len) }
}

// ---- memory ------------------------------------------------------------------------------------

pub(crate) unsafe fn memzero_explicit(start: *mut c_void, len: usize) {
    for i in 0..len {
        // SAFETY: By the contract, there are `len` bytes to write.
        unsafe { start.cast::<u8>().add(i).write_volatile(0) };
    }
}

pub(crate) unsafe fn crypto_memneq(a: *const c_void, b: *const c_void, len: usize) -> u64 {
    // SAFETY: By the contract, `a` and `b` are valid for reads of `len` bytes.
    let (a, b) = unsafe { (bytes(a.cast(), len), bytes(b.cast(), len)) };
    (a != b).into()
}

pub(crate) unsafe fn __crypto_xor(dst: *mut u8, a: *const u8, b: *const u8, len: u32) {
    for i in 0..len as usize {
        // SAFETY: By the contract, all three have `len` bytes.
        unsafe { dst.add(i).write(*a.add(i) ^ *b.add(i)) };
    }
}

// ---- random numbers ----------------------------------------------------------------------------

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0x7769_7265_6775_6172) };
}

/// Begins the random numbers of this thread anew.
pub(crate) fn seed(seed: u64) {
    RANDOM.set(seed | 1);
}

pub(crate) unsafe fn get_random_bytes(start: *mut c_void, len: usize) {
    let mut numbers = crate::testing::Numbers::new(RANDOM.get());
    if len > 0 {
        // SAFETY: By the contract, there are `len` bytes to write.
        numbers.fill(unsafe { from_raw_parts_mut(start.cast(), len) });
    }
    RANDOM.set(numbers.next() | 1);
}

pub(crate) unsafe fn get_random_u32() -> u32 {
    let mut number = [0; 4];
    // SAFETY: There are four bytes.
    unsafe { get_random_bytes(number.as_mut_ptr().cast(), 4) };
    u32::from_le_bytes(number)
}

pub(crate) unsafe fn __get_random_u32_below(ceil: u32) -> u32 {
    // SAFETY: The function has no requirements.
    unsafe { get_random_u32() % ceil }
}

pub(crate) unsafe fn wait_for_random_bytes() -> i32 {
    0
}

pub(crate) unsafe fn rng_is_initialized() -> bool {
    true
}

// ---- BLAKE2s -----------------------------------------------------------------------------------

struct Blake2s {
    core: Blake2sVarCore,
    buffer: Buffer<Blake2sVarCore>,
    out_len: usize,
}

/// Like the C struct, it can be copied and forgotten.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(crate) struct blake2s_ctx([u8; 256]);

impl blake2s_ctx {
    fn state(this: *mut Self) -> *mut Blake2s {
        const { assert!(size_of::<Blake2s>() <= size_of::<Self>()) };
        const { assert!(align_of::<Blake2s>() <= align_of::<Self>()) };
        this.cast()
    }
}

pub(crate) unsafe fn __blake2s_init(
    ctx: *mut blake2s_ctx,
    out_len: usize,
    key: *const u8,
    key_len: usize,
) {
    // SAFETY: By the contract, `key` is valid for reads of `key_len` bytes.
    let key = unsafe { bytes(key, key_len) };
    let mut state = Blake2s {
        core: Blake2sVarCore::new_with_params(&[], &[], key_len, out_len),
        buffer: Default::default(),
        out_len,
    };
    if !key.is_empty() {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let Blake2s { core, buffer, .. } = &mut state;
        buffer.digest_blocks(&block, |blocks| core.update_blocks(blocks));
    }
    // SAFETY: By the contract, `ctx` may be written; state() has checked its size and alignment.
    unsafe { blake2s_ctx::state(ctx).write(state) };
}

pub(crate) unsafe fn blake2s_update(ctx: *mut blake2s_ctx, input: *const u8, len: usize) {
    // SAFETY: By the contract, `ctx` has been initialised.
    let Blake2s { core, buffer, .. } = unsafe { &mut *blake2s_ctx::state(ctx) };
    // SAFETY: By the contract, `input` is valid for reads of `len` bytes.
    let input = unsafe { bytes(input, len) };
    buffer.digest_blocks(input, |blocks| core.update_blocks(blocks));
}

pub(crate) unsafe fn blake2s_final(ctx: *mut blake2s_ctx, out: *mut u8) {
    // SAFETY: By the contract, `ctx` has been initialised.
    let Blake2s {
        core,
        buffer,
        out_len,
    } = unsafe { &mut *blake2s_ctx::state(ctx) };
    let mut digest = Array::default();
    core.finalize_variable_core(buffer, &mut digest);
    // SAFETY: By the contract, `out` has room for the `out_len` bytes that init was told of.
    unsafe { out.copy_from_nonoverlapping(digest.as_ptr(), *out_len) };
    // SAFETY: The state is plain numbers, needs no drop, and is not used any more.
    unsafe { memzero_explicit(ctx.cast(), size_of::<blake2s_ctx>()) };
}

// ---- ChaCha20 and Poly1305 ---------------------------------------------------------------------

pub(crate) const chacha_constants_CHACHA_CONSTANT_EXPA: u32 = 0x6170_7865;
pub(crate) const chacha_constants_CHACHA_CONSTANT_ND_3: u32 = 0x3320_646e;
pub(crate) const chacha_constants_CHACHA_CONSTANT_2_BY: u32 = 0x7962_2d32;
pub(crate) const chacha_constants_CHACHA_CONSTANT_TE_K: u32 = 0x6b20_6574;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct chacha_state {
    pub(crate) x: [u32; 16],
}

pub(crate) unsafe fn chacha_crypt(
    state: *mut chacha_state,
    dst: *mut u8,
    src: *const u8,
    len: u32,
    rounds: i32,
) {
    // SAFETY: By the contract, `state` is valid, and no other reference to it exists.
    let x = unsafe { &mut (*state).x };
    assert_eq!(rounds, 20);
    let constants = [
        chacha_constants_CHACHA_CONSTANT_EXPA,
        chacha_constants_CHACHA_CONSTANT_ND_3,
        chacha_constants_CHACHA_CONSTANT_2_BY,
        chacha_constants_CHACHA_CONSTANT_TE_K,
    ];
    assert_eq!(x[..4], constants);
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    for (bytes, word) in key.chunks_mut(4).zip(&x[4..12]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    for (bytes, word) in nonce.chunks_mut(4).zip(&x[13..]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut cipher = ChaCha20::new(&key.into(), &nonce.into());
    cipher.seek(u64::from(x[12]) * 64);
    x[12] = x[12].wrapping_add(len.div_ceil(64));
    if len > 0 {
        // SAFETY: By the contract, both have `len` bytes, and are the same or do not overlap.
        let dst = unsafe {
            dst.copy_from(src, len as usize);
            from_raw_parts_mut(dst, len as usize)
        };
        cipher.apply_keystream(dst);
    }
}

struct Authenticator {
    key: [u8; 32],
    text: Vec<u8>,
}

pub(crate) struct poly1305_desc_ctx(*mut Authenticator);

pub(crate) unsafe fn poly1305_init(ctx: *mut poly1305_desc_ctx, key: *const u8) {
    let authenticator = Authenticator {
        // SAFETY: By the contract, `key` is valid for reads of 32 bytes.
        key: unsafe { *key.cast() },
        text: Vec::new(),
    };
    // SAFETY: By the contract, `ctx` may be written.
    unsafe { ctx.write(poly1305_desc_ctx(Box::into_raw(authenticator.into()))) };
}

pub(crate) unsafe fn poly1305_update(ctx: *mut poly1305_desc_ctx, text: *const u8, len: u32) {
    // SAFETY: By the contract, `ctx` has been initialised.
    let authenticator = unsafe { &mut *(*ctx).0 };
    // SAFETY: By the contract, `text` is valid for reads of `len` bytes.
    authenticator
        .text
        .extend_from_slice(unsafe { bytes(text, len as usize) });
}

pub(crate) unsafe fn poly1305_final(ctx: *mut poly1305_desc_ctx, tag: *mut u8) {
    // SAFETY: By the contract, `ctx` has been initialised, and is not used any more.
    let Authenticator { key, text } = *unsafe { Box::from_raw((*ctx).0) };
    let computed = Poly1305::new(&key.into()).compute_unpadded(&text);
    // SAFETY: By the contract, `tag` has room for 16 bytes.
    unsafe { tag.copy_from_nonoverlapping(computed.as_ptr(), 16) };
}

/// Encrypts or decrypts with additional data, and writes the result. Returns false, and writes
/// nothing, if the tag is wrong.
unsafe fn aead(
    dst: *mut u8,
    src: (*const u8, usize),
    ad: (*const u8, usize),
    crypt: impl FnOnce(Payload<'_, '_>) -> chacha20poly1305::aead::Result<Vec<u8>>,
) -> bool {
    // SAFETY: By the contract of the caller, `src` and `ad` are valid for reads of their lengths.
    let (msg, aad) = unsafe { (bytes(src.0, src.1), bytes(ad.0, ad.1)) };
    let Ok(out) = crypt(Payload { msg, aad }) else {
        return false;
    };
    // SAFETY: By the contract of the caller, `dst` has room for the result.
    unsafe { dst.copy_from(out.as_ptr(), out.len()) };
    true
}

/// A nonce of 64 bits as one of 96.
fn long(nonce: u64) -> [u8; 12] {
    let mut long = [0; 12];
    long[4..].copy_from_slice(&nonce.to_le_bytes());
    long
}

pub(crate) unsafe fn chacha20poly1305_encrypt(
    dst: *mut u8,
    src: *const u8,
    src_len: usize,
    ad: *const u8,
    ad_len: usize,
    nonce: u64,
    key: *const u8,
) {
    // SAFETY: By the contract, `key` is valid for reads of 32 bytes.
    let cipher = ChaCha20Poly1305::new(unsafe { &*key.cast() });
    let crypt = |text: Payload<'_, '_>| cipher.encrypt(&long(nonce).into(), text);
    // SAFETY: By the contract, `src` and `ad` are valid for reads of their lengths,
    // and `dst` has room for `src_len + 16` bytes.
    assert!(unsafe { aead(dst, (src, src_len), (ad, ad_len), crypt) });
}

pub(crate) unsafe fn chacha20poly1305_decrypt(
    dst: *mut u8,
    src: *const u8,
    src_len: usize,
    ad: *const u8,
    ad_len: usize,
    nonce: u64,
    key: *const u8,
) -> bool {
    // SAFETY: By the contract, `key` is valid for reads of 32 bytes.
    let cipher = ChaCha20Poly1305::new(unsafe { &*key.cast() });
    let crypt = |text: Payload<'_, '_>| cipher.decrypt(&long(nonce).into(), text);
    // SAFETY: By the contract, `src` and `ad` are valid for reads of their lengths,
    // and `dst` has room for `src_len - 16` bytes.
    unsafe { aead(dst, (src, src_len), (ad, ad_len), crypt) }
}

pub(crate) unsafe fn xchacha20poly1305_encrypt(
    dst: *mut u8,
    src: *const u8,
    src_len: usize,
    ad: *const u8,
    ad_len: usize,
    nonce: *const u8,
    key: *const u8,
) {
    // SAFETY: By the contract, `key` is valid for reads of 32 bytes.
    let cipher = XChaCha20Poly1305::new(unsafe { &*key.cast() });
    // SAFETY: By the contract, `nonce` is valid for reads of 24 bytes.
    let crypt = |text: Payload<'_, '_>| cipher.encrypt(unsafe { &*nonce.cast() }, text);
    // SAFETY: By the contract, `src` and `ad` are valid for reads of their lengths,
    // and `dst` has room for `src_len + 16` bytes.
    assert!(unsafe { aead(dst, (src, src_len), (ad, ad_len), crypt) });
}

pub(crate) unsafe fn xchacha20poly1305_decrypt(
    dst: *mut u8,
    src: *const u8,
    src_len: usize,
    ad: *const u8,
    ad_len: usize,
    nonce: *const u8,
    key: *const u8,
) -> bool {
    // SAFETY: By the contract, `key` is valid for reads of 32 bytes.
    let cipher = XChaCha20Poly1305::new(unsafe { &*key.cast() });
    // SAFETY: By the contract, `nonce` is valid for reads of 24 bytes.
    let crypt = |text: Payload<'_, '_>| cipher.decrypt(unsafe { &*nonce.cast() }, text);
    // SAFETY: By the contract, `src` and `ad` are valid for reads of their lengths,
    // and `dst` has room for `src_len - 16` bytes.
    unsafe { aead(dst, (src, src_len), (ad, ad_len), crypt) }
}

// ---- Curve25519 --------------------------------------------------------------------------------

pub(crate) unsafe fn curve25519(shared: *mut u8, secret: *const u8, point: *const u8) -> bool {
    // SAFETY: By the contract, all three have 32 bytes.
    let product = unsafe { x25519_dalek::x25519(*secret.cast(), *point.cast()) };
    // SAFETY: As above.
    unsafe { shared.cast::<[u8; 32]>().write(product) };
    product != [0; 32]
}

pub(crate) unsafe fn curve25519_generate_public(public: *mut u8, secret: *const u8) -> bool {
    // SAFETY: By the contract, `secret` is valid for reads of 32 bytes.
    if unsafe { *secret.cast::<[u8; 32]>() } == [0; 32] {
        return false;
    }
    // SAFETY: By the contract, `public` and `secret` have 32 bytes; the base point has 32, too.
    unsafe {
        curve25519(
            public,
            secret,
            x25519_dalek::X25519_BASEPOINT_BYTES.as_ptr(),
        )
    }
}

pub(crate) unsafe fn curve25519_clamp_secret(secret: *mut u8) {
    // SAFETY: By the contract, `secret` has 32 bytes, and no other reference to them exists.
    let [first, .., last] = unsafe { &mut *secret.cast::<[u8; 32]>() };
    *first &= 0xf8;
    *last = *last & 0x7f | 0x40;
}

// ---- RCU ---------------------------------------------------------------------------------------

/// The part of an object by which the kernel links RCU callbacks.
#[repr(C)]
pub(crate) struct callback_head {
    next: *mut callback_head,
    func: *mut c_void,
}

struct SendPtr(*mut callback_head);

// SAFETY: By the contract of `call_rcu()`, the callback may be called in any thread.
unsafe impl Send for SendPtr {}

pub(crate) unsafe fn call_rcu(
    head: *mut callback_head,
    func: Option<unsafe extern "C" fn(*mut callback_head)>,
) {
    let head = SendPtr(head);
    rcu::call(move || {
        let SendPtr(head) = { head };
        // SAFETY: By the contract, `func` may be called with `head` after a grace period, which has
        // passed.
        unsafe { func.unwrap()(head) };
    });
}

/// The cookie of a grace period. It is empty: polling always says that the period has not passed.
#[derive(Clone, Copy, Default)]
pub(crate) struct rcu_gp_seq;

pub(crate) unsafe fn get_state_synchronize_rcu_full(_seq: *mut rcu_gp_seq) {}

pub(crate) unsafe fn poll_state_synchronize_rcu_full(_seq: *mut rcu_gp_seq) -> bool {
    false
}

pub(crate) unsafe fn synchronize_net() {
    rcu::synchronize();
}
