//! Pinned and managed memory, used in place by a GPU: it has the same address there.

use std::any::TypeId;

use bridge_core::{Description, Device, DeviceKind, Error, ManagedTensor, Mapping, Owner, Refused};
use cudarc::driver::sys::CUdevice_attribute;

use super::source::settle;
use crate::driver;
use crate::gpu::Gpu;
use crate::streams::home::Home;

/// The owner of host memory that a GPU uses.
pub(crate) struct Mapped(ManagedTensor);

/// Whether memory so described can be used on device `to`.
pub(crate) fn mapping(found: &Description, to: Device) -> Mapping {
    let from = found.device;
    if from.kind() == DeviceKind::Cuda {
        // Only what came from the host goes back there.
        let came_from_host = found.owner == Some(TypeId::of::<Mapped>());
        let goes_back = came_from_host && to.kind().is_host_accessible();
        return if goes_back { Mapping::Possible } else { Mapping::Never };
    }
    let Ok(gpu) = driver::gpu(to) else { return Mapping::Never };
    match declined(found, gpu) {
        None => Mapping::Never,
        Some(None) => Mapping::Possible,
        Some(Some(reason)) => Mapping::Declined(reason),
    }
}

/// `None` where a GPU never uses such memory in place; else why it cannot use this, if it cannot.
fn declined(found: &Description, gpu: &Gpu) -> Option<Option<String>> {
    use CUdevice_attribute as A;
    let (attribute, name) = match found.device.kind() {
        DeviceKind::CudaHost => (A::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, "pinned memory"),
        DeviceKind::CudaManaged => (
            A::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
            "managed memory that the CPU may use at the same time",
        ),
        _ => return None,
    };
    if gpu.attribute(attribute) == 0 {
        return Some(Some(format!("{} cannot use {name} in place", gpu.device())));
    }
    let needed = found.data_type.alignment();
    if found.alignment < needed && !found.layout.is_empty() {
        return Some(Some(format!("the data is not aligned to {needed} bytes")));
    }
    Some(None)
}

/// A tensor on `to` of the same memory. On the way back to the host, its work is waited for.
pub(crate) fn map(
    tensor: ManagedTensor,
    to: Device,
) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    if mapping(&tensor.describe(), to) != Mapping::Possible {
        let error = Error::Unsupported {
            what: format!("using memory of {} in place on {to}", tensor.device()),
            remedy: "let it be copied (CopyPolicy::IfNeeded)".to_owned(),
        };
        return Err(Refused::new(tensor, error));
    }
    if tensor.device().kind() == DeviceKind::Cuda {
        return back(tensor, to);
    }
    // A stream of host memory need not be one of this GPU.
    match settle(&tensor) {
        Ok(()) => renamed(tensor, to),
        Err(error) => Err(Refused::new(tensor, error)),
    }
}

fn back(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    let waited = driver::gpu(tensor.device())
        .and_then(Gpu::open)
        .and_then(|gpu| Home::of(&tensor, gpu).wait());
    if let Err(error) = waited {
        return Err(Refused::new(tensor, error));
    }
    match tensor.into_owner::<Mapped>() {
        Ok(Mapped(original)) if original.device() == to => Ok(original),
        Ok(Mapped(original)) => renamed(original, to),
        Err(tensor) => {
            let error = Error::Unsupported {
                what: "taking host memory back from a GPU".to_owned(),
                remedy: "hand over the array that the memory was mapped to, not a view of it, or let it \
                         be copied (CopyPolicy::IfNeeded)"
                    .to_owned(),
            };
            Err(Refused::new(tensor, error))
        }
    }
}

/// The same memory as a tensor of another device.
fn renamed(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    let (data, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
    // SAFETY: the memory is that of `tensor`, which the owner keeps, with its layout and access.
    // Pinned and managed memory has one address on the host and on every GPU.
    let mapped =
        unsafe { ManagedTensor::from_parts(data, spec, to, access, Owner::keep(Mapped(tensor))) };
    mapped.map_err(|refused| {
        let (owner, error) = refused.into_parts();
        match owner.into_kept::<Mapped>() {
            Ok(Mapped(tensor)) => Refused::new(tensor, error),
            Err(_) => unreachable!("the owner was made of this tensor"),
        }
    })
}
