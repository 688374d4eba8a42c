//! The error for a value that the new type cannot hold.

use bridge_core::{DataType, Error, HostMemory, ManagedTensor, Overflow, Result, TensorSpec};

use crate::gpu::Opened;
use crate::streams::home::{Home, wait_for};
use crate::transfer::download::{download, receive};
use crate::transfer::staging::Staging;

/// The error for the element at this index in row-major order.
pub(super) fn out_of_range(
    source: &ManagedTensor,
    gpu: &'static Opened,
    index: usize,
    to: DataType,
) -> Error {
    let from = source.data_type();
    let value = element(source, gpu, index)
        .map(|element| bridge_host::to_data_type(&element, to, Overflow::Refuse));
    match value {
        Ok(Err(Error::ValueOutOfRange { value, .. })) => {
            Error::ValueOutOfRange { index, value, from, to }
        }
        Ok(Err(error)) | Err(error) => error,
        Ok(Ok(_)) => Error::ValueOutOfRange { index, value: "out of range".to_owned(), from, to },
    }
}

/// A copy of one element, on the host.
fn element(source: &ManagedTensor, gpu: &'static Opened, index: usize) -> Result<ManagedTensor> {
    let data_type = source.data_type();
    let Some(item) = data_type.size_in_bytes() else {
        // Packed elements share bytes, and are few bits each: all of them are copied.
        let all = download(source, gpu)?;
        let wide = bridge_host::to_data_type(&all, DataType::F32, Overflow::Refuse)?;
        let value = wide.as_slice::<f32>()?[index];
        return Ok(ManagedTensor::from_vec(vec![value], &[])?);
    };
    let mut rest = index;
    let mut offset = 0;
    let axes = source.layout().shape().iter().zip(source.layout().strides());
    for (&extent, &stride) in axes.rev() {
        offset += (rest % extent).cast_signed() * stride;
        rest /= extent;
    }
    let first = source.first_element().addr().wrapping_add_signed(offset * item.cast_signed());
    let memory = HostMemory::allocate(item, data_type.alignment())?;
    let stream = gpu.streams.of_this_thread()?;
    let buffer = Staging::take(gpu, item)?;
    Home::of(source, gpu).around((gpu, &stream), || {
        let received = receive(gpu, &stream, first as u64, buffer.as_ptr(), item);
        let waited = wait_for(gpu, &stream);
        received.and(waited)
    })?;
    // SAFETY: the buffer holds the element, and the memory has room for it.
    unsafe { memory.as_ptr().copy_from_nonoverlapping(buffer.as_ptr(), item) };
    let spec = TensorSpec::row_major(data_type, &[])?;
    // SAFETY: the element has been written.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}
