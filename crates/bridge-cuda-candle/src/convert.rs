//! The converter from `cuda` to `candle`.

use std::any::TypeId;
use std::sync::{Mutex, PoisonError};

use bridge_core::{
    Access, Array, Converter, CopyPolicy, Description, DeviceBytes, DeviceKind, Options, Ownership, Refused, Result,
};
use bridge_cpu::candle::Candle;
use bridge_cuda::CudaArray;
use candle_core::{CudaDevice, Tensor};

use crate::to_candle::{SUPPORTED, to_candle};
use crate::{failed, unsupported};

/// Gives a device array's allocation to candle: the tensor stays on the GPU.
///
/// Without it, a conversion from `cuda` to `candle` downloads, since candle's array type in the
/// registry is that on the CPU.
#[derive(Debug, Clone, Copy)]
pub struct TakeSlice;

/// candle's devices by their ordinals, as [`use_device`] was told.
static DEVICES: Mutex<Vec<CudaDevice>> = Mutex::new(Vec::new());

/// Says on which of candle's devices conversions through the registry make their tensors; the last
/// one said for a GPU counts.
///
/// # Errors
///
/// Where the device cannot be waited for.
pub fn use_device(device: &CudaDevice) -> Result<()> {
    candle_core::backend::BackendDevice::synchronize(device).map_err(failed("use a device"))?;
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    devices.retain(|other| ordinal(other) != ordinal(device));
    devices.push(device.clone());
    Ok(())
}

fn ordinal(device: &CudaDevice) -> usize {
    device.cuda_stream().context().ordinal()
}

fn device(ordinal_asked: usize) -> Option<CudaDevice> {
    let devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    devices.iter().find(|device| ordinal(device) == ordinal_asked).cloned()
}

impl Converter for TakeSlice {
    fn source(&self) -> &'static str {
        "cuda"
    }

    fn target(&self) -> &'static str {
        "candle"
    }

    fn target_type(&self) -> TypeId {
        TypeId::of::<Tensor>()
    }

    fn name(&self) -> &'static str {
        "take the slice"
    }

    fn applies(&self, source: &Description, options: &Options) -> bool {
        source.device.kind() == DeviceKind::Cuda
            && source.access == Access::Exclusive
            && source.ownership == Ownership::Kept
            && source.layout.is_row_major()
            && SUPPORTED.contains(&source.data_type)
            && options.copy_policy() != CopyPolicy::Always
            && options.device().is_none_or(|device| device == source.device)
            && options.data_type().is_none_or(|data_type| data_type == source.data_type)
            && device(source.device.ordinal() as usize).is_some()
    }

    /// Nothing: the memory changes its owner.
    fn peaks(&self, _: &Description, _: DeviceBytes) -> Vec<DeviceBytes> {
        Vec::new()
    }

    fn convert(&self, array: Array, _options: &Options) -> Result<Array, Refused<Array>> {
        let array: CudaArray = array.downcast()?;
        let Some(device) = device(array.device().ordinal() as usize) else {
            let what = format!("candle on {}", array.device());
            let error = unsupported(what, "name candle's device first, with `use_device`");
            return Err(Refused::new(Array::new(array), error));
        };
        match to_candle(array, &device) {
            Ok(tensor) => Ok(Array::new::<Tensor, Candle>(tensor)),
            Err(refused) => Err(refused.map(Array::new)),
        }
    }
}
