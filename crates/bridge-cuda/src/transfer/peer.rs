//! Copies from one GPU to another: directly between peers, else through pinned memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bridge_core::{ManagedTensor, Result, TensorSpec};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaStream, result};

use crate::context::errors::failed;
use crate::driver;
use crate::gpu::{Gpu, Opened};
use crate::memory::device_block::{DeviceBlock, empty};
use crate::streams::home::Home;
use crate::transfer::download::receive;
use crate::transfer::gather;
use crate::transfer::staging_buffers::{Buffers, buffer_used, chunk_for};
use crate::transfer::upload::send;

/// Copies a tensor of `from` to new memory of `to`, row-major, ready in this thread's stream there.
pub(crate) fn copied(
    source: &ManagedTensor,
    from: &'static Opened,
    to: &'static Opened,
) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    if spec.layout.is_empty() {
        return empty(to, spec);
    }
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    if !source.layout().is_row_major() {
        // Between devices, only rows without gaps are copied.
        let packed = gather::copied(source, from)?;
        return copied(&packed, from, to);
    }
    let target_stream = to.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(to, &target_stream, bytes)?;
    let first = source.first_element().addr() as u64;
    let home = Home::of(source, from);
    if is_allowed(from, to) {
        home.around((to, &target_stream), || {
            let _current = to.enter()?;
            // SAFETY: both are memory of their device with this many bytes, ready in the stream.
            unsafe {
                result::memcpy_peer_async(
                    to.raw(),
                    block.address(),
                    from.raw(),
                    first,
                    bytes,
                    target_stream.cu_stream(),
                )
            }
            .map_err(failed("copy from one device to another"))
        })?;
    } else {
        let source_stream = from.streams.of_this_thread()?;
        home.around((from, &source_stream), || {
            let ends = [(from, &*source_stream), (to, &*target_stream)];
            stage(ends, first, block.address(), bytes)
        })?;
    }
    // SAFETY: the block has room for the row-major elements, whose copy its home has been given.
    unsafe { block.into_tensor(spec) }
}

/// Copies piece after piece through pinned memory, in both devices' streams; the host waits only for
/// free buffers.
fn stage(
    [(from, source_stream), (to, target_stream)]: [(&'static Opened, &CudaStream); 2],
    first: u64,
    target: u64,
    bytes: usize,
) -> Result<()> {
    let chunk = chunk_for(bytes);
    let mut buffers = Buffers::new(to, chunk.min(bytes))?;
    for start in (0..bytes).step_by(chunk) {
        let length = chunk.min(bytes - start);
        let mut buffer = buffers.next()?;
        let place = start as u64;
        let given = receive(from, source_stream, first + place, buffer.as_ptr(), length);
        // Noted first, so that the buffer is not reused where the second half fails.
        buffer_used(from, source_stream, &mut buffer, given)?;
        // SAFETY: both streams are of their GPU's primary context.
        let given = unsafe {
            from.events
                .record(source_stream.cu_stream())
                .and_then(|arrived| arrived.hold_back(to, target_stream.cu_stream()))
        };
        let given =
            given.and_then(|()| send(to, target_stream, buffer.as_ptr(), target + place, length));
        buffer_used(to, target_stream, &mut buffer, given)?;
        buffers.give(buffer);
    }
    Ok(())
}

/// Whether `to` may read and write memory of `from`; the first call for a pair enables it.
fn is_allowed(from: &'static Opened, to: &'static Opened) -> bool {
    static KNOWN: Mutex<Option<HashMap<(u32, u32), bool>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let pair = (from.device().ordinal(), to.device().ordinal());
    let known = known.get_or_insert_default();
    *known.entry(pair).or_insert_with(|| can_access(from, to) && enable(from, to).is_ok())
}

/// Whether `to` could read and write memory of `from`.
fn can_access(from: &Opened, to: &Opened) -> bool {
    let handle = |gpu: &Opened| driver::gpu(gpu.device()).map(Gpu::handle);
    let (Ok(from), Ok(to)) = (handle(from), handle(to)) else { return false };
    accessible(from, to)
}

/// As [`can_access`], by the driver's handles.
pub(crate) fn accessible(from: sys::CUdevice, to: sys::CUdevice) -> bool {
    let mut can = 0;
    // SAFETY: both handles are the driver's; it writes one integer.
    let asked = unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, to, from) };
    asked == CUresult::CUDA_SUCCESS && can != 0
}

fn enable(from: &Opened, to: &Opened) -> Result<()> {
    let _current = to.enter()?;
    // SAFETY: the context is a retained primary context.
    match unsafe { sys::cuCtxEnablePeerAccess(from.raw(), 0) } {
        CUresult::CUDA_SUCCESS | CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED => {}
        error => {
            return error.result().map_err(failed("let a device use another's memory"));
        }
    }
    // Memory of pools has access rights of its own.
    from.pool.allow(to.device().ordinal())
}
