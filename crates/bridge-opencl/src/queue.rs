//! Command queues, and which of them live.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bridge_core::{Error, Result, TensorError};
use opencl3::command_queue::{
    CL_QUEUE_CONTEXT, CL_QUEUE_DEVICE, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CL_QUEUE_PROPERTIES,
    CommandQueue, create_command_queue, enqueue_marker_with_wait_list, finish, flush,
    get_command_queue_data,
};
use opencl3::types::{cl_command_queue, cl_command_queue_info, cl_int};

use crate::device::ClDevice;
use crate::event::ClEvent;
use crate::handle::{self, Owned};
use crate::info;
use crate::per_device::PerDevice;
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

/// Every live queue.
static QUEUES: Mutex<BTreeMap<u64, Weak<Inner>>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The queues of those who name none.
static DEFAULTS: PerDevice<ClQueue> = PerDevice::new();

impl ClDevice {
    /// The queue that is used where no other is named.
    ///
    /// # Errors
    ///
    /// What the driver said when the context or the queue was made.
    pub fn queue(&'static self) -> Result<ClQueue> {
        DEFAULTS.get(self, || ClQueue::new(self))
    }
}

impl ClQueue {
    /// A new queue of `device`, which runs its commands in order.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`] or [`Error::Framework`], as the driver says.
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
    /// [`TensorError::InvalidArgument`] where the queue belongs to another context or another device than
    /// `device`, as memory of one context means nothing in another, or where it runs its commands
    /// out of order.
    pub fn of(device: &'static ClDevice, queue: &CommandQueue) -> Result<Self> {
        let doing = Doing::new("hold a command queue", device.device(), 0);
        let info = |what: cl_command_queue_info| -> Result<u64> {
            Ok(info::number(&doing.check(get_command_queue_data(queue.get(), what))?))
        };
        let unfit = |found: &str, expected| {
            let (what, found) = ("the command queue", found.to_owned());
            Err(Error::Tensor(TensorError::InvalidArgument { what, found, expected }))
        };
        let ours = (device.raw_context()?.addr() as u64, device.id().addr() as u64);
        if (info(CL_QUEUE_CONTEXT)?, info(CL_QUEUE_DEVICE)?) != ours {
            return unfit(
                "one of another context or device",
                format!(
                    "create it in the context of {}, which ClDevice::context() gives",
                    device.device()
                ),
            );
        }
        if info(CL_QUEUE_PROPERTIES)? & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE != 0 {
            return unfit(
                "one that runs its commands out of order",
                "create it without CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE".to_owned(),
            );
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
    /// [`TensorError::OutOfMemory`] or [`Error::Framework`], as the driver says.
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
        let event = unsafe { ClEvent::take_over(doing.check(raw)?, &[]) };
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
