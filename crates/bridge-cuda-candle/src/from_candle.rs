//! From a tensor of candle to an array.

use bridge_core::{Access, DataType, Device, Layout, ManagedTensor, Owner, Refused, Result, Stream, Strides, TensorSpec};
use bridge_cuda::CudaArray;
use bridge_cuda::cudarc::driver::{CudaStream, DevicePtr};
use candle_core::cuda_backend::CudaStorageSlice as Slice;
use candle_core::{DType, Storage, Tensor};

use crate::unsupported;

/// Makes a tensor of candle on CUDA an array over the same memory, read-only: candle's in-place
/// operations may still write to it behind any other holder's back.
///
/// # Errors
///
/// Where the tensor is not on CUDA, or of an element type that candle alone has. It comes back.
pub fn from_candle(tensor: Tensor) -> Result<CudaArray, Refused<Tensor>> {
    let (first, spec, device, ready) = match parts(&tensor) {
        Ok(parts) => parts,
        Err(error) => return Err(Refused::new(tensor, error)),
    };
    let owner = Owner::keep(tensor);
    let back = |owner: Owner| match owner.into_kept::<Tensor>() {
        Ok(tensor) => tensor,
        Err(_) => unreachable!("the owner was made of this tensor"),
    };
    // SAFETY:
    // - The layout is the tensor's own: its elements lie in the storage, which the tensor keeps.
    // - candle's tensors are `Send` and `Sync`.
    // - Access is read-only; in-place operations on other handles are excluded by the contract on
    //   `bridge_core`'s front page.
    // - The data is ready in candle's stream, which the tensor's device keeps.
    let made = unsafe {
        ManagedTensor::from_parts(first as *mut _, spec, device, Access::ReadOnly, owner)
            .map(|made| made.ready_on(Some(ready)))
    };
    let made = made.map_err(|refused| refused.map(back))?;
    CudaArray::from_tensor(made).map_err(|refused| {
        refused.map(|made| match made.into_owner::<Tensor>() {
            Ok(tensor) => tensor,
            Err(_) => unreachable!("the owner was made of this tensor"),
        })
    })
}

fn parts(tensor: &Tensor) -> Result<(u64, TensorSpec, Device, Stream)> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        let what = format!("a candle tensor on {:?} as a CUDA array", tensor.device().location());
        return Err(unsupported(what, "move it first, with `to_device`"));
    };
    let stream = storage.device.cuda_stream();
    let (data_type, start) = match &storage.slice {
        Slice::U8(slice) => (DataType::U8, address(slice, &stream)),
        Slice::U32(slice) => (DataType::U32, address(slice, &stream)),
        Slice::I64(slice) => (DataType::I64, address(slice, &stream)),
        Slice::BF16(slice) => (DataType::BF16, address(slice, &stream)),
        Slice::F16(slice) => (DataType::F16, address(slice, &stream)),
        Slice::F32(slice) => (DataType::F32, address(slice, &stream)),
        Slice::F64(slice) => (DataType::F64, address(slice, &stream)),
        Slice::F8E4M3(slice) => (DataType::F8E4M3FN, address(slice, &stream)),
        _ => return Err(other_type(tensor.dtype())),
    };
    let strides: Strides = layout.stride().iter().map(|stride| stride.cast_signed()).collect();
    let strided = Layout::new(layout.dims(), &strides, 0)?;
    strided.span(data_type)?;
    let item = data_type.size_in_bytes().unwrap_or(1);
    let first = start + (layout.start_offset() * item) as u64;
    let ordinal = u32::try_from(stream.context().ordinal()).unwrap_or(u32::MAX);
    let ready = match stream.cu_stream().addr() as u64 {
        0 => Stream(1),
        handle => Stream(handle),
    };
    Ok((first, TensorSpec { data_type, layout: strided }, Device::cuda(ordinal), ready))
}

/// The slice's address, whose writes `stream` waits for.
fn address<T>(slice: &impl DevicePtr<T>, stream: &CudaStream) -> u64 {
    let (address, used) = slice.device_ptr(stream);
    drop(used);
    address
}

fn other_type(dtype: DType) -> bridge_core::Error {
    unsupported(
        format!("candle's element type {dtype:?} on CUDA as a CUDA array"),
        "convert it to another type in candle first, with to_dtype()",
    )
}
