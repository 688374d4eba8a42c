//! A device that is none: memory of an accelerator, held in host buffers, for testing routes over
//! devices without hardware.
//!
//! [`FakeAccelerator`] has three devices of kind [`DeviceKind::Extension`], "extension:0" to
//! "extension:2". `bridge-core` takes their memory for a device's, so every way to and from it is a
//! transfer: upload, download, peer copy, copy and cast on the device. The last one, [`UNIFIED`],
//! shares its memory with the host and uses tensors in place that are aligned to 16 bytes.
//! What was done is counted and what it shall fail at is set [for one thread](Faults), so that
//! tests run side by side.
//!
//! It is not in the registry; a test makes one with it:
//!
//! ```
//! use bridge_convert::ConvertByName;
//! use bridge_core::{Array, DataType, Device, DeviceKind, Options, Registration, Registry};
//! use bridge_testkit::fake_accelerator::{self, Faults};
//!
//! let tools = [Registration::host_tools(&bridge_host::HostKernels)];
//! let registry = Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(tools));
//! let array = Array::new(bridge_core::ManagedTensor::from_vec(vec![1_u8, 2, 3], &[3])?);
//! let failing = Faults::out_of_memory_at(0).install();
//! let refused = registry.convert(array, "fake-accelerator", Options::default()).unwrap_err();
//! drop(failing);
//! let array = refused.into_value(); // unharmed
//! assert!(registry.convert(array, "fake-accelerator", Options::default()).is_ok());
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod array;
mod block;
mod faults;
mod unified;

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Description, Descriptor, Device, DeviceKind,
    DeviceMemory, Error, ManagedTensor, Mapping, NativeType, Overflow, Refused, Registration,
    Result, Runtime, TensorSpec,
};

pub use array::FakeArray;
pub use faults::{Faults, FaultsInstalled, Transfers, transfers};
pub use unified::UNIFIED;

use block::{DeviceBlock, MEMORY, live_bytes};

/// The backend of the fake devices.
#[derive(Debug, Clone, Copy)]
pub struct FakeAccelerator;

/// What a test's registry is made of, to have it.
pub const REGISTRATIONS: &[Registration] = &[
    Registration::backend(&FakeAccelerator),
    Registration::runtime(&FakeAccelerator),
    Registration::allocator(&FakeAccelerator),
];

/// The fake devices.
pub const DEVICES: &[Device] =
    &[Device::new(DeviceKind::Extension, 0), Device::new(DeviceKind::Extension, 1), UNIFIED];

static DESCRIPTOR: Descriptor = Descriptor {
    name: "fake-accelerator",
    aliases: &["fake"],
    framework: "no framework: bridge-testkit's fake accelerator",
    priority: -1000,
};

impl Backend for FakeAccelerator {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(DEVICES) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<FakeArray, FakeAccelerator>()] }
    }
}

// SAFETY: the fake device works at once.
unsafe impl Runtime for FakeAccelerator {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        unified::mapping(found.device, found.alignment, to)
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        unified::map(tensor, to)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        self.copied_to(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        self.copied_to(tensor, tensor.device())
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        let on_host = block::host_copy(tensor)?;
        let cast = bridge_host::to_data_type(&on_host, to, overflow)?;
        DeviceBlock::filled(&cast, existing(tensor.device())?)
    }

    fn downloads_vectors(&self) -> bool {
        !faults::pins_downloads()
    }

    fn writes(&self, _: DataType, from: Device, to: Device) -> bool {
        let known = |device: Device| device == Device::CPU || DEVICES.contains(&device);
        // What it pins, it allocates.
        known(from) && known(to) && !(to == Device::CPU && faults::pins_downloads())
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        block::write(tensor, &target)?;
        faults::count(tensor.device(), target.device());
        Ok(target)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        existing(device).map(drop)
    }
}

impl Allocator for FakeAccelerator {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        DEVICES.contains(&device)
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let compact = TensorSpec::row_major(spec.data_type, spec.layout.shape())?;
        if device.kind() == DeviceKind::Cpu {
            return bridge_host::zeroed(&compact, compact.data_type.alignment());
        }
        DeviceBlock::allocate(&compact, existing(device)?)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        let live = live_bytes(existing(device)?);
        Ok(DeviceMemory { total: MEMORY, free: MEMORY.saturating_sub(live) })
    }

    /// Nothing is cached.
    fn trim(&self, device: Device) -> Result<u64> {
        existing(device).map(|_| 0)
    }
}

impl FakeAccelerator {
    fn copied_to(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        let from = tensor.device();
        let on_host = block::host_copy(tensor)?;
        let copy = match to.kind() {
            DeviceKind::Extension => DeviceBlock::filled(&on_host, existing(to)?)?,
            DeviceKind::Cpu if faults::pins_downloads() => block::kept_by_another(on_host)?,
            DeviceKind::Cpu => on_host,
            _ => {
                return Err(Error::Unsupported {
                    what: format!("moving fake memory to {to}"),
                    remedy: "move it to the host first".to_owned(),
                });
            }
        };
        faults::count(from, to);
        Ok(copy)
    }
}

/// The device, where there is one.
fn existing(device: Device) -> Result<Device> {
    if DEVICES.contains(&device) {
        return Ok(device);
    }
    Err(Error::DeviceUnavailable {
        backend: DESCRIPTOR.name,
        asked: device,
        available: DEVICES.to_vec(),
    })
}
