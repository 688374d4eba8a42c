//! The fake device that shares its memory with the host.

use bridge_core::{Device, DeviceKind, Error, ManagedTensor, Mapping, Owner, Ownership, Refused};

use super::block::host_copy;
use super::faults;

/// The device that shares its memory with the host.
pub const UNIFIED: Device = Device::new(DeviceKind::Extension, 2);

/// The alignment of the memory that it takes in place, in bytes.
const ALIGNMENT: usize = 16;

pub(super) fn mapping(from: Device, alignment: usize, to: Device) -> Mapping {
    let on_host = |device: Device| device.kind().is_host_accessible();
    if !(on_host(from) && to == UNIFIED || from == UNIFIED && on_host(to)) {
        Mapping::Never
    } else if alignment < ALIGNMENT {
        Mapping::Declined(format!("data aligned to {alignment} bytes, not to {ALIGNMENT}"))
    } else {
        Mapping::Possible
    }
}

fn copied(tensor: ManagedTensor) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    host_copy(&tensor).map_err(|error| Refused::new(tensor, error))
}

/// What the unified device uses in place.
struct Mapped(ManagedTensor);

pub(super) fn map(
    tensor: ManagedTensor,
    to: Device,
) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    if faults::refuses_maps() {
        let error = Error::Framework {
            backend: "fake-accelerator",
            operation: "use memory in place",
            message: "told to refuse".to_owned(),
        };
        return Err(Refused::new(tensor, error));
    }
    let tensor = match tensor.into_owner::<Mapped>() {
        Ok(Mapped(original)) if original.device() == to => return Ok(original),
        Ok(Mapped(other)) => other,
        Err(tensor) => tensor,
    };
    let tensor = if faults::copies_maps() { copied(tensor)? } else { tensor };
    let (data, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
    let owner = match tensor.describe().ownership {
        Ownership::Movable => Owner::keep_vector(Mapped(tensor)),
        Ownership::Kept => Owner::keep(Mapped(tensor)),
    };
    // SAFETY: the memory is that of `tensor`, which the owner keeps, with its layout and access. It
    // is host memory on either side: the device is a fake.
    let mapped = unsafe { ManagedTensor::from_parts(data, spec, to, access, owner) };
    mapped.map_err(|refused| {
        let (owner, error) = refused.into_parts();
        match owner.into_kept::<Mapped>() {
            Ok(Mapped(tensor)) => Refused::new(tensor, error),
            Err(_) => unreachable!("it is what the tensor was made with"),
        }
    })
}
