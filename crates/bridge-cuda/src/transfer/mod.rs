//! Copies between any two kinds of memory that CUDA knows.

pub(crate) mod download;
pub(crate) mod gather;
pub(crate) mod mapping;
pub(crate) mod peer;
mod pieces;
pub(crate) mod source;
pub(crate) mod staging;
mod staging_buffers;
pub(crate) mod upload;
pub(crate) mod working_memory;

use bridge_core::{Device, DeviceKind, Error, ManagedTensor, Result, TensorSpec};

use crate::driver;
use crate::memory::managed::managed;
use crate::memory::pinned::pinned;
use source::{on_gpu, settle};

/// Copies a tensor to another device, row-major.
pub(crate) fn transfer(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
    let from = tensor.device();
    let source = on_gpu(tensor)?;
    match (source, to.kind()) {
        (Some(from), DeviceKind::Cuda) => {
            let to = driver::gpu(to)?.open()?;
            if from.device() == to.device() {
                return gather::copied(tensor, from);
            }
            peer::copied(tensor, from, to)
        }
        (Some(from), DeviceKind::Cpu) => download::download(tensor, from),
        (Some(from), DeviceKind::CudaHost | DeviceKind::CudaManaged) => {
            let target = host_target(tensor, to)?;
            if !target.layout().is_empty() {
                // SAFETY: the new memory is pinned or managed, which the device writes directly, has
                // room for the row-major elements, and is nobody else's.
                unsafe { download::download_pinned(tensor, from, target.first_element()) }?;
            }
            Ok(target)
        }
        (None, DeviceKind::Cuda) => {
            let to = driver::gpu(to)?.open()?;
            settle(tensor)?;
            upload::upload(tensor, to)
        }
        (None, DeviceKind::Cpu) => {
            settle(tensor)?;
            bridge_host::to_row_major(tensor)
        }
        (None, DeviceKind::CudaHost | DeviceKind::CudaManaged) => {
            settle(tensor)?;
            let mut target = host_target(tensor, to)?;
            bridge_host::copy(tensor, &mut target)?;
            Ok(target)
        }
        _ => Err(Error::Unsupported {
            what: format!("moving memory from {from} to {to} with CUDA"),
            remedy: "move it to the host first".to_owned(),
        }),
    }
}

/// A row-major copy on the tensor's own device.
pub(crate) fn copied(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    match on_gpu(tensor)? {
        Some(gpu) => gather::copied(tensor, gpu),
        None => transfer(tensor, tensor.device()),
    }
}

/// New memory for a copy of `tensor` that the CPU and the devices use.
fn host_target(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
    match to.kind() {
        DeviceKind::CudaManaged => managed(&spec, to.ordinal()),
        _ => pinned(&spec),
    }
}
