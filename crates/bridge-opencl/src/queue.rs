//! Command queues, and the stream numbers that tensors carry for them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bridge_core::{Error, Result, Stream};
use opencl3::command_queue::{
    CL_QUEUE_CONTEXT, CL_QUEUE_DEVICE, CommandQueue, create_command_queue,
    enqueue_marker_with_wait_list, finish, flush, get_command_queue_data,
};
use opencl3::types::{cl_command_queue, cl_int};

use crate::device::ClDevice;
use crate::event::ClEvent;
use crate::handle::{self, Owned};
use crate::status::Doing;

/// A command queue of one device: commands run in the order they were enqueued in.
///
/// Clones are references to the same queue. It may be used from several threads at once.
#[derive(Clone)]
pub struct ClQueue(Arc<Inner>);

struct Inner {
    handle: Owned<handle::Queue>,
    device: &'static ClDevice,
    number: u64,
}

/// Every live queue by its stream number. A tensor carries the number, not the handle: whoever
/// makes up a number gets an error, not a dangling pointer.
static QUEUES: Mutex<BTreeMap<u64, Weak<Inner>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

impl ClQueue {
    /// A new queue of `device`, which runs its commands in order.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] or [`Error::Framework`], as the driver says.
    pub fn new(device: &'static ClDevice) -> Result<Self> {
        let context = device.raw_context()?;
        let doing = Doing::new("create a command queue", device.device(), 0);
        // SAFETY: the context and the device are live, and the device is the context's.
        let raw = doing.check(unsafe { create_command_queue(context, device.id(), 0) })?;
        // SAFETY: the queue was just created, and the reference is handed over.
        Ok(Self::from_handle(unsafe { Owned::take_over(raw) }, device))
    }

    /// Your own queue, which the device's context must have been used for. Another reference to
    /// it is kept.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where the queue belongs to another context or another device than
    /// `device`: memory of one context means nothing in another.
    pub fn of(device: &'static ClDevice, queue: &CommandQueue) -> Result<Self> {
        let doing = Doing::new("hold a command queue", device.device(), 0);
        let info = |what| -> Result<usize> {
            let bytes = doing.check(get_command_queue_data(queue.get(), what))?;
            Ok(bytes.try_into().map_or(0, usize::from_ne_bytes))
        };
        let ours = (device.raw_context()?.addr(), device.id().addr());
        if (info(CL_QUEUE_CONTEXT)?, info(CL_QUEUE_DEVICE)?) != ours {
            return Err(Error::InvalidArgument {
                what: "the command queue",
                found: "one of another context or device".to_owned(),
                expected: format!(
                    "create it in the context of {}, which ClDevice::context() gives",
                    device.device()
                ),
            });
        }
        // SAFETY: opencl3's queue is live while it is borrowed.
        let handle = doing.check(unsafe { Owned::retain(queue.get()) })?;
        Ok(Self::from_handle(handle, device))
    }

    fn from_handle(handle: Owned<handle::Queue>, device: &'static ClDevice) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::new(Inner { handle, device, number });
        queues().insert(number, Arc::downgrade(&inner));
        Self(inner)
    }

    /// The queue behind a stream number, where it is one of `device`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTensor`] where no live queue of the device has the number.
    pub(crate) fn of_stream(stream: Stream, device: &ClDevice) -> Result<Self> {
        let found = queues().get(&stream.0).and_then(Weak::upgrade);
        found.filter(|inner| std::ptr::eq(inner.device, device)).map(Self).ok_or_else(|| {
            Error::InvalidTensor {
                reason: format!(
                    "it is ready on {stream:?}, which is no live command queue of {}; wait for its \
                     data and say so with ready_on(None)",
                    device.device()
                ),
            }
        })
    }

    /// The number that tensors carry whose data is ready on this queue.
    pub(crate) fn stream(&self) -> Stream {
        Stream(self.0.number)
    }

    /// The device whose commands it runs.
    pub fn device(&self) -> &'static ClDevice {
        self.0.device
    }

    /// The handle, valid while this lives.
    pub fn raw(&self) -> cl_command_queue {
        self.0.handle.raw()
    }

    /// Whether both are the same queue.
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits until every command enqueued so far is done.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] or [`Error::Framework`], as the driver says.
    pub fn finish(&self) -> Result<()> {
        self.doing("finish a command queue").check(finish(self.raw()))
    }

    /// Waits until every command enqueued so far on any queue of `device` is done.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub(crate) fn finish_all_of(device: &ClDevice) -> Result<()> {
        let live: Vec<Self> = queues().values().filter_map(Weak::upgrade).map(Self).collect();
        live.iter().filter(|queue| std::ptr::eq(queue.device(), device)).try_for_each(Self::finish)
    }

    /// Hands all commands to the device: an event of a queue that was not flushed may never come.
    pub(crate) fn flush(&self) -> Result<(), cl_int> {
        flush(self.raw())
    }

    /// An event that comes when every command enqueued so far is done.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn marker(&self) -> Result<ClEvent> {
        let doing = self.doing("mark a place in a command queue");
        // SAFETY: the queue is live, and no events are waited for.
        let raw = unsafe { enqueue_marker_with_wait_list(self.raw(), 0, std::ptr::null()) };
        // SAFETY: the event was just made, and the reference is handed over.
        let event = unsafe { ClEvent::take_over(doing.check(raw)?) };
        doing.check(self.flush())?;
        Ok(event)
    }

    fn doing(&self, operation: &'static str) -> Doing {
        Doing::new(operation, self.0.device.device(), 0)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        queues().remove(&self.number);
    }
}

impl fmt::Debug for ClQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClQueue({} of {})", self.0.number, self.0.device.device())
    }
}

fn queues() -> std::sync::MutexGuard<'static, BTreeMap<u64, Weak<Inner>>> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}
