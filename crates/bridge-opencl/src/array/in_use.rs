//! The memory of an array while commands may use it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::ManagedTensor;

use crate::buffer::Buffer;
use crate::event::ClEvent;
use crate::hosted::Hosted;

/// Memory, and the last command on it. Dropped before that is done, memory of a pool, or of whoever else
/// uses it again, goes back when it is: on a thread of the driver.
pub(crate) struct InUse {
    /// There until it is taken or dropped. It has no stream: what it waits for is the command.
    tensor: Option<ManagedTensor>,
    /// Until it is done.
    last: Mutex<Option<ClEvent>>,
}

impl InUse {
    pub(crate) fn new(tensor: ManagedTensor, last: Option<ClEvent>) -> Self {
        Self { tensor: Some(tensor), last: Mutex::new(last) }
    }

    pub(crate) fn tensor(&self) -> &ManagedTensor {
        match &self.tensor {
            Some(tensor) => tensor,
            None => unreachable!("it is taken with `self`"),
        }
    }

    pub(crate) fn last(&self) -> MutexGuard<'_, Option<ClEvent>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_mut(&mut self) -> &mut Option<ClEvent> {
        self.last.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_parts(mut self) -> (ManagedTensor, Option<ClEvent>) {
        let last = self.last_mut().take();
        match self.tensor.take() {
            Some(tensor) => (tensor, last),
            None => unreachable!("it is taken with `self`"),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let last = self.last_mut().take();
        if let (Some(tensor), Some(event)) = (self.tensor.take(), last)
            && !is_the_drivers(&tensor)
            && !event.is_done()
        {
            event.keep_until_done(tensor);
        }
    }
}

/// Whether the driver itself keeps the memory until its commands are done.
fn is_the_drivers(tensor: &ManagedTensor) -> bool {
    tensor.is_kept_by::<Buffer>() || tensor.is_kept_by::<Hosted<ManagedTensor>>()
}
