//! Events: what a command signals when it is done.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bridge_core::{Device, Error, Result};
use opencl3::event::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, get_event_data, set_event_callback,
    wait_for_events,
};
use opencl3::types::{cl_event, cl_int};

use crate::handle::{self, Owned};
use crate::status::{Doing, framework, message};

/// An OpenCL event: done when the command is, and all those it waited for.
///
/// Clones are references to the same event.
#[derive(Debug, Clone)]
pub struct ClEvent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Owned<handle::Event>,
    /// What the command waits for: drivers tell of one that never ran only that something before it
    /// had failed, not what.
    behind: Vec<ClEvent>,
}

impl ClEvent {
    /// Takes over the reference that a command gave out which waits for `events`.
    ///
    /// # Safety
    ///
    /// `raw` is a live event, of which the caller hands one reference over.
    pub(crate) unsafe fn take_over(raw: cl_event, events: &[Self]) -> Self {
        // SAFETY: the caller promises the same.
        let handle = unsafe { Owned::take_over(raw) };
        let behind = events.iter().filter(|event| !event.is_done_well()).cloned().collect();
        Self(Arc::new(Inner { handle, behind }))
    }

    /// Another reference to an event of a command that you enqueued.
    ///
    /// # Errors
    ///
    /// [`Error::Framework`](bridge_core::Error::Framework) where the driver does not know the event.
    ///
    /// # Safety
    ///
    /// `raw` is a live event.
    pub unsafe fn retain(raw: cl_event) -> Result<Self> {
        // SAFETY: the caller promises the same.
        match unsafe { Owned::retain(raw) } {
            Ok(handle) => Ok(Self(Arc::new(Inner { handle, behind: Vec::new() }))),
            Err(status) => Err(framework("hold an event", message(status))),
        }
    }

    /// The handle, valid while this lives.
    pub fn raw(&self) -> cl_event {
        self.0.handle.raw()
    }

    /// Whether the command has run to its end, well or not.
    pub fn is_done(&self) -> bool {
        self.status().is_none_or(|status| status <= CL_COMPLETE)
    }

    pub(crate) fn is_done_well(&self) -> bool {
        self.status() == Some(CL_COMPLETE)
    }

    /// Waits until the command is done.
    ///
    /// # Errors
    ///
    /// What the command failed with, or the one before it that kept it from running:
    /// [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory), also where the driver allocated only when the memory was first used,
    /// else [`Error::Framework`].
    pub fn wait(&self, device: Device) -> Result<()> {
        self.wait_for(Doing::new("run a command", device, 0))
    }

    pub(crate) fn wait_for(&self, doing: Doing) -> Result<()> {
        match wait_for_events(&[self.raw()]) {
            Ok(()) => Ok(()),
            // The event itself knows what went wrong.
            Err(status) => Err(doing.failed(self.failure().unwrap_or(status))),
        }
    }

    /// The status of the command, if it failed. One behind a command that failed never ran, whatever
    /// its own status (PoCL's is -1): then that of the first that did.
    pub(crate) fn failure(&self) -> Option<cl_int> {
        let own = |event: &Self| event.status().filter(|&status| status < 0);
        let mut failure = own(self)?;
        let mut behind = &self.0.behind;
        while let Some((event, status)) = behind.iter().find_map(|one| Some((one, own(one)?))) {
            (failure, behind) = (status, &event.0.behind);
        }
        Some(failure)
    }

    fn status(&self) -> Option<cl_int> {
        let bytes = get_event_data(self.raw(), CL_EVENT_COMMAND_EXECUTION_STATUS).ok()?;
        bytes.try_into().ok().map(cl_int::from_ne_bytes)
    }

    /// Keeps `value` until the command is done, then drops it on whichever thread tells.
    pub(crate) fn keep_until_done<T: Send + 'static>(&self, value: T) {
        extern "C" fn done<T>(_: cl_event, _: cl_int, value: *mut c_void) {
            // SAFETY: the pointer is the box's that was handed to this very registration, and the
            // driver calls back once.
            let value = unsafe { Box::from_raw(value.cast::<T>()) };
            // A panic must not cross into C.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
        let value = Box::into_raw(Box::new(value));
        if set_event_callback(self.raw(), CL_COMPLETE, done::<T>, value.cast()).is_err() {
            let _ = wait_for_events(&[self.raw()]);
            // SAFETY: the registration failed, so the callback never runs and the box is ours.
            drop(unsafe { Box::from_raw(value) });
        }
    }
}

impl Drop for Inner {
    /// One after the other: a chain of waiting commands may be longer than the stack.
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.behind);
        while let Some(ClEvent(event)) = rest.pop() {
            if let Some(mut event) = Arc::into_inner(event) {
                rest.append(&mut event.behind);
            }
        }
    }
}

/// The error behind a status of a command that waited for `events`: theirs, where one of them
/// failed.
pub(crate) fn failed_after(doing: Doing, status: cl_int, events: &[ClEvent]) -> Error {
    doing.failed(events.iter().find_map(ClEvent::failure).unwrap_or(status))
}
