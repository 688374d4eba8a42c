//! From the host to a device.

use std::sync::Arc;

use bridge_core::{Layout, ManagedTensor, Result, TensorSpec};
use cudarc::driver::CudaStream;
use cudarc::driver::sys;

use crate::context::errors::failed;
use crate::driver::pointer::Pointer;
use crate::gpu::Opened;
use crate::gpu::event::Event;
use crate::memory::device_block::{DeviceBlock, empty};
use crate::streams::home::wait_for;
use crate::transfer::pieces::Pieces;
use crate::transfer::staging_buffers::{Buffers, buffer_used, chunk_for, piece_bytes};

/// Copies a host tensor to new memory of `gpu`, row-major, ready in this thread's stream. The source is
/// no longer read when this returns.
pub(crate) fn upload(source: &ManagedTensor, gpu: &'static Opened) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    if spec.layout.is_empty() {
        return empty(gpu, spec);
    }
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let home = gpu.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(gpu, &home, bytes)?;
    if is_direct(source, gpu, bytes)? {
        let sent = send(gpu, &home, source.first_element(), block.address(), bytes);
        let waited = wait_for(gpu, &home);
        sent.and(waited)?;
    } else {
        stage(source, (gpu, &home), block.address(), bytes)?;
    }
    // SAFETY: the block has room for the row-major elements, and copies of all of them have been
    // given to the home.
    unsafe { block.into_tensor(spec) }
}

/// Copies a pinned, row-major tensor as [`upload`] does, and returns at once: the source is read until
/// the event.
pub(crate) fn upload_pinned(
    source: &ManagedTensor,
    gpu: &'static Opened,
) -> Result<(ManagedTensor, Event)> {
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let home = gpu.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(gpu, &home, bytes)?;
    let sent = send(gpu, &home, source.first_element(), block.address(), bytes);
    // SAFETY: the stream is the GPU's.
    let done = sent.and_then(|()| unsafe { gpu.events.record(home.cu_stream()) });
    match done {
        // SAFETY: as in `upload`.
        Ok(done) => Ok((unsafe { block.into_tensor(spec) }?, done)),
        Err(error) => {
            // The source goes back to the caller, so nothing may still read it.
            let _ = wait_for(gpu, &home);
            Err(error)
        }
    }
}

/// Whether the device can copy from the tensor's memory without a staging buffer.
pub(crate) fn is_direct(source: &ManagedTensor, gpu: &Opened, bytes: usize) -> Result<bool> {
    if !source.layout().is_row_major() {
        return Ok(false);
    }
    let first = source.first_element().addr() as u64;
    let last = first + (bytes - 1) as u64;
    Ok(Pointer::inspect(gpu, first)?.is_pinned() && Pointer::inspect(gpu, last)?.is_pinned())
}

/// Packs piece after piece into staging buffers, while the device copies the one before.
fn stage(
    source: &ManagedTensor,
    (gpu, home): (&'static Opened, &Arc<CudaStream>),
    target: u64,
    bytes: usize,
) -> Result<()> {
    let chunk = chunk_for(bytes);
    let (pieces, data_type) = Pieces::new(source.layout(), source.data_type(), chunk)?;
    let mut buffers = Buffers::new(gpu, piece_bytes(source.data_type(), chunk, bytes))?;
    for piece in pieces {
        let piece = piece?;
        let mut buffer = buffers.next()?;
        let first = source.data().cast::<u8>().wrapping_add(piece.layout.byte_offset());
        let packed = Layout::row_major(piece.layout.shape())?;
        // SAFETY:
        // - The shapes are equal, and the piece's elements are among the tensor's, which can be read.
        // - The buffer has room for them, and no device uses it: `next` waited.
        unsafe {
            bridge_host::copy_strided(first, &piece.layout, buffer.as_ptr(), &packed, data_type);
        };
        let sent = send(gpu, home, buffer.as_ptr(), target + piece.start as u64, piece.bytes);
        buffers.give(buffer_used(gpu, home, &mut buffer, sent).map(|()| buffer)?);
    }
    Ok(())
}

/// Submits a copy of `bytes` of pinned memory to the device.
pub(crate) fn send(
    gpu: &Opened,
    stream: &CudaStream,
    source: *const u8,
    target: u64,
    bytes: usize,
) -> Result<()> {
    let _current = gpu.enter()?;
    // SAFETY: the callers have `bytes` in pinned memory at `source`, which stay until the event
    // that is recorded next, and room for them at `target`, in memory whose home is the stream.
    unsafe { sys::cuMemcpyHtoDAsync_v2(target, source.cast(), bytes, stream.cu_stream()) }
        .result()
        .map_err(failed("copy from the host to the device"))
}
