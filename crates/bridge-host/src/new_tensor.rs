//! New host tensors: allocated, copied to row-major order, or cast.

use bridge_core::{
    DataType, Device, HostMemory, ManagedTensor, MemorySource, Options, Overflow, PIECE_BYTES,
    Result, TensorSpec, write_in_pieces,
};

use crate::cast::Rule;
use crate::host_kernels;
use crate::strided_copy::Target;

/// Allocates host memory for `spec`, aligned to `alignment` bytes and filled with zeros.
///
/// The memory can become a `Vec` without a copy only where `alignment` is
/// `spec.data_type.alignment()`.
///
/// # Errors
///
/// As [`Layout::span`](bridge_core::Layout::span) and [`HostMemory::zeroed`], and
/// [`TensorError::InvalidTensor`](bridge_core::TensorError) where a negative
/// stride of `spec` leads to before the start of the memory.
pub fn zeroed(spec: &TensorSpec, alignment: usize) -> Result<ManagedTensor> {
    let memory = HostMemory::zeroed(bytes_of(spec)?, alignment)?;
    // SAFETY: all bytes are zero, which is initialized and a valid value of every element type.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }?)
}

/// Allocates host memory for `spec`, aligned to `alignment` bytes and not initialized.
///
/// # Errors
///
/// As [`zeroed`].
///
/// # Safety
///
/// Every element must be written, through [`ManagedTensor::first_element`] or
/// [`copy_strided`](crate::copy_strided), before anything reads it; a tensor that safe code can
/// reach has all of them written.
pub unsafe fn allocate(spec: &TensorSpec, alignment: usize) -> Result<ManagedTensor> {
    let memory = HostMemory::allocate(bytes_of(spec)?, alignment)?;
    // SAFETY: the caller promises that the elements are written before they are read.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }?)
}

/// Copies a host tensor into new memory in row-major order.
///
/// The new tensor can become a `Vec` without another copy.
///
/// # Errors
///
/// [`Error::Unsupported`](bridge_core::Error::Unsupported) where `source` is not in host memory,
/// [`TensorError::InvalidTensor`](bridge_core::TensorError::InvalidTensor) where booleans are bytes other than 0
/// and 1, and as [`HostMemory::allocate`].
pub fn to_row_major(source: &ManagedTensor) -> Result<ManagedTensor> {
    source.require_host()?;
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    // SAFETY: the copy below writes every element, or fails and nothing is returned.
    let mut target = unsafe { allocate(&spec, spec.data_type.alignment()) }?;
    host_kernels::copy_to(source, &mut target, Target::New)?;
    Ok(target)
}

/// Casts a host tensor into new memory in row-major order.
///
/// The new tensor can become a `Vec` without another copy.
///
/// # Errors
///
/// As [`cast`](crate::cast) and [`HostMemory::allocate`].
pub fn to_data_type(
    source: &ManagedTensor,
    data_type: DataType,
    overflow: Overflow,
) -> Result<ManagedTensor> {
    to_data_type_with(source, data_type, overflow, &Options::default())
}

/// As [`to_data_type`], with the pool and the interrupt of `options`: the tensor lies in the pool's memory, where it
/// [gives](MemorySource::gives) any of the host, and the interrupt is asked after every 64 MiB or so. Nothing else of
/// the options counts.
///
/// # Errors
///
/// As [`to_data_type`], as the pool's [`take`](MemorySource::take), and what the interrupt says.
pub fn to_data_type_with(
    source: &ManagedTensor,
    data_type: DataType,
    overflow: Overflow,
    options: &Options<'_>,
) -> Result<ManagedTensor> {
    to_data_type_by(source, data_type, overflow.into(), options)
}

/// As [`to_data_type_with`] under [`Overflow::Saturate`], but in a float finite numbers stay finite: what is too large
/// becomes the largest finite value. Infinities stay infinite, and become NaN where the type has none, and NaN stays.
///
/// ```
/// use bridge_core::{DataType, ManagedTensor, Options};
///
/// let wide = ManagedTensor::from_vec(vec![1e300, f64::INFINITY], &[2])?;
/// let single = bridge_host::saturate(&wide, DataType::F32, &Options::default())?;
/// assert_eq!(single.as_slice::<f32>()?, [f32::MAX, f32::INFINITY]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
///
/// # Errors
///
/// As [`to_data_type_with`].
pub fn saturate(
    source: &ManagedTensor,
    data_type: DataType,
    options: &Options<'_>,
) -> Result<ManagedTensor> {
    to_data_type_by(source, data_type, Rule::KeepFinite, options)
}

fn to_data_type_by(
    source: &ManagedTensor,
    data_type: DataType,
    rule: Rule,
    options: &Options<'_>,
) -> Result<ManagedTensor> {
    source.require_host()?;
    let spec = TensorSpec::row_major(data_type, source.shape())?;
    // SAFETY: the casts below write every element, or one fails and nothing is returned.
    let target = unsafe { allocate_in(options.memory_source(), &spec) }?;
    write_in_pieces(source, target, options.interrupt(), PIECE_BYTES, |from, to| {
        host_kernels::cast_by(from, to, rule)
    })
}

/// As [`allocate`], aligned as elements are, from `pool` where it gives such memory.
///
/// # Errors
///
/// As [`allocate`], and as [`MemorySource::take`].
///
/// # Safety
///
/// As [`allocate`].
pub(crate) unsafe fn allocate_in(
    pool: Option<&dyn MemorySource>,
    spec: &TensorSpec,
) -> Result<ManagedTensor> {
    let alignment = spec.data_type.alignment();
    let gives = |pool: &&dyn MemorySource| pool.gives(Device::CPU, alignment);
    // SAFETY: the caller promises the same.
    unsafe {
        match pool.filter(gives).filter(|_| !spec.layout.is_empty()) {
            Some(pool) => pool.take_checked(spec, Device::CPU, alignment),
            None => allocate(spec, alignment),
        }
    }
}

/// Bytes from the data pointer to the end of the elements.
fn bytes_of(spec: &TensorSpec) -> Result<usize> {
    let span = spec.layout.span(spec.data_type)?;
    Ok(spec.layout.byte_offset().saturating_add_signed(span.end))
}
