//! Copies within a device, from any strides to row-major order.

use bridge_core::{DataType, Layout, ManagedTensor, Result, TensorSpec};
use cudarc::driver::{CudaStream, result};

use crate::context::errors::failed;
use crate::gpu::Opened;
use crate::kernels::launch::{Argument, Grid};
use crate::kernels::loops::{self, Part, Way};
use crate::memory::device_block::{DeviceBlock, empty};
use crate::streams::home::Home;

/// A row-major copy in new memory of the same device, ready in this thread's stream.
pub(crate) fn copied(source: &ManagedTensor, gpu: &'static Opened) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    if spec.layout.is_empty() {
        return empty(gpu, spec);
    }
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let stream = gpu.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(gpu, &stream, bytes)?;
    Home::of(source, gpu)
        .around((gpu, &stream), || gather(gpu, &stream, source, block.address()))?;
    // SAFETY: the block has room for the row-major elements, whose copy its home has been given.
    unsafe { block.into_tensor(spec) }
}

/// Submits to `stream` a row-major copy of the elements of a tensor of `gpu` to `target`. The caller
/// orders the stream with the tensor's home.
pub(crate) fn gather(
    gpu: &'static Opened,
    stream: &CudaStream,
    source: &ManagedTensor,
    target: u64,
) -> Result<()> {
    let first = source.first_element().addr() as u64;
    gather_part(gpu, stream, (first, source.layout(), source.data_type()), target)
}

/// As [`gather`], from the address of the element whose indices are all zero.
pub(crate) fn gather_part(
    gpu: &'static Opened,
    stream: &CudaStream,
    (first, layout, data_type): (u64, &Layout, DataType),
    target: u64,
) -> Result<()> {
    let bytes = layout.compact_bytes(data_type)?;
    let item = match data_type.size_in_bytes() {
        Some(item) if !layout.is_row_major() => item,
        _ => {
            let _current = gpu.enter()?;
            // SAFETY: the elements lie without gaps, in memory of this device that the stream may
            // use, as the caller says; the target has room for them.
            return unsafe { result::memcpy_dtod_async(target, first, bytes, stream.cu_stream()) }
                .map_err(failed("copy on the device"));
        }
    };
    let (unit, parts) = loops::copy(layout, item, first, target);
    for Part { source, before, way } in parts {
        let source = first.wrapping_add_signed(source);
        let target = target + before * unit as u64;
        match way {
            Way::Loops(loops) => {
                let grid = Grid::lines(loops.count.div_ceil((4 / unit as u64).max(1)));
                let arguments =
                    [Argument::of(&source), Argument::of(&target), Argument::of(&*loops)];
                // SAFETY: the kernel takes two addresses and the loops, which lead to elements of
                // the layout, and to as many in the target as there are.
                unsafe { gpu.kernels.launch(stream, copy_kernel(unit), grid, &arguments) }?;
            }
            Way::Planes(planes) => {
                let grid = Grid::tiles(planes.tiles);
                let arguments =
                    [Argument::of(&source), Argument::of(&target), Argument::of(&*planes)];
                // SAFETY: as above, with the planes.
                unsafe { gpu.kernels.launch(stream, transpose_kernel(unit), grid, &arguments) }?;
            }
        }
    }
    Ok(())
}

fn copy_kernel(unit: usize) -> &'static str {
    match unit {
        1 => "copy_1",
        2 => "copy_2",
        4 => "copy_4",
        8 => "copy_8",
        _ => "copy_16",
    }
}

fn transpose_kernel(unit: usize) -> &'static str {
    match unit {
        1 => "transpose_1",
        2 => "transpose_2",
        4 => "transpose_4",
        8 => "transpose_8",
        _ => "transpose_16",
    }
}
