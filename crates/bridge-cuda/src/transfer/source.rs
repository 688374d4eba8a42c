//! A tensor that is about to be read: where it is, and whether it is ready.

use bridge_core::{DeviceKind, Error, ManagedTensor, Result};

use crate::driver::{self, pointer};
use crate::gpu::{Gpu, Opened};

/// The GPU that the tensor is on, its memory checked; `None` where it is on the host.
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

/// Waits until host memory that a device may still write is ready.
pub(crate) fn settle(tensor: &ManagedTensor) -> Result<()> {
    if tensor.stream().is_none() {
        return Ok(());
    }
    let driver = driver::require()?;
    driver.gpus.iter().filter_map(Gpu::opened).try_for_each(|gpu| gpu.synchronize())
}
