//! Copies that go on after the call.

use bridge_core::Result;

use crate::gpu::event::Event;

/// What a copy that still goes on will give: it keeps both sides of the copy until it is done.
///
/// [`wait`](Self::wait) gives the value. Dropping it waits too, so that no memory goes away under
/// the device; leaking it leaks the memory.
#[must_use = "a copy that nobody waits for is waited for where it is dropped"]
pub struct Pending<T> {
    /// `None` once it was given out.
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
    /// Where the device reports one.
    pub fn is_done(&self) -> Result<bool> {
        self.done.is_reached()
    }

    /// Waits for the copy.
    ///
    /// # Errors
    ///
    /// Where the device reports one: the copy is not complete, and the device's context is lost.
    pub fn wait(mut self) -> Result<T> {
        self.done.synchronize()?;
        match self.value.take() {
            Some(value) => Ok(value),
            None => unreachable!("the value is given out by this method alone, once"),
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
