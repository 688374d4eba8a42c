//! Tensors over files and buffers, and bytes of tensors: where the program touches raw memory.

use std::io::Read;
use std::mem::MaybeUninit;

use arraybridge::{
    Access, Convert, CopyPolicy, DataType, Device, HostMemory, Layout, ManagedTensor, Options,
    Owner, TensorSpec,
};

use super::arrays::{Order, Scattered};
use super::byte_order::{copy_swapped, swap};
use super::mapped_file::MappedFile;
use super::windows::Window;
use crate::failure::{Failure, Outcome};
use crate::room::Room;

/// A read-only tensor over the bytes of a mapped file, from `start` on. Nothing is read.
pub(super) fn mapped_tensor(
    file: &MappedFile,
    start: usize,
    spec: TensorSpec,
) -> Outcome<ManagedTensor> {
    let span = spec.layout.span(spec.data_type)?;
    let lowest = start
        .checked_add(spec.layout.byte_offset())
        .and_then(|first| first.checked_add_signed(span.start));
    let end = start
        .checked_add(spec.layout.byte_offset())
        .and_then(|first| first.checked_add_signed(span.end));
    let length = file.bytes().len();
    let inside = lowest.is_some() && end.is_some_and(|end| end <= length);
    if !inside && !spec.layout.is_empty() {
        return Err(Failure::new("the elements reach beyond the end of the file")
            .remedy("write the file again"));
    }
    let data = file.bytes().as_ptr().wrapping_add(start).cast_mut().cast();
    let owner = Owner::keep(file.clone());
    // SAFETY:
    // - Every element lies within the mapping, compared above, which the owner keeps; bytes of a
    //   file are initialized.
    // - A mapping may be unmapped on any thread.
    // - Access is read-only: the mapping cannot be written, and that nobody changes the file is
    //   what `MappedFile` rests on.
    let tensor =
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner) };
    Ok(tensor?)
}

/// The elements of `part` in a mapped file as a tensor in new memory, where they lie as `alone` says, which
/// has no gaps. The bytes of their numbers, of `size` bytes each, are swapped.
pub(super) fn swapped_tensor(
    (file, start): (&MappedFile, usize),
    part: TensorSpec,
    alone: TensorSpec,
    size: usize,
) -> Outcome<ManagedTensor> {
    let bytes = alone.layout.compact_bytes(alone.data_type)?;
    let in_order = if alone.layout.is_row_major() {
        part.layout.is_row_major()
    } else {
        part.layout.is_column_major()
    };
    let first = start.saturating_add(part.layout.byte_offset());
    let source = file.bytes().get(first..first.saturating_add(bytes));
    if let (true, Some(source)) = (in_order, source) {
        let memory = HostMemory::allocate(bytes, alone.data_type.alignment())?;
        // SAFETY: the memory has `bytes` bytes, which may be uninitialized, and nobody else knows of it.
        let target = unsafe {
            std::slice::from_raw_parts_mut(memory.as_ptr().cast::<MaybeUninit<u8>>(), bytes)
        };
        copy_swapped(source, target, size);
        // SAFETY: the bytes were written, as many as the elements take: whole numbers.
        return Ok(unsafe { ManagedTensor::from_host_memory(memory, alone) }?);
    }
    // Brought into order first, then swapped where they lie.
    let axes: Vec<usize> = if alone.layout.is_row_major() {
        (0..part.layout.rank()).collect()
    } else {
        (0..part.layout.rank()).rev().collect()
    };
    let mapped = mapped_tensor(file, start, part)?.permuted(&axes)?;
    let options = Options::default().copy(CopyPolicy::Always);
    let packed: ManagedTensor = mapped.convert_to(options)?;
    let (memory, _) = packed
        .into_host_memory()
        .map_err(|_| Failure::new("the copy of the elements is not in memory of this program's"))?;
    swap_in(&memory, bytes, size);
    // SAFETY: the memory is initialized, and holds as many elements as `alone` has, in its order.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, alone) }?)
}

/// The elements of a window of an array that lie among others in a mapped file, as a tensor in new memory in
/// row-major order, as `alone` says. The bytes of their numbers are swapped where they have to be.
pub(super) fn gathered_tensor(
    (file, start): (&MappedFile, usize),
    (scattered, window): (&Scattered, &Window),
    alone: TensorSpec,
    swapped: Option<usize>,
) -> Outcome<ManagedTensor> {
    let too_short = || {
        Failure::new("the elements reach beyond the end of the file").remedy("write the file again")
    };
    let size = alone.data_type.size_in_bytes().ok_or_else(too_short)?;
    let bytes = alone.layout.compact_bytes(alone.data_type)?;
    let memory = HostMemory::zeroed(bytes, alone.data_type.alignment())?;
    // SAFETY: the memory has `bytes` bytes, zeroed, and nobody else knows of it.
    let packed = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), bytes) };
    let strides = &scattered.strides;
    let skipped = window.starts().iter().zip(strides).map(|(index, stride)| index * stride);
    let first = start.saturating_add(scattered.offset).saturating_add(skipped.sum());
    if !packed.is_empty() {
        let records = file.bytes().get(first..).ok_or_else(too_short)?;
        gather(records, size, window.extents(), strides, packed).ok_or_else(too_short)?;
        // Records that lie one after the other have been read up to here, for this field.
        if strides.is_sorted_by(|outer, inner| outer >= inner) {
            let reach = window.extents().iter().zip(strides);
            let reach = reach.map(|(extent, stride)| (extent - 1) * stride).sum::<usize>();
            file.let_go(first, reach);
        }
    }
    if let Some(number) = swapped {
        swap(packed, number);
    }
    // SAFETY: the memory is initialized.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, alone) }?)
}

/// Copies elements of `size` bytes, which lie `strides` bytes apart along the axes, to `target`, which they fill.
/// `None` where one reaches beyond the end.
fn gather(
    records: &[u8],
    size: usize,
    extents: &[usize],
    strides: &[usize],
    target: &mut [u8],
) -> Option<()> {
    // What lies side by side is copied at once.
    let mut rank = extents.len();
    let mut run = size;
    while rank > 0 && (strides[rank - 1] == run || extents[rank - 1] == 1) {
        run *= extents[rank - 1];
        rank -= 1;
    }
    let (rows, step) = if rank == 0 { (1, run) } else { (extents[rank - 1], strides[rank - 1]) };
    let mut at = vec![0_usize; rank.saturating_sub(1)];
    for target in target.chunks_exact_mut(rows * run) {
        let first: usize = at.iter().zip(strides).map(|(index, stride)| index * stride).sum();
        gather_row(records.get(first..first + (rows - 1) * step + run)?, run, step, target);
        // The next row: the last axis that has one more index, and those behind it from the start.
        if let Some(axis) = (0..at.len()).rev().find(|&axis| at[axis] + 1 < extents[axis]) {
            at[axis] += 1;
            at[axis + 1..].fill(0);
        }
    }
    Some(())
}

/// Copies runs of `run` bytes, which lie `step` bytes apart, to `target`, side by side.
fn gather_row(records: &[u8], run: usize, step: usize, target: &mut [u8]) {
    fn known<const RUN: usize>(records: &[u8], step: usize, target: &mut [u8]) {
        let (targets, _) = target.as_chunks_mut::<RUN>();
        for (target, record) in targets.iter_mut().zip(records.chunks(step)) {
            if let Some(found) = record.first_chunk::<RUN>() {
                *target = *found;
            }
        }
    }
    match run {
        1 => known::<1>(records, step, target),
        2 => known::<2>(records, step, target),
        4 => known::<4>(records, step, target),
        8 => known::<8>(records, step, target),
        16 => known::<16>(records, step, target),
        _ => {
            for (target, record) in target.chunks_exact_mut(run).zip(records.chunks(step)) {
                target.copy_from_slice(&record[..run]);
            }
        }
    }
}

/// As [`read_tensor`], with the bytes of the numbers swapped, of `size` bytes each.
pub(super) fn read_swapped(
    reader: &mut impl Read,
    spec: TensorSpec,
    size: usize,
) -> Outcome<ManagedTensor> {
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let memory = read_memory(reader, bytes, spec.data_type)?;
    swap_in(&memory, bytes, size);
    // SAFETY: the memory is initialized.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}

/// Swaps the bytes of the numbers in the first `bytes` of this memory, which is initialized.
fn swap_in(memory: &HostMemory, bytes: usize, size: usize) {
    let bytes = bytes.min(memory.size());
    // SAFETY: the memory has so many bytes, and each caller has just written them and holds it alone.
    swap(unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), bytes) }, size);
}

/// A tensor in new memory, its elements read from `reader` in the order of `layout`, which has no
/// gaps.
pub(crate) fn read_tensor(reader: &mut impl Read, spec: TensorSpec) -> Outcome<ManagedTensor> {
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let memory = read_memory(reader, bytes, spec.data_type)?;
    // SAFETY: the memory is initialized.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}

/// The next `bytes` of `reader`, in new memory that is aligned for elements of this type.
fn read_memory(reader: &mut impl Read, bytes: usize, data_type: DataType) -> Outcome<HostMemory> {
    let memory = HostMemory::zeroed(bytes, data_type.alignment())?;
    // SAFETY: the memory has `bytes` bytes, zeroed, and nobody else knows of it.
    let buffer = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), bytes) };
    reader
        .read_exact(buffer)
        .map_err(|error| Failure::new("the elements cannot be read").why(error))?;
    Ok(memory)
}

/// No element type and no framework asks for more alignment.
pub(super) const PAGE: usize = 4096;

/// A small tensor of zeros that stands for a large one in a plan: as dense, of `most` elements or a few
/// more, aligned as if it lay `offset` bytes behind the beginning of a page of a mapped file, or in memory of its
/// own where there is no offset.
pub(super) fn stand_in(
    whole: &TensorSpec,
    most: usize,
    offset: Option<usize>,
) -> Outcome<ManagedTensor> {
    let mut elements = 1;
    let small_extent = |&extent: &usize| {
        let small = extent.min(if elements < most { 2 } else { 1 });
        elements *= small.max(1);
        small
    };
    let shape: Vec<usize> = whole.layout.shape().iter().map(small_extent).collect();
    let data_type = whole.data_type;
    let layout = if whole.layout.is_row_major() {
        Layout::row_major(&shape)?
    } else {
        Layout::column_major(&shape)?
    };
    let bytes = layout.compact_bytes(data_type)?;
    let spec = TensorSpec { data_type, layout };
    let Some(offset) = offset else {
        let memory = HostMemory::zeroed(bytes, data_type.alignment())?;
        // SAFETY: the memory is initialized with zeros, which are valid for every element type.
        return Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?);
    };
    let memory = HostMemory::zeroed(offset + bytes, PAGE)?;
    let data = memory.as_ptr().wrapping_add(offset).cast();
    let owner = Owner::keep(memory);
    // SAFETY:
    // - The elements lie in `memory`, which has `bytes` zeroed bytes from `offset` on and which
    //   the owner keeps; zeros are valid for every element type.
    // - `HostMemory` is `Send`, and nobody else knows of it.
    let tensor =
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner) };
    Ok(tensor?)
}

/// The tensor with its axes such that the order it is written in is row-major.
pub(crate) fn in_written_order(tensor: ManagedTensor, order: Order) -> Outcome<ManagedTensor> {
    match order {
        Order::RowMajor => Ok(tensor),
        Order::ColumnMajor => {
            let axes = order.axes(tensor.shape().len());
            Ok(tensor.permuted(&axes)?)
        }
    }
}

/// Gives `take` the bytes of a tensor in row-major order; a tensor of any other order is copied
/// first, in room that is asked for.
pub(crate) fn bytes_of<T>(
    tensor: ManagedTensor,
    room: &Room,
    take: impl FnOnce(&[u8]) -> Outcome<T>,
) -> Outcome<T> {
    if !tensor.layout().is_row_major() {
        let asked = room.asked();
        let options = asked.options(Options::default().copy(CopyPolicy::Always));
        let packed: ManagedTensor = tensor.convert_to(options)?;
        return take(row_major_bytes(&packed)?);
    }
    take(row_major_bytes(&tensor)?)
}

/// The bytes of a tensor in row-major order.
pub(crate) fn row_major_bytes(tensor: &ManagedTensor) -> Outcome<&[u8]> {
    tensor.require_host()?;
    let bytes = tensor.layout().compact_bytes(tensor.data_type())?;
    if bytes == 0 {
        return Ok(&[]);
    }
    if !tensor.layout().is_row_major() {
        return Err(Failure::new(format!("the copy is not row-major: {:?}", tensor.layout())));
    }
    if tensor.data_type() == DataType::BOOL {
        // Checks that every byte is 0 or 1.
        tensor.as_slice::<bool>()?;
    }
    // SAFETY: the elements lie without gaps from the first on, in host memory, both checked; they
    // are initialized, and nobody writes them while the tensor is borrowed.
    Ok(unsafe { std::slice::from_raw_parts(tensor.first_element(), bytes) })
}
