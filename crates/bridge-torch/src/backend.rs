//! The backend: what torch is, which devices it has, and memory on them.

use std::borrow::Cow;

use bridge_core::{
    Availability, Backend, DataType, Descriptor, Detail, Device, DeviceKind, DeviceMemory, Error,
    HostMemory, ManagedTensor, NativeType, Overflow, Result, TensorSpec,
};
use tch::Tensor;

use crate::{cuda, shim};

/// The backend for libtorch.
#[derive(Debug, Clone, Copy)]
pub struct Torch;

static DESCRIPTOR: Descriptor = Descriptor {
    name: "torch",
    aliases: &["pytorch", "tch", "libtorch"],
    framework: "libtorch, through tch",
    priority: 80,
    device_kinds: &[DeviceKind::Cpu, DeviceKind::Cuda],
};

static NATIVE_TYPES: &[NativeType] = &[NativeType::of::<Tensor, Torch>()];

impl Backend for Torch {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    /// Always on the CPU: a program that links libtorch does not start without it. The first
    /// answer looks for CUDA devices.
    fn availability(&self) -> Availability {
        Availability::Ready { devices: Cow::Borrowed(cuda::devices()) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        NATIVE_TYPES
    }

    fn details(&self) -> Vec<Detail> {
        let of = |device, name, value| Detail { device, name, value };
        let mut details = vec![
            of(None, "libtorch", shim::version()),
            of(Some(Device::CPU), "instructions", shim::cpu_capability()),
            of(Some(Device::CPU), "threads", tch::get_num_threads().to_string()),
        ];
        let found = cuda::found();
        if found.devices == 0 {
            details.push(of(None, "no CUDA", found.reason.clone()));
        }
        for device in (0..found.devices).map(Device::cuda) {
            if let Ok(memory) = cuda::memory(device) {
                let value = format!("{} of {} bytes free", memory.free, memory.total);
                details.push(of(Some(device), "memory", value));
            }
            if let Ok(cached) = cuda::cached_memory(device) {
                let value =
                    format!("{} bytes in use, {} reserved", cached.allocated, cached.reserved);
                details.push(of(Some(device), "caching allocator", value));
            }
        }
        details
    }

    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let span = spec.layout.span(spec.data_type)?;
        let bytes = spec.layout.byte_offset().saturating_add_signed(span.end);
        if device != Device::CPU {
            return cuda::zeros(spec.clone(), bytes, device);
        }
        let memory = HostMemory::zeroed(bytes, spec.data_type.alignment())?;
        // SAFETY: the memory is initialized with zeros, which are valid for every element type.
        unsafe { ManagedTensor::from_host_memory(memory, spec.clone()) }.map_err(Error::from)
    }

    fn lacks(&self, device: Device) -> Error {
        cuda::unavailable(device)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        cuda::copied(tensor, to)
    }

    fn copy_on_device(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        cuda::copied(tensor, tensor.device())
    }

    fn cast_on_device(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        _overflow: Overflow,
    ) -> Result<ManagedTensor> {
        cuda::cast(tensor, to)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        cuda::synchronize(device)
    }

    fn memory(&self, device: Device) -> Result<DeviceMemory> {
        cuda::memory(device)
    }

    fn release_cached(&self, device: Device) -> Result<u64> {
        cuda::release_cached(device)
    }
}
