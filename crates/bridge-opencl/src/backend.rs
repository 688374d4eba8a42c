//! The backend.

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Description, Descriptor, Detail, Device,
    DeviceBytes, DeviceKind, DeviceMemory, Error, Holdings, ManagedTensor, Mapping, NativeArray,
    NativeType, Overflow, Refused, Result, Runtime, TensorSpec,
};

use opencl3::error_codes::ClError;

use crate::array::ClArray;
use crate::compute;
use crate::details::details;
use crate::device::ClDevice;
use crate::discovery::{Found, found, in_use};
use crate::enqueue::After;
use crate::in_place;
use crate::memory::Filled;
use crate::queue::ClQueue;
use crate::region::Region;
use crate::status::{NAME, is_out_of_memory};
use crate::streams;
use crate::working_memory;
use crate::writing::{self, downloaded};

/// The backend for OpenCL.
#[derive(Debug, Clone, Copy)]
pub struct OpenCl;

static DESCRIPTOR: Descriptor =
    Descriptor { name: NAME, aliases: &["cl", "opencl3"], framework: "opencl3 0.12", priority: 50 };

static NATIVE_TYPES: &[NativeType] = &[NativeType::of::<ClArray, OpenCl>()];

impl Backend for OpenCl {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        match found() {
            Found::Devices(devices) => {
                let devices: Vec<Device> = devices.iter().map(ClDevice::device).collect();
                Availability::Ready { devices: Cow::Owned(devices) }
            }
            Found::Nothing(why) => Availability::Unavailable(why.clone()),
        }
    }

    fn native_types(&self) -> &'static [NativeType] {
        NATIVE_TYPES
    }

    /// By the status of opencl3's error: no memory for an object, resources, or host memory.
    fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        error.downcast_ref::<ClError>().is_some_and(|error| is_out_of_memory(error.0))
    }

    fn details(&self) -> Vec<Detail> {
        details()
    }
}

// SAFETY: `synchronize` finishes every queue of the device. `write` returns the target where the download, which
// it waits for, has written every element, or, on a device, where the commands that do have been given out or are
// done: its stream leads to the last.
unsafe impl Runtime for OpenCl {
    fn backend(&self) -> &'static dyn Backend {
        &OpenCl
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::OpenCl]
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        in_place::mapping(found, to)
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        in_place::map(tensor, to)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        let from_host = tensor.device().kind().is_host_accessible();
        match (from_host, to.kind()) {
            (true, DeviceKind::OpenCl) => {
                exported(ClArray::upload(&ClDevice::of(to)?.queue()?, tensor)?)
            }
            (true, DeviceKind::Cpu) => bridge_host::to_row_major(tensor),
            (false, DeviceKind::Cpu) => downloaded(tensor),
            (false, DeviceKind::OpenCl) if tensor.device() == to => self.copy(tensor),
            // Two devices have two contexts, between which OpenCL moves nothing.
            (false, DeviceKind::OpenCl) => {
                let queue = ClDevice::of(to)?.queue()?;
                exported(ClArray::upload(&queue, &downloaded(tensor)?)?)
            }
            _ => Err(Error::Unsupported {
                what: format!("moving memory from {} to {to} with OpenCL", tensor.device()),
                remedy: "move it to the host first, with Options::default().on(Device::CPU)"
                    .to_owned(),
            }),
        }
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        made_of(tensor, tensor.data_type(), compute::copied)
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        made_of(tensor, to, |region, after| compute::cast(region, to, overflow, after))
    }

    fn working_memory(
        &self,
        found: &Description,
        data_type: DataType,
        to: Device,
        overflow: Overflow,
    ) -> Vec<DeviceBytes> {
        working_memory::working_memory(found, data_type, to, overflow)
    }

    fn writes(&self, _: DataType, from: Device, to: Device) -> bool {
        writing::writes(from, to)
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        writing::write(tensor, target)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        ClQueue::finish_all_of(ClDevice::of(device)?)
    }
}

impl Allocator for OpenCl {
    fn backend(&self) -> &'static dyn Backend {
        &OpenCl
    }

    fn holds(&self, device: Device) -> bool {
        // Whether another kind of memory is held must not load OpenCL.
        device.kind() == DeviceKind::OpenCl && ClDevice::of(device).is_ok()
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let queue = ClDevice::of(device)?.queue()?;
        exported(ClArray::zeros_of(&queue, spec.clone())?)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        ClDevice::of(device).map(ClDevice::memory)
    }

    /// Nothing is cached.
    fn trim(&self, device: Device) -> Result<u64> {
        ClDevice::of(device).map(|_| 0)
    }

    /// The buffers that arraybridge allocated. Nothing is loaded for the answer: a device that has
    /// not been asked for holds nothing.
    fn holdings(&self, device: Device) -> Result<Option<Holdings>> {
        if device.kind() != DeviceKind::OpenCl {
            return Ok(None);
        }
        let in_use = in_use(device).map_or(0, ClDevice::held);
        Ok(Some(Holdings { in_use, cached: 0 }))
    }
}

/// What a command makes of a borrowed tensor, on its device. The command is waited for: the source
/// is given back when the call returns, and may then be written or freed.
fn made_of(
    tensor: &ManagedTensor,
    data_type: DataType,
    make: impl FnOnce(&Region<'_>, After<'_>) -> Result<Filled>,
) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(data_type, tensor.shape())?;
    let region = Region::of(tensor)?;
    let device = ClDevice::of(tensor.device())?;
    let (queue, last) = streams::ready(tensor.stream(), device)?;
    let made = match &region {
        Some(region) => Some(make(region, After { queue: &queue, events: last.as_slice() })?),
        None => None,
    };
    let array = ClArray::over(&queue, made, spec)?;
    array.wait()?;
    exported(array)
}

pub(crate) fn exported(array: ClArray) -> Result<ManagedTensor> {
    Ok(array.export()?)
}
