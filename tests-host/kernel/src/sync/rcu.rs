// SPDX-License-Identifier: GPL-2.0

//! RCU by a reader-writer lock: a reader holds it shared, and a grace period has passed when it has
//! been held exclusively.
//!
//! Callbacks of [`call`] really run, and free their objects, so AddressSanitizer finds a reader
//! that uses one later.

use core::{
    cell::{
        Cell,
        RefCell, //
    },
    marker::PhantomData, //
};
use std::sync::{
    Mutex,
    RwLock,
    RwLockReadGuard,
    TryLockError, //
};

static READERS: RwLock<()> = RwLock::new(());

type Callback = Box<dyn FnOnce() + Send>;

/// The callbacks that wait for a grace period.
static WAITING: Mutex<Vec<Callback>> = Mutex::new(Vec::new());

/// Held while callbacks are run: [`rcu_barrier`] waits for those of another thread by it.
static CALLING: Mutex<()> = Mutex::new(());

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static HELD: RefCell<Option<RwLockReadGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// A critical section of a reader. Such sections nest.
pub struct Guard(PhantomData<*mut ()>);

impl Guard {
    /// Begins a critical section.
    pub fn new() -> Self {
        if DEPTH.get() == 0 {
            let held = READERS
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            HELD.set(Some(held));
        }
        DEPTH.set(DEPTH.get() + 1);
        Self(PhantomData)
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            HELD.set(None);
            call_some();
        }
    }
}

fn waiting() -> std::sync::MutexGuard<'static, Vec<Callback>> {
    WAITING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs the waiting callbacks, without blocking, if there are 64 or more and no thread reads.
fn call_some() {
    const ENOUGH: usize = 64;

    let Ok(_calling) = CALLING.try_lock() else {
        return;
    };
    let mut callbacks = waiting();
    if callbacks.len() < ENOUGH || matches!(READERS.try_write(), Err(TryLockError::WouldBlock)) {
        return;
    }
    let ready = core::mem::take(&mut *callbacks);
    drop(callbacks);
    ready.into_iter().for_each(|callback| callback());
}

/// Calls `callback` after all present readers have ended.
pub fn call(callback: impl FnOnce() + Send + 'static) {
    waiting().push(Box::new(callback));
}

/// Waits until all present readers have ended.
pub fn synchronize() {
    assert_eq!(DEPTH.get(), 0, "a reader waits for itself");
    drop(
        READERS
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    );
}

/// Waits until all callbacks that were given to [`call`] have run.
pub fn rcu_barrier() {
    let _calling = CALLING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    loop {
        let callbacks = core::mem::take(&mut *waiting());
        synchronize();
        if callbacks.is_empty() {
            break;
        }
        callbacks.into_iter().for_each(|callback| callback());
    }
}
