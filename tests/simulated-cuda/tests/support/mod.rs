//! What the tests of the simulated driver share.
#![allow(dead_code, reason = "each test file needs some of it")]

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys};
use simulated_cuda::{Config, SimulatedCuda, Violation, ViolationKind};

/// A driver with two devices.
pub(crate) fn simulated() -> SimulatedCuda {
    SimulatedCuda::start(&Config::default())
}

/// The first device's primary context. The caller orders its streams itself: `cudarc` records no events.
pub(crate) fn context(device: usize) -> Arc<CudaContext> {
    let context = CudaContext::new(device).expect("the simulated device is there");
    // SAFETY: the tests order their streams themselves; that is what they test.
    unsafe { context.disable_event_tracking() };
    context
}

/// A context and two of its streams that wait for nobody.
pub(crate) fn two_streams() -> (Arc<CudaContext>, Arc<CudaStream>, Arc<CudaStream>) {
    let context = context(0);
    let first = context.new_stream().expect("a stream");
    let second = context.new_stream().expect("a stream");
    (context, first, second)
}

/// Takes the violations and says of which kinds they are.
pub(crate) fn kinds(cuda: &SimulatedCuda) -> Vec<ViolationKind> {
    cuda.take_violations().iter().map(|Violation { kind, .. }| *kind).collect()
}

/// The error of a call that has to fail.
pub(crate) fn error<T>(result: Result<T, DriverError>) -> sys::CUresult {
    result.map(drop).expect_err("the call has to fail").0
}

pub(crate) const PTX: &str = "
.version 7.0
.target sm_70
.address_size 64
.visible .entry add_one(.param .u64 to, .param .u64 from, .param .u32 count)
{ ret; }
.visible .entry unregistered(.param .u64 to) { ret; }
.visible .entry mismatched(.param .u64 to) { ret; }
";

/// A loaded module, unloaded when dropped.
pub(crate) struct Module {
    raw: sys::CUmodule,
    /// Modules end before their context does.
    context: Arc<CudaContext>,
}

impl Module {
    pub(crate) fn load(context: &Arc<CudaContext>, text: &str) -> Result<Self, DriverError> {
        context.bind_to_thread()?;
        let text = CString::new(text).expect("no zero byte");
        // SAFETY: the image ends with a zero byte.
        let raw = unsafe { result::module::load_data(text.as_ptr().cast()) }?;
        Ok(Self { raw, context: context.clone() })
    }

    pub(crate) fn function(&self, name: &str) -> Result<sys::CUfunction, DriverError> {
        let name = CString::new(name).expect("no zero byte");
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.raw, name) }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // A device that is lost cannot be bound, and does not matter any more.
        let _ = self.context.bind_to_thread();
        // SAFETY: the module is loaded, and nothing uses it any more.
        let _ = unsafe { result::module::unload(self.raw) };
    }
}

/// Launches a function with one block of 32 threads.
pub(crate) fn launch(
    function: sys::CUfunction,
    stream: &CudaStream,
    arguments: &[*const c_void],
) -> Result<(), DriverError> {
    let mut arguments: Vec<_> = arguments.iter().map(|argument| argument.cast_mut()).collect();
    stream.context().bind_to_thread()?;
    // SAFETY: the arguments are those of the function, or the driver refuses them.
    unsafe {
        let (one, threads) = ((1, 1, 1), (32, 1, 1));
        result::launch_kernel(function, one, threads, 0, stream.cu_stream(), &mut arguments)
    }
}

/// Registers a kernel that adds 1 to each `f32`.
pub(crate) fn register_add_one(cuda: &SimulatedCuda) {
    cuda.register_kernel("add_one", &[8, 8, 4], |launch| {
        let (to, from) = (launch.argument::<u64>(0), launch.argument::<u64>(1));
        let bytes = launch.argument::<u32>(2) as usize * 4;
        let (Some(from), Some(to)) = (launch.read(from, bytes), launch.write(to, bytes)) else {
            return Err(700);
        };
        for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
            let value = f32::from_ne_bytes(from.try_into().expect("four bytes"));
            to.copy_from_slice(&(value + 1.0).to_ne_bytes());
        }
        Ok(())
    });
}

/// Launches `add_one`.
pub(crate) fn add_one(
    module: &Module,
    stream: &CudaStream,
    (to, from, count): (u64, u64, u32),
) -> Result<(), DriverError> {
    let arguments: [*const c_void; 3] =
        [(&raw const to).cast(), (&raw const from).cast(), (&raw const count).cast()];
    launch(module.function("add_one")?, stream, &arguments)
}

/// Where an array is. It records nothing: event tracking is off.
pub(crate) fn address<T>(array: &CudaSlice<T>, stream: &Arc<CudaStream>) -> u64 {
    array.device_ptr(stream).0
}
