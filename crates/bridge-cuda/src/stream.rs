//! Streams: each thread has one of its own for each device, unless it is told to use another.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use bridge_core::{Device, Error, Result, TensorError};
use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUstream;

use crate::current::Current;
use crate::driver;
use crate::failure::failed;
use crate::gpu::Opened;

/// The driver's handle of the legacy default stream, and its DLPack number.
pub(crate) const LEGACY: u64 = 1;
/// The driver's handle of the calling thread's default stream, and its DLPack number.
pub(crate) const PER_THREAD: u64 = 2;

/// The streams of a GPU that no thread uses.
#[derive(Default)]
pub(crate) struct Streams(Mutex<Vec<Arc<CudaStream>>>);

impl Streams {
    fn take(&self, gpu: &Opened) -> Result<Arc<CudaStream>> {
        if let Some(idle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let _current = Current::restored_after()?;
        gpu.context().new_stream().map_err(failed("make a stream"))
    }

    fn give_back(&self, stream: Arc<CudaStream>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    }
}

/// A stream that a thread works in; it goes back when the thread ends.
struct Lease {
    gpu: &'static Opened,
    stream: Arc<CudaStream>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.gpu.streams.give_back(Arc::clone(&self.stream));
    }
}

thread_local! {
    static LEASES: RefCell<Vec<Lease>> = const { RefCell::new(Vec::new()) };
    static CHOSEN: RefCell<Vec<(Device, Arc<CudaStream>)>> = const { RefCell::new(Vec::new()) };
}

/// The stream that this thread works in on `gpu`.
pub(crate) fn of_this_thread(gpu: &'static Opened) -> Result<Arc<CudaStream>> {
    let chosen = CHOSEN.try_with(|chosen| {
        let chosen = chosen.borrow();
        let latest = chosen.iter().rev().find(|(device, _)| *device == gpu.device());
        latest.map(|(_, stream)| Arc::clone(stream))
    });
    if let Ok(Some(stream)) = chosen {
        return Ok(stream);
    }
    let leased = LEASES.try_with(|leases| {
        let mut leases = leases.borrow_mut();
        if let Some(lease) = leases.iter().find(|lease| std::ptr::eq(lease.gpu, gpu)) {
            return Ok(Arc::clone(&lease.stream));
        }
        let stream = gpu.streams.take(gpu)?;
        leases.push(Lease { gpu, stream: Arc::clone(&stream) });
        Ok(stream)
    });
    // A thread that is ending has no leases any more: it borrows any stream.
    leased.unwrap_or_else(|_| {
        let stream = gpu.streams.take(gpu)?;
        gpu.streams.give_back(Arc::clone(&stream));
        Ok(stream)
    })
}

/// The stream that this thread works in on a device: its own, or that of [`on_stream`].
///
/// # Errors
///
/// [`Error::Unavailable`] without a driver, [`Error::DeviceUnavailable`] where there is no such
/// device, and where the driver fails to make a stream.
pub fn thread_stream(device: Device) -> Result<Arc<CudaStream>> {
    of_this_thread(driver::gpu(device)?.open()?)
}

/// Makes a stream of a device, for [`on_stream`].
///
/// # Errors
///
/// As [`thread_stream`].
pub fn new_stream(device: Device) -> Result<Arc<CudaStream>> {
    let gpu = driver::gpu(device)?.open()?;
    let _current = Current::restored_after()?;
    gpu.context().new_stream().map_err(failed("make a stream"))
}

/// A stream of another library, for [`on_stream`]. It is not destroyed when the result is dropped.
///
/// # Errors
///
/// As [`thread_stream`].
///
/// # Safety
///
/// `stream` is a stream of the device's primary context, and stays one while the result, or an
/// array made in it, lives.
pub unsafe fn wrap_stream(device: Device, stream: *mut c_void) -> Result<Arc<CudaStream>> {
    let gpu = driver::gpu(device)?.open()?;
    // SAFETY: the caller promises a stream of this context that stays.
    Ok(unsafe { gpu.context().wrap_borrowed_stream(stream as CUstream) })
}

/// Runs `work` with this thread's work on the stream's device going to `stream`.
///
/// ```no_run
/// use bridge_core::{DataType, Device};
/// use bridge_cuda::{CudaArray, new_stream, on_stream};
///
/// let stream = new_stream(Device::cuda(0))?;
/// let zeros = on_stream(&stream, || CudaArray::zeros(DataType::F32, &[1 << 20], Device::cuda(0)))??;
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// [`TensorError::InvalidArgument`] where the stream is not of the device's primary context, or is the
/// per-thread default stream, whose handle means another stream on every thread.
pub fn on_stream<R>(stream: &Arc<CudaStream>, work: impl FnOnce() -> R) -> Result<R> {
    let ordinal = u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX);
    let device = Device::cuda(ordinal);
    let gpu = driver::gpu(device)?.open()?;
    let invalid = |found: &str, expected: &str| {
        Error::Tensor(TensorError::InvalidArgument {
            what: "the stream",
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    };
    if stream.context().cu_ctx() != gpu.raw_context() {
        return Err(invalid(
            "one of another context",
            "work is done in the primary context, the one of `CudaContext::new`",
        ));
    }
    if stream.cu_stream().addr() as u64 == PER_THREAD {
        return Err(invalid(
            "the per-thread default stream",
            "its handle means another stream on every thread; make one with `new_stream`",
        ));
    }
    CHOSEN.with(|chosen| chosen.borrow_mut().push((device, Arc::clone(stream))));
    let _until_then = Chosen;
    Ok(work())
}

/// Ends a choice, also when the work panics.
struct Chosen;

impl Drop for Chosen {
    fn drop(&mut self) {
        CHOSEN.with(|chosen| drop(chosen.borrow_mut().pop()));
    }
}
