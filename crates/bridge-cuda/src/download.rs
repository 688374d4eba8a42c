//! From a device to the host.

use std::collections::VecDeque;

use bridge_core::{DataType, HostMemory, Layout, ManagedTensor, Result, TensorSpec};
use cudarc::driver::{CudaStream, sys};

use crate::block::DeviceBlock;
use crate::buffers::{Buffers, buffer_used, chunk_for, piece_bytes};
use crate::event::Event;
use crate::failure::failed;
use crate::gather::{gather, gather_part};
use crate::gpu::Opened;
use crate::home::{Home, wait_for};
use crate::slabs::{Slab, Slabs};
use crate::staging::Staging;
use crate::stream;

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
    let stream = stream::of_this_thread(gpu)?;
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
    let done = given.and_then(|()| unsafe { Event::record(gpu, stream.cu_stream()) });
    if done.is_err() {
        let _ = wait_for(gpu, &stream);
    }
    done
}

/// A piece on its way, in a staging buffer.
struct Underway {
    buffer: Staging,
    slab: Slab,
}

/// Has the device copy piece after piece to staging buffers, while the one before is copied out.
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
    let (slabs, data_type) = Slabs::new(source.layout(), source.data_type(), chunk)?;
    let stream = stream::of_this_thread(gpu)?;
    let piece = piece_bytes(source.data_type(), chunk, bytes);
    // Elements with gaps between them are packed on the device first.
    let packed = match source.layout().is_row_major() {
        true => None,
        false => Some(DeviceBlock::allocate(gpu, &stream, piece)?),
    };
    let mut buffers = Buffers::new(gpu, piece)?;
    let mut underway: VecDeque<Underway> = VecDeque::new();
    Home::of(source, gpu).around((gpu, &stream), || {
        for slab in slabs {
            let slab = slab?;
            let mut buffer = match buffers.at_once() {
                Some(buffer) => buffer,
                None => {
                    let first = underway.pop_front();
                    // SAFETY: the caller promises the target.
                    unsafe { arrive(first, target, &mut buffers) }?;
                    buffers.next()?
                }
            };
            let first = source.data().addr() + slab.layout.byte_offset();
            let given = match &packed {
                None => receive(gpu, &stream, first as u64, buffer.as_ptr(), slab.bytes),
                Some(block) => gather_part(
                    gpu,
                    &stream,
                    (first as u64, &slab.layout, data_type),
                    block.address(),
                )
                .and_then(|()| receive(gpu, &stream, block.address(), buffer.as_ptr(), slab.bytes)),
            };
            buffer_used(gpu, &stream, &mut buffer, given)?;
            underway.push_back(Underway { buffer, slab });
        }
        Ok(())
    })?;
    while let Some(first) = underway.pop_front() {
        // SAFETY: the caller promises the target.
        unsafe { arrive(Some(first), target, &mut buffers) }?;
    }
    Ok(())
}

/// Waits for a piece and copies it to its place.
///
/// # Safety
///
/// As [`stage`].
unsafe fn arrive(piece: Option<Underway>, target: *mut u8, buffers: &mut Buffers) -> Result<()> {
    let Some(Underway { mut buffer, slab }) = piece else { return Ok(()) };
    buffer.wait()?;
    let flat = Layout::row_major(&[slab.bytes])?;
    // SAFETY: the buffer holds the piece, which the device has written; the target has room for all
    // pieces, which do not overlap.
    unsafe {
        bridge_host::copy_strided(
            buffer.as_ptr(),
            &flat,
            target.wrapping_add(slab.start),
            &flat,
            DataType::U8,
        );
    }
    buffers.give(buffer);
    Ok(())
}

/// Has the device copy `bytes` to pinned memory.
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
