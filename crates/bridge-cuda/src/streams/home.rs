//! The order of work on one piece of memory.
//!
//! Each tensor has a home: the stream it is ready on, in whose order its owner frees or reuses the memory.
//! The rule is that the home runs after all work on the memory. Work in another stream first waits for the
//! home, and afterwards makes the home wait. So an owner that knows only the home is right, too: torch's
//! allocator, for example, reuses a block in the order of the stream that it handed over.

use bridge_core::{ManagedTensor, Result};
use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUstream;

use crate::context::errors::failed;
use crate::gpu::Opened;
use crate::gpu::thread_streams::{LEGACY, PER_THREAD};

/// What keeps the order of work on a tensor's memory.
#[derive(Clone, Copy)]
pub(crate) enum Home {
    /// The stream of this GPU with this DLPack number.
    Stream(&'static Opened, u64),
    /// No stream: the memory is ready, and the host waits after each use.
    Host,
    /// The default stream of the thread that exported the tensor. Its handle means that stream on this
    /// thread only, so the host waits after each use.
    PerThread(&'static Opened),
}

impl Home {
    /// The home of a tensor on `gpu`.
    pub(crate) fn of(tensor: &ManagedTensor, gpu: &'static Opened) -> Self {
        match tensor.stream().map(|stream| stream.0) {
            None => Self::Host,
            Some(PER_THREAD) => Self::PerThread(gpu),
            // 0 is ambiguous in DLPack; the driver means the legacy stream by it.
            Some(0) => Self::Stream(gpu, LEGACY),
            Some(number) => Self::Stream(gpu, number),
        }
    }

    /// Makes `stream` wait for the home, runs `work`, which submits work on the memory to `stream`, and
    /// makes the home wait for it.
    pub(crate) fn around<T>(
        self,
        (gpu, stream): (&'static Opened, &CudaStream),
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.before(gpu, stream)?;
        let done = work();
        // Also after an error: some of the work may be in the stream.
        let ordered = self.after(gpu, stream);
        let done = done?;
        ordered.map(|()| done)
    }

    /// Makes `stream` wait for what the home has been given so far.
    pub(crate) fn before(self, gpu: &'static Opened, stream: &CudaStream) -> Result<()> {
        let (home_gpu, home) = match self {
            Self::Host => return Ok(()),
            Self::Stream(_, home) if home == number_of(stream) => return Ok(()),
            Self::Stream(home_gpu, home) => (home_gpu, raw(home)),
            Self::PerThread(home_gpu) => (home_gpu, raw(PER_THREAD)),
        };
        // SAFETY: whoever made the tensor promised that its home is a stream of its device's
        // primary context; `stream` is of the primary context of `gpu`.
        unsafe { home_gpu.events.record(home)?.hold_back(gpu, stream.cu_stream()) }
    }

    /// Makes the home wait for what `stream` has been given so far; where that fails, waits on the calling
    /// thread, so that the memory can be freed in any case.
    pub(crate) fn after(self, gpu: &'static Opened, stream: &CudaStream) -> Result<()> {
        if let Self::Stream(home_gpu, home) = self {
            if home == number_of(stream) {
                return Ok(());
            }
            // SAFETY: as in `before`.
            let told = unsafe {
                gpu.events
                    .record(stream.cu_stream())
                    .and_then(|used| used.hold_back(home_gpu, raw(home)))
            };
            if told.is_ok() {
                return Ok(());
            }
        }
        wait_for(gpu, stream)
    }

    /// Waits on the calling thread until the memory is ready.
    pub(crate) fn wait(self) -> Result<()> {
        let (gpu, home) = match self {
            Self::Host => return Ok(()),
            Self::Stream(gpu, home) => (gpu, raw(home)),
            Self::PerThread(gpu) => (gpu, raw(PER_THREAD)),
        };
        // SAFETY: as in `before`.
        unsafe { gpu.events.record(home) }?.synchronize()
    }
}

/// Waits on the calling thread for all work of a stream.
pub(crate) fn wait_for(gpu: &Opened, stream: &CudaStream) -> Result<()> {
    let _current = gpu.enter()?;
    // SAFETY: the stream is alive.
    unsafe { cudarc::driver::result::stream::synchronize(stream.cu_stream()) }
        .map_err(failed("wait for a stream"))
}

/// The DLPack number of a stream.
pub(crate) fn number_of(stream: &CudaStream) -> u64 {
    match stream.cu_stream().addr() as u64 {
        0 => LEGACY,
        number => number,
    }
}

/// The driver's handle of a stream with this number.
pub(crate) fn raw(number: u64) -> CUstream {
    number as usize as CUstream
}
