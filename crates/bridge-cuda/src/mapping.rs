//! Pinned and managed memory, used by a GPU where it lies: it has the same address there.

use std::any::TypeId;

use bridge_core::{Description, Device, DeviceKind, Error, ManagedTensor, Mapping, Owner, Refused};
use cudarc::driver::sys::CUdevice_attribute;

use crate::driver;
use crate::gpu::Gpu;
use crate::home::Home;
use crate::transfer::settle;

/// Host memory that a GPU uses.
pub(crate) struct Mapped(ManagedTensor);

/// Whether memory so described can be used on device `to`.
pub(crate) fn mapping(found: &Description, to: Device) -> Mapping {
    let from = found.device;
    if from.kind() == DeviceKind::Cuda {
        // Back to the host goes only what came from there.
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

/// `None` where the memory is not shared; else why it cannot be used all the same.
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
        return Some(Some(format!("the data is not on a border of {needed} bytes")));
    }
    Some(None)
}

/// Makes a tensor on `to` of the same memory. Back on the host, it is waited for.
pub(crate) fn map(
    tensor: ManagedTensor,
    to: Device,
) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    if mapping(&tensor.describe(), to) != Mapping::Possible {
        let error = Error::Unsupported {
            what: format!("using memory of {} on {to} where it lies", tensor.device()),
            remedy: "let it be copied (CopyPolicy::IfNeeded)".to_owned(),
        };
        return Err(Refused::new(tensor, error));
    }
    if tensor.device().kind() == DeviceKind::Cuda {
        return back(tensor, to);
    }
    // A stream of host memory need not be one of this GPU.
    match settle(&tensor) {
        Ok(()) => under(tensor, to),
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
        Ok(Mapped(original)) => under(original, to),
        Err(tensor) => {
            let error = Error::Unsupported {
                what: "taking host memory back from a GPU".to_owned(),
                remedy: "hand over the array that was made of it, not a view of it".to_owned(),
            };
            Err(Refused::new(tensor, error))
        }
    }
}

/// The same memory under the name of another device.
fn under(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
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
