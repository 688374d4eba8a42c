//! The stream numbers of tensors whose data is not ready yet. A tensor carries a number, not a handle:
//! whoever makes up a number gets an error, not a dangling pointer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::{Error, Result, Stream, TensorError};

use crate::device::ClDevice;
use crate::event::ClEvent;
use crate::queue::ClQueue;

/// What a tensor is worked on, and when its data is ready: `None` where it already is.
pub(crate) type Ready = (ClQueue, Option<ClEvent>);

static ANNOUNCED: Mutex<BTreeMap<u64, Ready>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A stream number, which means something as long as this lives.
#[derive(Debug)]
pub(crate) struct Announced(u64);

impl Announced {
    pub(crate) fn new(queue: ClQueue, last: Option<ClEvent>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        announced().insert(number, (queue, last));
        Self(number)
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream(self.0)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // What was announced is dropped when the lock is free again.
        let _announced = announced().remove(&self.0);
    }
}

/// When a tensor of `device` with this stream is ready.
///
/// # Errors
///
/// [`TensorError::InvalidTensor`] where nobody has announced the number for the device.
pub(crate) fn ready(stream: Option<Stream>, device: &'static ClDevice) -> Result<Ready> {
    let Some(stream) = stream else {
        return Ok((device.queue()?, None));
    };
    let found = announced().get(&stream.0).cloned();
    found.filter(|(queue, _)| std::ptr::eq(queue.device(), device)).ok_or_else(|| {
        Error::Tensor(TensorError::InvalidTensor {
            reason: format!(
                "it is ready on {stream:?}, which stands for no live command queue of {}; wait for \
                 its data and say so with ready_on(None)",
                device.device()
            ),
        })
    })
}

fn announced() -> MutexGuard<'static, BTreeMap<u64, Ready>> {
    ANNOUNCED.lock().unwrap_or_else(PoisonError::into_inner)
}
