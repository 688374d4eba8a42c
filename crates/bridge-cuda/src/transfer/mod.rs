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

use bridge_core::{
    Access, Device, DeviceKind, Error, ManagedTensor, Result, TensorError, TensorSpec,
};

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

/// Whether [`write`] goes from the one device to the other: to memory of the host. A device's own memory is
/// its driver's, which keeps it.
pub(crate) fn writes(from: Device, to: Device) -> bool {
    let is_known = |device: Device| device.kind().driver_kind() == DeviceKind::Cuda;
    let to_host = to.kind().is_host_accessible();
    to_host && (is_known(from) || is_known(to)) && (is_known(to) || to == Device::CPU)
}

/// Copies a tensor to memory of the host that is there: row-major, nobody else's and not read before.
pub(crate) fn write(tensor: &ManagedTensor, mut target: ManagedTensor) -> Result<ManagedTensor> {
    let alike = (tensor.data_type(), tensor.shape()) == (target.data_type(), target.shape());
    let is_whole = target.layout().is_row_major() && target.access() == Access::Exclusive;
    target.require_host()?;
    if !alike || !is_whole {
        let reason = format!("CUDA cannot write {tensor:?} to {target:?}");
        return Err(TensorError::InvalidTensor { reason }.into());
    }
    match on_gpu(tensor)? {
        _ if target.layout().is_empty() => {}
        // SAFETY: the target has room for the row-major elements in memory that nobody else uses: its access
        // is exclusive, and it has been handed over. Where its device is not the host, it is pinned or
        // managed, which the device writes directly.
        Some(from) => unsafe {
            match target.device().kind() {
                DeviceKind::Cpu => download::download_to(tensor, from, target.first_element()),
                _ => download::download_pinned(tensor, from, target.first_element()),
            }
        }?,
        None => {
            settle(tensor)?;
            bridge_host::copy(tensor, &mut target)?;
        }
    }
    Ok(target)
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
