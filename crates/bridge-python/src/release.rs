//! References to Python's objects that are let go of on any thread, whoever holds the interpreter.
//!
//! PyO3 counts by itself whether a thread is attached, and cannot know that a library has detached it in between:
//! JAX does while it frees memory, and then runs the deleters of others. So the interpreter is asked.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::ffi;
use pyo3::prelude::*;

/// A value whose `drop` needs the interpreter: it runs at once where this thread holds it, and else when
/// another does next.
pub(crate) struct Released<T: Send + 'static>(ManuallyDrop<T>);

impl<T: Send> Released<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the value is taken once, as `drop` does not run.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T: Send> Deref for Released<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send> Drop for Released<T> {
    fn drop(&mut self) {
        // SAFETY: the value is dropped once, here.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        if is_held() {
            Python::attach(|_| drop(value));
        } else {
            defer(Box::new(value));
        }
    }
}

/// Whether this thread holds the interpreter now.
fn is_held() -> bool {
    // SAFETY: both functions may be called at any time, on any thread.
    unsafe { ffi::Py_IsInitialized() != 0 && ffi::PyGILState_Check() == 1 }
}

/// What is still to be dropped.
static DEFERRED: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());
/// Whether there is any.
static WAITS: AtomicBool = AtomicBool::new(false);

#[cold]
fn defer(value: Box<dyn Any + Send>) {
    // SAFETY: the function may be called at any time.
    if unsafe { ffi::Py_IsInitialized() } == 0 {
        std::mem::forget(value); // the interpreter and all its objects are gone
        return;
    }
    DEFERRED.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    WAITS.store(true, Ordering::Release);
    // SAFETY: the function may be called without the interpreter; where its queue is full, the next conversion drops
    // what waits.
    unsafe { ffi::Py_AddPendingCall(Some(drop_pending), std::ptr::null_mut()) };
}

/// Called by the interpreter, which its thread holds then.
extern "C" fn drop_pending(_: *mut std::ffi::c_void) -> std::ffi::c_int {
    Python::attach(drop_deferred);
    0
}

/// Drops what other threads could not.
#[inline]
pub(crate) fn drop_deferred(_: Python<'_>) {
    if WAITS.load(Ordering::Acquire) {
        drop_all();
    }
}

#[cold]
fn drop_all() {
    WAITS.store(false, Ordering::Release);
    let waiting = std::mem::take(&mut *DEFERRED.lock().unwrap_or_else(PoisonError::into_inner));
    drop(waiting);
}
