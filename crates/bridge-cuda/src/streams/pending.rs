//! Copies in progress.

use bridge_core::Result;

use crate::gpu::event::Event;

/// A copy in progress: it keeps source and target until the copy is done.
///
/// [`wait`](Self::wait) returns them. Dropping it waits too, so that no memory is freed while the device
/// uses it; leaking it leaks the memory.
#[must_use = "dropping it waits for the copy and drops the result"]
pub struct Pending<T> {
    /// `None` once it was returned.
    value: Option<T>,
    done: Event,
}

impl<T> Pending<T> {
    pub(crate) fn new(value: T, done: Event) -> Self {
        Self { value: Some(value), done }
    }

    /// Whether the copy is done.
    ///
    /// # Errors
    ///
    /// Those that the device reports.
    pub fn is_done(&self) -> Result<bool> {
        self.done.is_reached()
    }

    /// Waits for the copy and returns its source and target.
    ///
    /// # Errors
    ///
    /// Those that the device reports: the copy is not complete, and the device's context is lost.
    pub fn wait(mut self) -> Result<T> {
        self.done.synchronize()?;
        match self.value.take() {
            Some(value) => Ok(value),
            None => unreachable!("only this method returns the value, once"),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if self.value.is_some() {
            // An error means that the context is lost; nothing is copied any more.
            let _ = self.done.synchronize();
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("done", &self.is_done()).finish_non_exhaustive()
    }
}
