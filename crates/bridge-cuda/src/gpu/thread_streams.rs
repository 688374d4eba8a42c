//! The streams that threads work in: each thread has one of its own for each device, unless it is
//! told to use another.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use bridge_core::{Device, Result};
use cudarc::driver::CudaStream;

use crate::context::errors::failed;
use crate::context::{Context, Current};

/// The driver's handle of the legacy default stream, and its DLPack number.
pub(crate) const LEGACY: u64 = 1;
/// The driver's handle of the calling thread's default stream, and its DLPack number.
pub(crate) const PER_THREAD: u64 = 2;

/// The streams of a GPU: unused ones are kept for reuse.
pub(crate) struct Streams {
    context: Context,
    idle: Mutex<Vec<Arc<CudaStream>>>,
}

/// A stream that a thread works in; it is put back when the thread ends.
struct Lease {
    streams: &'static Streams,
    stream: Arc<CudaStream>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.streams.put_back(Arc::clone(&self.stream));
    }
}

thread_local! {
    static LEASES: RefCell<Vec<Lease>> = const { RefCell::new(Vec::new()) };
    static CHOSEN: RefCell<Vec<(Device, Arc<CudaStream>)>> = const { RefCell::new(Vec::new()) };
}

impl Streams {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, idle: Mutex::new(Vec::new()) }
    }

    /// A new stream.
    pub(crate) fn make(&self) -> Result<Arc<CudaStream>> {
        let _current = Current::restored_after()?;
        self.context.cudarc().new_stream().map_err(failed("make a stream"))
    }

    /// The stream that this thread works in.
    pub(crate) fn of_this_thread(&'static self) -> Result<Arc<CudaStream>> {
        let chosen = CHOSEN.try_with(|chosen| {
            let chosen = chosen.borrow();
            let latest = chosen.iter().rev().find(|(device, _)| *device == self.context.device());
            latest.map(|(_, stream)| Arc::clone(stream))
        });
        if let Ok(Some(stream)) = chosen {
            return Ok(stream);
        }
        let leased = LEASES.try_with(|leases| {
            let mut leases = leases.borrow_mut();
            if let Some(lease) = leases.iter().find(|lease| std::ptr::eq(lease.streams, self)) {
                return Ok(Arc::clone(&lease.stream));
            }
            let stream = self.take()?;
            leases.push(Lease { streams: self, stream: Arc::clone(&stream) });
            Ok(stream)
        });
        // A thread that is ending has no leases any more: it borrows any stream.
        leased.unwrap_or_else(|_| {
            let stream = self.take()?;
            self.put_back(Arc::clone(&stream));
            Ok(stream)
        })
    }

    fn take(&self) -> Result<Arc<CudaStream>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.make(), Ok)
    }

    fn put_back(&self, stream: Arc<CudaStream>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    }
}

/// Runs `work` with this thread's work on `device` going to `stream`, which is one of its primary
/// context.
pub(crate) fn with_stream<R>(
    device: Device,
    stream: &Arc<CudaStream>,
    work: impl FnOnce() -> R,
) -> R {
    CHOSEN.with(|chosen| chosen.borrow_mut().push((device, Arc::clone(stream))));
    let _until_then = Chosen;
    work()
}

/// Ends a choice, also when the work panics.
struct Chosen;

impl Drop for Chosen {
    fn drop(&mut self) {
        CHOSEN.with(|chosen| drop(chosen.borrow_mut().pop()));
    }
}
