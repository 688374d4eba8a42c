//! The backend: what torch is, which devices it has, and memory on them.

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, DataType, Descriptor, Detail, Device, DeviceKind,
    DeviceMemory, Error, HostMemory, ManagedTensor, NativeType, Overflow, Rank, Result, Runtime,
    TensorSpec,
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

    fn lacks(&self, device: Device) -> Error {
        cuda::unavailable(device)
    }
}

// SAFETY: `synchronize` is libtorch's own, which waits for all streams of the device.
unsafe impl Runtime for Torch {
    fn backend(&self) -> &'static dyn Backend {
        &Torch
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Cuda]
    }

    /// A guest on the GPUs that libtorch reaches: where bridge-cuda is linked, that is asked.
    fn serves(&self, device: Device) -> Option<Rank> {
        holds_memory_of(device).then_some(Rank::Guest)
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        cuda::copied(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        cuda::copied(tensor, tensor.device())
    }

    fn cast(
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

    fn casts(&self, from: DataType, to: DataType, _overflow: Overflow) -> bool {
        cuda::casts(from, to)
    }
}

impl Allocator for Torch {
    fn backend(&self) -> &'static dyn Backend {
        &Torch
    }

    fn holds(&self, device: Device) -> bool {
        holds_memory_of(device)
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

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        cuda::memory(device)
    }

    fn trim(&self, device: Device) -> Result<u64> {
        cuda::release_cached(device)
    }
}

fn holds_memory_of(device: Device) -> bool {
    device.kind() == DeviceKind::Cuda && cuda::devices().contains(&device)
}
