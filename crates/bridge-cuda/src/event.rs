//! Events: points in the work of a stream. They are kept for reuse.

use std::sync::{Mutex, PoisonError};

use bridge_core::Result;
use cudarc::driver::DriverError;
use cudarc::driver::result::{event, stream};
use cudarc::driver::sys::{CUevent, CUevent_flags, CUevent_wait_flags, CUresult, CUstream};

use crate::failure::failed;
use crate::gpu::Opened;

/// The events of a GPU that nobody uses.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Idle>>);

struct Idle(CUevent);

// SAFETY: an event may be used from any thread, as the driver's documentation says.
unsafe impl Send for Idle {}

/// A point in the work of a stream of one GPU.
pub(crate) struct Event {
    raw: CUevent,
    gpu: &'static Opened,
}

// SAFETY: an event may be used from any thread, as the driver's documentation says.
unsafe impl Send for Event {}
// SAFETY: recording takes `&mut self`; waiting and asking may happen on several threads at once.
unsafe impl Sync for Event {}

impl Event {
    /// The work that `stream` has been given so far.
    ///
    /// # Safety
    ///
    /// `stream` is a stream of the GPU's primary context.
    pub(crate) unsafe fn record(gpu: &'static Opened, stream: CUstream) -> Result<Self> {
        let _current = gpu.enter()?;
        let idle = gpu.events.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let raw = match idle {
            Some(Idle(raw)) => raw,
            None => event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)
                .map_err(failed("make an event"))?,
        };
        let this = Self { raw, gpu };
        // SAFETY: event and stream are alive and of the same context, which the caller promises.
        unsafe { event::record(raw, stream) }.map_err(failed("record an event"))?;
        Ok(this)
    }

    /// Makes later work of `stream`, which may be of another GPU, wait for this point.
    ///
    /// # Safety
    ///
    /// `stream` is a stream of the primary context of `gpu`.
    pub(crate) unsafe fn hold_back(&self, gpu: &Opened, stream: CUstream) -> Result<()> {
        let _current = gpu.enter()?;
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event is alive, and so is the stream, which the caller promises.
        unsafe { stream::wait_event(stream, self.raw, flags) }.map_err(failed("make a stream wait"))
    }

    /// Waits on the calling thread.
    pub(crate) fn synchronize(&self) -> Result<()> {
        let _current = self.gpu.enter()?;
        // SAFETY: the event is alive.
        unsafe { event::synchronize(self.raw) }.map_err(failed("wait for the device"))
    }

    /// Whether the point has been reached.
    pub(crate) fn is_reached(&self) -> Result<bool> {
        let _current = self.gpu.enter()?;
        // SAFETY: the event is alive.
        match unsafe { event::query(self.raw) } {
            Ok(()) => Ok(true),
            Err(DriverError(CUresult::CUDA_ERROR_NOT_READY)) => Ok(false),
            Err(error) => Err(failed("ask for an event")(error)),
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // A stream that waits for the event goes on waiting for the point that was recorded, also
        // when the event is recorded anew.
        let mut idle = self.gpu.events.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle(self.raw));
    }
}
