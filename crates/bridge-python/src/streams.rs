//! The order of work between a tensor on a GPU and the library that takes it.

use arraybridge::CudaArray;
use bridge_core::{
    ConsumerStream, DeviceKind, Error, ManagedTensor, Owner, Refused, Registry, Result,
};

use crate::frameworks::{Cupy, Jax, Torch};
use crate::object::{Exported, Object};

/// The tensor, for which the stream that a consumer names now waits, as DLPack asks of `__dlpack__(stream=…)`.
///
/// # Errors
///
/// For numbers that mean no stream, and where the driver cannot be told; the tensor comes back.
pub(crate) fn ready_for(
    tensor: ManagedTensor,
    stream: Option<i64>,
) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    if !matches!(tensor.device().kind(), DeviceKind::Cuda | DeviceKind::CudaManaged) {
        return Ok(tensor);
    }
    let consumer = match ConsumerStream::from_dlpack(stream) {
        Ok(consumer) => consumer,
        Err(error) => return Err(Refused::new(tensor, error)),
    };
    let (Some(home), Some(number)) = (tensor.stream(), consumer.number()) else {
        return Ok(tensor); // it is ready for everybody, or nothing shall wait
    };
    // The number 2 is another stream on each thread.
    if home.0.max(1) == number && number != 2 {
        return Ok(tensor);
    }
    if tensor.device().kind() == DeviceKind::CudaManaged {
        return match waited_for(&tensor) {
            Ok(()) => Ok(tensor),
            Err(error) => Err(Refused::new(tensor, error)),
        };
    }
    let array = CudaArray::from_tensor(tensor)?;
    // SAFETY: DLPack has consumers name streams that are of the tensor's device.
    match unsafe { array.ready_for(consumer) } {
        Ok(()) => Ok(array.into_tensor()),
        Err(error) => Err(Refused::new(array.into_tensor(), error)),
    }
}

fn waited_for(tensor: &ManagedTensor) -> Result<(), Error> {
    Registry::global()?.runtime(tensor.device())?.synchronize(tensor.device())
}

/// The tensor, whose memory is let go of only when the device has done all that it was given: nobody tells of the work
/// that a library submits to streams of its own and has not waited for when it drops its array, and what is freed in
/// the order of another stream is handed out again before.
///
/// Memory of another library is that library's to hand out again: it stays as it is.
pub(crate) fn fenced(tensor: ManagedTensor) -> ManagedTensor {
    if tensor.device().kind() != DeviceKind::Cuda || is_of_a_library(&tensor) {
        return tensor;
    }
    let (data, spec) = (tensor.data(), tensor.spec());
    let (device, access, stream) = (tensor.device(), tensor.access(), tensor.stream());
    let owner = Owner::keep(Fence(Some(tensor)));
    // SAFETY: all is as the tensor says, which the owner keeps and nobody else uses.
    let fenced = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) }
        .unwrap_or_else(|error| unreachable!("the parts of a tensor make one: {error:?}"));
    // SAFETY: it is ready when the tensor that it is made of was.
    unsafe { fenced.ready_on(stream) }
}

/// Whether the memory is kept by an array of a library of Python, as far as that is known.
pub(crate) fn is_of_a_library(tensor: &ManagedTensor) -> bool {
    tensor.is_kept_by::<Object<Cupy>>()
        || tensor.is_kept_by::<Exported<Cupy>>()
        || tensor.is_kept_by::<Object<Torch>>()
        || tensor.is_kept_by::<Exported<Torch>>()
        || tensor.is_kept_by::<Exported<Jax>>()
}

/// The tensor that [`fenced`] got, where a library has refused it.
pub(crate) fn unfenced(tensor: ManagedTensor) -> ManagedTensor {
    match tensor.into_owner::<Fence>() {
        Ok(mut fence) => fence.0.take().unwrap_or_else(|| unreachable!("it is emptied once")),
        Err(tensor) => tensor,
    }
}

/// What keeps a fenced tensor.
pub(crate) struct Fence(Option<ManagedTensor>);

impl Drop for Fence {
    fn drop(&mut self) {
        if let Some(tensor) = &self.0 {
            // A device that cannot be waited for does no work either.
            let _ = waited_for(tensor);
        }
    }
}
