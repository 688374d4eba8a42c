//! Events: points in the work of a stream. They are kept for reuse.

use std::sync::{Mutex, PoisonError};

use bridge_core::Result;
use cudarc::driver::DriverError;
use cudarc::driver::result::{event, stream};
use cudarc::driver::sys::{CUevent, CUevent_flags, CUevent_wait_flags, CUresult, CUstream};

use crate::context::Context;
use crate::context::errors::failed;

/// The events of a GPU: unused ones are kept for reuse.
pub(crate) struct Events {
    context: Context,
    idle: Mutex<Vec<Idle>>,
}

struct Idle(CUevent);

// SAFETY: an event may be used from any thread, as the driver's documentation says.
unsafe impl Send for Idle {}

/// A point in the work of a stream of one GPU.
pub(crate) struct Event {
    raw: CUevent,
    events: &'static Events,
}

// SAFETY: an event may be used from any thread, as the driver's documentation says.
unsafe impl Send for Event {}
// SAFETY: recording takes `&mut self`; waiting and asking may happen on several threads at once.
unsafe impl Sync for Event {}

impl Events {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, idle: Mutex::new(Vec::new()) }
    }

    /// The end of the work that `stream` has been given so far.
    ///
    /// # Safety
    ///
    /// `stream` is a stream of the GPU's primary context.
    pub(crate) unsafe fn record(&'static self, stream: CUstream) -> Result<Event> {
        let _current = self.context.enter()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let raw = match idle {
            Some(Idle(raw)) => raw,
            None => event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)
                .map_err(failed("make an event"))?,
        };
        let event = Event { raw, events: self };
        // SAFETY: event and stream are alive and of the same context, which the caller promises.
        unsafe { event::record(raw, stream) }.map_err(failed("record an event"))?;
        Ok(event)
    }
}

impl Event {
    /// Makes later work of `stream`, which may be of another GPU, wait for this point.
    ///
    /// # Safety
    ///
    /// `stream` is a stream of `context`.
    pub(crate) unsafe fn hold_back(&self, context: &Context, stream: CUstream) -> Result<()> {
        let _current = context.enter()?;
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event is alive, and so is the stream, which the caller promises.
        unsafe { stream::wait_event(stream, self.raw, flags) }.map_err(failed("make a stream wait"))
    }

    /// Waits on the calling thread.
    pub(crate) fn synchronize(&self) -> Result<()> {
        let _current = self.events.context.enter()?;
        // SAFETY: the event is alive.
        unsafe { event::synchronize(self.raw) }.map_err(failed("wait for the device"))
    }

    /// Whether the point has been reached.
    pub(crate) fn is_reached(&self) -> Result<bool> {
        let _current = self.events.context.enter()?;
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
        // A stream that waits for the event keeps waiting for the point that was recorded, even when
        // the event is recorded again.
        let mut idle = self.events.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle(self.raw));
    }
}
