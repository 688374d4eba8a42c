//! Tensors over files and buffers, and bytes of tensors: where the program touches raw memory.

use std::io::Read;

use arraybridge::{
    Access, Convert, CopyPolicy, Device, HostMemory, Layout, ManagedTensor, Options, Owner,
    TensorSpec,
};

use super::mapped_file::MappedFile;
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

/// A tensor in new memory, its elements read from `reader` in the order of `layout`, which has no
/// gaps.
pub(crate) fn read_tensor(reader: &mut impl Read, spec: TensorSpec) -> Outcome<ManagedTensor> {
    let bytes = spec.layout.compact_bytes(spec.data_type)?;
    let memory = HostMemory::zeroed(bytes, spec.data_type.alignment())?;
    // SAFETY: the memory has `bytes` bytes, zeroed, and nobody else knows of it.
    let buffer = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), bytes) };
    reader
        .read_exact(buffer)
        .map_err(|error| Failure::new("the elements cannot be read").why(error))?;
    // SAFETY: the memory is initialized.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}

/// A small tensor of zeros that stands for a large one in a plan: as dense, of `most` elements or a few
/// more, aligned as if it lay at `address` in a mapped file, or in memory of its own where there is no
/// address.
pub(super) fn stand_in(
    whole: &TensorSpec,
    most: usize,
    address: Option<usize>,
) -> Outcome<ManagedTensor> {
    /// No element type and no framework asks for more alignment.
    const PAGE: usize = 4096;
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
    let Some(address) = address else {
        let memory = HostMemory::zeroed(bytes, data_type.alignment())?;
        // SAFETY: the memory is initialized with zeros, which are valid for every element type.
        return Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?);
    };
    let offset = address % PAGE;
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
    if tensor.data_type() == arraybridge::DataType::BOOL {
        // Checks that every byte is 0 or 1.
        tensor.as_slice::<bool>()?;
    }
    // SAFETY: the elements lie without gaps from the first on, in host memory, both checked; they
    // are initialized, and nobody writes them while the tensor is borrowed.
    Ok(unsafe { std::slice::from_raw_parts(tensor.first_element(), bytes) })
}
