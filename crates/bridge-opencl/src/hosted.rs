//! Buffers over memory that the host keeps: it stays until the driver has destroyed the buffer.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::{Refused, Result};
use opencl3::memory::set_mem_object_destructor_callback;
use opencl3::types::cl_mem;

use crate::buffer::{Buffer, reference_count};
use crate::device::ClDevice;
use crate::status::Doing;

/// How long a driver may take to destroy a buffer that nobody refers to and no command uses.
const PATIENCE: Duration = Duration::from_secs(5);

/// A buffer over memory that `T` keeps.
#[derive(Debug)]
pub(crate) struct Hosted<T: Send + 'static> {
    /// Before the slot: what is dropped last is what keeps the memory.
    buffer: Buffer,
    slot: Arc<Slot<T>>,
}

/// Where the keeper waits for the buffer's end. The driver's callback holds one reference, so that
/// the memory outlives every reference to the buffer, those of others too.
#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    keeper: Option<T>,
    destroyed: bool,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called by the driver when the buffer is gone.
extern "C" fn destroyed<T: Send + 'static>(_: cl_mem, slot: *mut c_void) {
    // SAFETY: the pointer is the reference that was handed to this very registration, and the driver
    // calls back once.
    let slot = unsafe { Arc::from_raw(slot.cast_const().cast::<Slot<T>>()) };
    slot.state().destroyed = true;
    slot.changed.notify_all();
    // The keeper is dropped here where nobody waits for it; a panic must not cross into C.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(slot)));
}

impl<T: Send + 'static> Hosted<T> {
    /// Makes a buffer over `bytes` bytes at `first`.
    ///
    /// # Errors
    ///
    /// As the driver says; the keeper comes back.
    ///
    /// # Safety
    ///
    /// The memory can be read, and written unless `read_only`, until `keeper` is dropped, and nobody
    /// else writes it while the buffer lives and is not mapped.
    pub(crate) unsafe fn new(
        device: &'static ClDevice,
        first: *mut c_void,
        bytes: usize,
        read_only: bool,
        keeper: T,
    ) -> Result<Self, Refused<T>> {
        // SAFETY: the caller promises the memory until the keeper is dropped, which the slot does
        // when the driver has destroyed the buffer.
        let buffer = match unsafe { Buffer::over_host(device, first, bytes, read_only) } {
            Ok(buffer) => buffer,
            Err(error) => return Err(Refused::new(keeper, error)),
        };
        let state = Mutex::new(State { keeper: Some(keeper), destroyed: false });
        let slot = Arc::new(Slot { state, changed: Condvar::new() });
        let held = Arc::into_raw(Arc::clone(&slot));
        // SAFETY: the buffer is live; the callback gets a reference of its own.
        let told = unsafe {
            let user_data = held.cast_mut().cast();
            set_mem_object_destructor_callback(buffer.raw(), destroyed::<T>, user_data)
        };
        if let Err(status) = told {
            // SAFETY: the callback was not registered, so its reference is still ours.
            drop(unsafe { Arc::from_raw(held) });
            drop(buffer);
            let error = Doing::new("watch a buffer", device.device(), bytes).failed(status);
            let Some(keeper) = slot.state().keeper.take() else {
                unreachable!("nobody has taken it")
            };
            return Err(Refused::new(keeper, error));
        }
        Ok(Self { buffer, slot })
    }

    pub(crate) fn raw(&self) -> cl_mem {
        self.buffer.raw()
    }

    /// As [`Buffer::count`].
    pub(crate) fn count(&mut self, bytes: usize) {
        self.buffer.count(bytes);
    }

    /// Gives the buffer up and waits until the driver has destroyed it.
    ///
    /// # Errors
    ///
    /// The time limit has passed, and the driver holds on to the memory: it stays.
    pub(crate) fn into_keeper(self) -> Result<T, Lingering<T>> {
        let Self { buffer, slot } = self;
        drop(buffer);
        let state = slot.state();
        let waited = slot.changed.wait_timeout_while(state, PATIENCE, |state| !state.destroyed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let keeper = if state.destroyed { state.keeper.take() } else { None };
        drop(state);
        keeper.ok_or(Lingering(slot))
    }
}

/// Memory that a driver did not let go of in time; this keeps the keeper too.
#[derive(Debug)]
pub(crate) struct Lingering<T>(Arc<Slot<T>>);

impl<T> Lingering<T> {
    /// Looks at the keeper.
    pub(crate) fn read<U>(&self, look: impl FnOnce(&T) -> U) -> U {
        match &self.0.state().keeper {
            Some(keeper) => look(keeper),
            None => unreachable!("it is taken where the buffer is gone, and then this is not made"),
        }
    }
}

/// Whether a buffer has one reference only. A driver's thread may hold one for a moment after the
/// last command is done, so this waits a little.
///
/// # Safety
///
/// `raw` is a live buffer.
pub(crate) unsafe fn has_one_reference(raw: cl_mem) -> bool {
    (0..200).any(|round| {
        if round > 100 {
            std::thread::sleep(Duration::from_micros(50));
        } else if round > 0 {
            std::thread::yield_now();
        }
        // SAFETY: the caller promises a live buffer.
        unsafe { reference_count(raw) == 1 }
    })
}
