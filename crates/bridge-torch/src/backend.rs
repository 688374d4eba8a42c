//! The backend: what torch is, which devices it has, and memory on them.

use std::borrow::Cow;

use bridge_core::{
    Allocator, Availability, Backend, Descriptor, Detail, Device, Error, NativeType,
};
use tch::{TchError, Tensor};

use crate::allocator::cached_memory;
use crate::devices::{devices, found, unavailable};
use crate::{errors, shim};

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
        Availability::Ready { devices: Cow::Borrowed(devices()) }
    }

    fn native_types(&self) -> &'static [NativeType] {
        NATIVE_TYPES
    }

    /// tch has one variant for all that libtorch throws, so that its words tell: those of c10's
    /// out-of-memory errors, and of the CUDA calls that allocate.
    fn is_out_of_memory(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        error.downcast_ref::<TchError>().is_some_and(errors::is_out_of_memory)
    }

    fn details(&self) -> Vec<Detail> {
        let of = |device, name, value| Detail { device, name, value };
        let mut details = vec![
            of(None, "libtorch", shim::version()),
            of(Some(Device::CPU), "instructions", shim::cpu_capability()),
            of(Some(Device::CPU), "threads", tch::get_num_threads().to_string()),
        ];
        let found = found();
        if found.devices == 0 {
            details.push(of(None, "no CUDA", found.reason.clone()));
        }
        for device in (0..found.devices).map(Device::cuda) {
            if let Ok(memory) = Torch.usage(device) {
                let value = format!("{} of {} bytes free", memory.free, memory.total);
                details.push(of(Some(device), "memory", value));
            }
            if let Ok(cached) = cached_memory(device) {
                let value =
                    format!("{} bytes in use, {} reserved", cached.allocated, cached.reserved);
                details.push(of(Some(device), "caching allocator", value));
            }
        }
        details
    }

    fn lacks(&self, device: Device) -> Error {
        unavailable(device)
    }
}
