//! From an array to a tensor of candle.

use std::sync::Arc;

use bridge_core::{DataType, Element, Error, Refused, Result};
use bridge_cuda::cudarc::driver::{CudaSlice, CudaStream};
use bridge_cuda::{ConsumerStream, CudaArray};
use candle_core::cuda_backend::CudaDType;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Storage, Tensor};
use half::{bf16, f16};

use crate::{driver_failed, ordinal, unsupported};

/// Makes an array a tensor of candle on `device`, without copying: its allocation changes its owner.
///
/// # Errors
///
/// Where the array is on another GPU than `device`, candle lacks the element type, or the memory is
/// not a whole allocation that bridge-cuda or cudarc made, without gaps (copy it first, with
/// `to_device`). The array comes back.
pub fn to_candle(array: CudaArray, device: &CudaDevice) -> Result<Tensor, Refused<CudaArray>> {
    let there = device.cuda_stream().context().ordinal();
    if ordinal(&array) != there {
        let what = format!("an array on {} as a tensor of candle on cuda:{there}", array.device());
        return Err(Refused::new(array, unsupported(what, "move it first, with `to_device`")));
    }
    match array.data_type() {
        DataType::U8 => moved::<u8>(array, device),
        DataType::U32 => moved::<u32>(array, device),
        DataType::I64 => moved::<i64>(array, device),
        DataType::BF16 => moved::<bf16>(array, device),
        DataType::F16 => moved::<f16>(array, device),
        DataType::F32 => moved::<f32>(array, device),
        DataType::F64 => moved::<f64>(array, device),
        DataType::F8E4M3FN => moved::<float8::F8E4M3>(array, device),
        data_type => {
            let supported = SUPPORTED.to_vec();
            let remedy = data_type.narrowest_holding(&supported);
            let error = Error::UnsupportedDataType {
                target: "candle on CUDA",
                data_type,
                supported,
                remedy,
            };
            Err(Refused::new(array, error))
        }
    }
}

/// The element types that change hands.
pub(crate) const SUPPORTED: &[DataType] = &[
    DataType::U8,
    DataType::U32,
    DataType::I64,
    DataType::BF16,
    DataType::F16,
    DataType::F32,
    DataType::F64,
    DataType::F8E4M3FN,
];

fn moved<T: Element + CudaDType>(
    array: CudaArray,
    device: &CudaDevice,
) -> Result<Tensor, Refused<CudaArray>> {
    let stream = device.cuda_stream();
    // All that can fail comes before the memory changes hands.
    if let Err(error) = ordered(&array, &stream) {
        return Err(Refused::new(array, error));
    }
    let shape = array.shape().to_vec();
    let slice = rehomed(array.into_slice::<T>()?, &stream);
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
}

/// Makes candle's stream wait for the array's data.
fn ordered(array: &CudaArray, stream: &CudaStream) -> Result<()> {
    let consumer = match stream.cu_stream().addr() as u64 {
        0 | 1 => ConsumerStream::Legacy,
        2 => ConsumerStream::PerThread,
        handle => ConsumerStream::Handle(handle),
    };
    // SAFETY: the stream is candle's, of the primary context of the array's device.
    unsafe { array.ready_for(consumer) }?;
    // Events that cannot be made would make cudarc panic.
    let event = || stream.context().new_event(None).map_err(driver_failed("make an event"));
    let both = (event()?, event()?);
    drop(both);
    Ok(())
}

/// The slice with candle's stream as its own: candle frees in that order, and does not make the
/// stream wait for others where its event tracking is off.
fn rehomed<T>(slice: CudaSlice<T>, stream: &Arc<CudaStream>) -> CudaSlice<T> {
    let length = slice.len();
    let address = slice.leak();
    // SAFETY: the allocation was the slice's, which has given it up, with room for `length` elements;
    // they are initialized in the order of candle's stream, which waits for the array's.
    unsafe { stream.upgrade_device_ptr(address, length) }
}
