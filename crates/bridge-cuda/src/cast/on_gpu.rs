//! Casts on a GPU.

use bridge_core::{DataType, Error, ManagedTensor, Overflow, Result, TensorSpec};
use cudarc::driver::CudaStream;

use super::looks_for_misfits;
use super::misfit::out_of_range;
use super::working_memory::MISFIT;
use crate::gpu::Opened;
use crate::kernels::launch::{Argument, Grid};
use crate::kernels::loops::{Axis, Loops, Part, Way, count_of, is_dense, lines, numbers, parts};
use crate::kernels::number::Number;
use crate::kernels::specialized_casts::SpecializedCast;
use crate::memory::device_block::{DeviceBlock, empty};
use crate::streams::home::{Home, wait_for};
use crate::transfer::download::receive;
use crate::transfer::gather;
use crate::transfer::staging::Staging;

/// `AnyCast` of kernels.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Cast {
    from: u32,
    to: u32,
    overflow: u32,
    packed_bits: u32,
    from_bytes: u32,
    to_bytes: u32,
    widen: u32,
    unused: u32,
}

/// Casts a tensor into new memory of the same device, row-major, ready in this thread's stream.
/// The rules are those of [`bridge_host::cast`].
pub(crate) fn cast(
    source: &ManagedTensor,
    gpu: &'static Opened,
    to: DataType,
    overflow: Overflow,
) -> Result<ManagedTensor> {
    let from = source.data_type();
    if from == to {
        return gather::copied(source, gpu);
    }
    let (from_number, to_number) = pair(from, to)?;
    let spec = TensorSpec::row_major(to, source.shape())?;
    if spec.layout.is_empty() {
        return empty(gpu, spec);
    }
    let first = source.first_element().addr() as u64;
    if !first.is_multiple_of(from.alignment() as u64) {
        // The kernels read whole numbers.
        return cast(&gather::copied(source, gpu)?, gpu, to, overflow);
    }
    let bytes = spec.layout.compact_bytes(to)?;
    let stream = gpu.streams.of_this_thread()?;
    let block = DeviceBlock::allocate(gpu, &stream, bytes)?;
    let checked = looks_for_misfits(from, to, overflow);
    let misfit = checked.then(|| DeviceBlock::allocate(gpu, &stream, MISFIT)).transpose()?;
    let widen = to_number.parts > from_number.parts;
    let packed = from.size_in_bytes().is_none();
    let how = Cast {
        from: from_number.kind,
        to: to_number.kind,
        overflow: match overflow {
            Overflow::Refuse if checked => 0,
            Overflow::Refuse | Overflow::Saturate => 1,
            Overflow::Wrap => 2,
        },
        packed_bits: if packed { u32::from(from.bits()) } else { 0 },
        from_bytes: from_number.bytes() as u32,
        to_bytes: to_number.bytes() as u32,
        widen: u32::from(widen),
        unused: 0,
    };
    let place = Home::of(source, gpu).around((gpu, &stream), || {
        if let Some(misfit) = &misfit {
            misfit.fill(0xFF)?;
        }
        let misfit_at = misfit.as_ref().map_or(0, DeviceBlock::address);
        let target = block.address();
        let place = Place { source: first, target, origin: target, misfit: misfit_at };
        if packed {
            let count = source.layout().element_count();
            any(gpu, &stream, place, &how, &Loops::packed(count))?;
        } else {
            let axes = numbers(source.layout(), from_number.bytes(), from_number.parts);
            launch(gpu, &stream, place, &how, &axes)?;
        }
        misfit.as_ref().map(|misfit| read(gpu, &stream, misfit.address())).transpose()
    })?;
    match place.filter(|&place| place != u64::MAX) {
        Some(place) => {
            let index = place as usize / from_number.parts;
            Err(out_of_range(source, gpu, index, to))
        }
        // SAFETY: the block has room for the row-major elements, whose cast its home was given.
        None => unsafe { block.into_tensor(spec) },
    }
}

/// The numbers of both types, where a cast leads from one to the other.
fn pair(from: DataType, to: DataType) -> Result<(Number, Number)> {
    let pair = Number::of(from).zip(Number::of(to));
    match pair {
        Some((source, target)) if source.parts <= target.parts && target.bytes() > 0 => {
            Ok((source, target))
        }
        _ => {
            // The host's error explains best why there is no such cast.
            let spec = TensorSpec::row_major(from, &[0])?;
            let nothing = bridge_host::zeroed(&spec, from.alignment())?;
            bridge_host::to_data_type(&nothing, to, Overflow::Wrap)?;
            let reason =
                "no GPU kernel casts it, but the host can: move the array there first".to_owned();
            Err(Error::NoCast { from, to, reason })
        }
    }
}

/// Submits the cast of the numbers along `axes` to `stream`.
fn launch(
    gpu: &'static Opened,
    stream: &CudaStream,
    place: Place,
    how: &Cast,
    axes: &[Axis],
) -> Result<()> {
    let (read, written) = (how.from_bytes as usize, how.to_bytes as usize);
    if let Some(kernels) = SpecializedCast::of(how.from, how.to).filter(|_| how.widen == 0) {
        let aligned = place.source.is_multiple_of(4 * read as u64)
            && place.target.is_multiple_of(4 * written as u64);
        if aligned && is_dense(axes, read) {
            let count = count_of(axes);
            let arguments = place.arguments(&how.overflow, &count);
            // SAFETY: the kernel takes three addresses, a cell where misfits are refused, what
            // becomes of them, and how many numbers there are without gaps on both sides.
            return unsafe {
                gpu.kernels.launch(
                    stream,
                    kernels.dense,
                    Grid::lines(count.div_ceil(4)),
                    &arguments,
                )
            };
        }
        for part in parts(axes, read, written) {
            let place = place.of(&part, written);
            let (name, grid, arguments) = match &part.way {
                Way::Loops(loops) => (
                    kernels.strided,
                    Grid::lines(loops.count.div_ceil((4 / written as u64).max(1))),
                    place.arguments(&how.overflow, &**loops),
                ),
                Way::Planes(planes) => (
                    kernels.transposed,
                    Grid::tiles(planes.tiles),
                    place.arguments(&how.overflow, &**planes),
                ),
            };
            // SAFETY: as above, with loops or planes that lead to the source's numbers, and to as
            // many in the target as there are.
            unsafe { gpu.kernels.launch(stream, name, grid, &arguments) }?;
        }
        return Ok(());
    }
    let written = written << how.widen;
    for part in lines(axes) {
        let Way::Loops(loops) = &part.way else { continue };
        any(gpu, stream, place.of(&part, written), how, loops)?;
    }
    Ok(())
}

/// As [`launch`], by the kernel that casts any pair of kinds.
fn any(
    gpu: &'static Opened,
    stream: &CudaStream,
    place: Place,
    how: &Cast,
    loops: &Loops,
) -> Result<()> {
    let arguments = place.arguments(how, loops);
    // SAFETY: the kernel takes the addresses, how to cast, and the loops over the source's numbers.
    unsafe { gpu.kernels.launch(stream, "cast_any", Grid::lines(loops.count), &arguments) }
}

/// The addresses of a cast.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: u64,
    target: u64,
    /// Where the whole target begins: misfits are counted from there.
    origin: u64,
    /// The cell for the first misfit; 0 where none is looked for.
    misfit: u64,
}

impl Place {
    /// That of a part, whose numbers have `written` bytes in the target.
    fn of(self, part: &Part, written: usize) -> Self {
        let source = self.source.wrapping_add_signed(part.source);
        Self { source, target: self.target + part.before * written as u64, ..self }
    }

    fn arguments<'a, T, U>(&'a self, how: &'a T, shape: &'a U) -> [Argument<'a>; 6] {
        [
            Argument::of(&self.source),
            Argument::of(&self.target),
            Argument::of(&self.origin),
            Argument::of(&self.misfit),
            Argument::of(how),
            Argument::of(shape),
        ]
    }
}

/// Reads eight bytes of device memory, after what the stream has been given.
fn read(gpu: &'static Opened, stream: &CudaStream, address: u64) -> Result<u64> {
    let buffer = Staging::take(gpu, MISFIT)?;
    let received = receive(gpu, stream, address, buffer.as_ptr(), MISFIT);
    let waited = wait_for(gpu, stream);
    received.and(waited)?;
    // SAFETY: the device has written the eight bytes, and uses the buffer no more.
    Ok(unsafe { buffer.as_ptr().cast::<u64>().read_unaligned() })
}
