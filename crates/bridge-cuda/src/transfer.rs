//! Copies between any two kinds of memory that CUDA knows.

use bridge_core::{Device, DeviceKind, Error, ManagedTensor, Result, TensorSpec};

use crate::gpu::{Gpu, Opened};
use crate::managed::managed;
use crate::pinned::pinned;
use crate::pointer;
use crate::{download, driver, gather, peer, upload};

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

/// The GPU that the tensor is on, checked; `None` where it is on the host.
pub(crate) fn on_gpu(tensor: &ManagedTensor) -> Result<Option<&'static Opened>> {
    let device = tensor.device();
    if device.kind().is_host_accessible() {
        return Ok(None);
    }
    if device.kind() != DeviceKind::Cuda {
        return Err(Error::Unsupported {
            what: format!("reading {device} with CUDA"),
            remedy: "move it to the host first".to_owned(),
        });
    }
    let gpu = driver::gpu(device)?.open()?;
    pointer::check(gpu, tensor)?;
    Ok(Some(gpu))
}

/// New memory for a copy of `tensor` that the CPU and the devices use.
fn host_target(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
    match to.kind() {
        DeviceKind::CudaManaged => managed(&spec, to.ordinal()),
        _ => pinned(&spec),
    }
}

/// Waits until host memory that a device may still write is ready.
pub(crate) fn settle(tensor: &ManagedTensor) -> Result<()> {
    if tensor.stream().is_none() {
        return Ok(());
    }
    let driver = driver::require()?;
    driver.gpus.iter().filter_map(Gpu::opened).try_for_each(Opened::synchronize)
}
