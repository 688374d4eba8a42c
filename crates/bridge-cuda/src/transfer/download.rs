//! From a device to the host.

use std::collections::VecDeque;

use bridge_core::{DataType, HostMemory, Layout, ManagedTensor, Result, TensorSpec};
use cudarc::driver::{CudaStream, sys};

use crate::context::errors::failed;
use crate::gpu::Opened;
use crate::gpu::event::Event;
use crate::memory::device_block::DeviceBlock;
use crate::streams::home::{Home, wait_for};
use crate::transfer::gather::{gather, gather_part};
use crate::transfer::pieces::{Piece, Pieces};
use crate::transfer::staging::Staging;
use crate::transfer::staging_buffers::{Buffers, buffer_used, chunk_for, piece_bytes};

/// Copies a device tensor to new memory of the global allocator, row-major.
pub(crate) fn download(source: &ManagedTensor, gpu: &'static Opened) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let memory = HostMemory::allocate(bytes, spec.data_type.alignment())?;
    if bytes > 0 {
        // SAFETY: the memory has this many bytes and is nobody else's.
        unsafe { stage(source, gpu, memory.as_ptr(), bytes) }?;
    }
    // SAFETY: all elements have been written.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}

/// Copies a device tensor of at least one element to ordinary memory of the host, row-major; complete when this
/// returns.
///
/// # Safety
///
/// The memory at `target` has room for the elements, and nobody else uses it.
pub(crate) unsafe fn download_to(
    source: &ManagedTensor,
    gpu: &'static Opened,
    target: *mut u8,
) -> Result<()> {
    let bytes = source.layout().compact_bytes(source.data_type())?;
    // SAFETY: the caller promises it.
    unsafe { stage(source, gpu, target, bytes) }
}

/// Copies a device tensor to pinned memory, row-major; complete when this returns.
///
/// # Safety
///
/// The pinned memory at `target` has room for the elements, and nobody else uses it.
pub(crate) unsafe fn download_pinned(
    source: &ManagedTensor,
    gpu: &'static Opened,
    target: *mut u8,
) -> Result<()> {
    // SAFETY: the caller promises the memory, and the event is waited for.
    unsafe { start_pinned(source, gpu, target) }?.synchronize()
}

/// As [`download_pinned`], but complete at the event that is returned.
///
/// # Safety
///
/// As [`download_pinned`], until the event; where this fails, nothing is written afterwards.
pub(crate) unsafe fn start_pinned(
    source: &ManagedTensor,
    gpu: &'static Opened,
    target: *mut u8,
) -> Result<Event> {
    let bytes = source.layout().compact_bytes(source.data_type())?;
    let stream = gpu.streams.of_this_thread()?;
    let given = Home::of(source, gpu).around((gpu, &stream), || {
        if bytes == 0 {
            return Ok(());
        }
        if source.layout().is_row_major() {
            let first = source.first_element().addr() as u64;
            return receive(gpu, &stream, first, target, bytes);
        }
        let block = DeviceBlock::allocate(gpu, &stream, bytes)?;
        gather(gpu, &stream, source, block.address())?;
        receive(gpu, &stream, block.address(), target, bytes)
    });
    // SAFETY: the stream is the GPU's.
    let done = given.and_then(|()| unsafe { gpu.events.record(stream.cu_stream()) });
    if done.is_err() {
        let _ = wait_for(gpu, &stream);
    }
    done
}

/// A piece that the device copies to a staging buffer.
struct Underway {
    buffer: Staging,
    piece: Piece,
}

/// Submits the copy of piece after piece to staging buffers, while the piece before is copied out of its
/// buffer.
///
/// # Safety
///
/// `bytes`, the row-major elements' number of bytes, can be written at `target` by nobody else.
unsafe fn stage(
    source: &ManagedTensor,
    gpu: &'static Opened,
    target: *mut u8,
    bytes: usize,
) -> Result<()> {
    let chunk = chunk_for(bytes);
    let (pieces, data_type) = Pieces::new(source.layout(), source.data_type(), chunk)?;
    let stream = gpu.streams.of_this_thread()?;
    let piece = piece_bytes(source.data_type(), chunk, bytes);
    // Elements with gaps between them are packed on the device first.
    let packed = match source.layout().is_row_major() {
        true => None,
        false => Some(DeviceBlock::allocate(gpu, &stream, piece)?),
    };
    let mut buffers = Buffers::new(gpu, piece)?;
    let mut underway: VecDeque<Underway> = VecDeque::new();
    Home::of(source, gpu).around((gpu, &stream), || {
        for piece in pieces {
            let piece = piece?;
            let mut buffer = match buffers.at_once() {
                Some(buffer) => buffer,
                None => {
                    let first = underway.pop_front();
                    // SAFETY: the caller promises the target.
                    unsafe { arrive(first, target, &mut buffers) }?;
                    buffers.next()?
                }
            };
            let first = source.data().addr() + piece.layout.byte_offset();
            let given = match &packed {
                None => receive(gpu, &stream, first as u64, buffer.as_ptr(), piece.bytes),
                Some(block) => gather_part(
                    gpu,
                    &stream,
                    (first as u64, &piece.layout, data_type),
                    block.address(),
                )
                .and_then(|()| {
                    receive(gpu, &stream, block.address(), buffer.as_ptr(), piece.bytes)
                }),
            };
            buffer_used(gpu, &stream, &mut buffer, given)?;
            underway.push_back(Underway { buffer, piece });
        }
        Ok(())
    })?;
    while let Some(first) = underway.pop_front() {
        // SAFETY: the caller promises the target.
        unsafe { arrive(Some(first), target, &mut buffers) }?;
    }
    Ok(())
}

/// Waits for a piece and copies it to its place in the target.
///
/// # Safety
///
/// As [`stage`].
unsafe fn arrive(piece: Option<Underway>, target: *mut u8, buffers: &mut Buffers) -> Result<()> {
    let Some(Underway { mut buffer, piece }) = piece else { return Ok(()) };
    buffer.wait()?;
    let flat = Layout::row_major(&[piece.bytes])?;
    // SAFETY: the buffer holds the piece, which the device has written; the target has room for all
    // pieces, which do not overlap.
    unsafe {
        bridge_host::copy_strided(
            buffer.as_ptr(),
            &flat,
            target.wrapping_add(piece.start),
            &flat,
            DataType::U8,
        );
    }
    buffers.give(buffer);
    Ok(())
}

/// Submits a copy of `bytes` of device memory to pinned memory.
pub(crate) fn receive(
    gpu: &Opened,
    stream: &CudaStream,
    source: u64,
    target: *mut u8,
    bytes: usize,
) -> Result<()> {
    let _current = gpu.enter()?;
    // SAFETY: the callers have `bytes` of device memory at `source`, ready in the stream, and room
    // for them in pinned memory at `target`, which stays until the event that is recorded next.
    unsafe { sys::cuMemcpyDtoHAsync_v2(target.cast(), source, bytes, stream.cu_stream()) }
        .result()
        .map_err(failed("copy from the device to the host"))
}
