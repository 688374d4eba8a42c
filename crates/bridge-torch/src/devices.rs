//! The devices that libtorch has.

use std::sync::OnceLock;

use bridge_core::{Device, DeviceKind, Error, Result, Unavailable};

use crate::shim;

/// The CUDA devices of libtorch.
pub(crate) struct Found {
    pub(crate) devices: u32,
    /// Why there are none.
    pub(crate) reason: String,
}

/// Looks for devices at the first call; the answer stays.
pub(crate) fn found() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        // SAFETY: the shim takes nothing, and catches what libtorch throws.
        let devices = unsafe { shim::bridge_torch_cuda_devices() };
        Found { devices: u32::try_from(devices).unwrap_or(0), reason: shim::message() }
    })
}

/// The devices that libtorch has: the CPU, and CUDA's.
pub(crate) fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let found = (0..found().devices).map(Device::cuda);
        std::iter::once(Device::CPU).chain(found).collect()
    })
}

/// The ordinal of a CUDA device that libtorch has, as it counts them.
///
/// # Errors
///
/// As [`unavailable`] for any other device.
pub(crate) fn ordinal(device: Device) -> Result<i32> {
    let there = device.kind() == DeviceKind::Cuda && device.ordinal() < found().devices;
    match i32::try_from(device.ordinal()) {
        Ok(ordinal) if there => Ok(ordinal),
        _ => Err(unavailable(device)),
    }
}

/// The error for a device that libtorch does not have: where it has no CUDA device at all, with the
/// reason that `arraybridge doctor` shows, as [`Error::Unavailable`]; else with those it has, as
/// [`Error::DeviceUnavailable`].
#[cold]
pub(crate) fn unavailable(asked: Device) -> Error {
    let backend = "torch";
    let found = found();
    if asked.kind() == DeviceKind::Cuda && found.devices == 0 {
        return Error::Unavailable {
            backend,
            why: Unavailable::new(
                format!("it has the CPU and no {asked} here: {}", found.reason),
                "stay on the CPU, or use a machine with an NVIDIA GPU and its driver, and a \
                 libtorch that is built with CUDA",
            ),
        };
    }
    Error::DeviceUnavailable { backend, asked, available: devices().to_vec() }
}

/// Whether libtorch has memory of its own on a device that is not the host.
pub(crate) fn has_memory_of(device: Device) -> bool {
    device.kind() == DeviceKind::Cuda && devices().contains(&device)
}

#[cfg(test)]
mod tests {
    use bridge_core::{Allocator, Backend, ManagedTensor, Runtime, Stream};

    use super::*;
    use crate::Torch;
    use crate::allocator::cached_memory;
    use crate::streams::{current_stream, wait_for};

    /// Asks everything of the first device that is not there: cuda:0 without a GPU.
    fn asked_of(device: Device) -> Vec<(&'static str, Error)> {
        let host = ManagedTensor::from_vec(vec![1_f32], &[1]).unwrap();
        let spec = host.spec();
        vec![
            ("ordinal", ordinal(device).unwrap_err()),
            ("current_stream", current_stream(device).unwrap_err()),
            ("wait_for", wait_for(device, Some(Stream(1))).unwrap_err()),
            ("allocate", Torch.allocate(&spec, device).unwrap_err()),
            ("transfer", Torch.transfer(&host, device).unwrap_err()),
            ("synchronize", Torch.synchronize(device).unwrap_err()),
            ("usage", Torch.usage(device).unwrap_err()),
            ("cached_memory", cached_memory(device).unwrap_err()),
            ("trim", Torch.trim(device).unwrap_err()),
            ("lacks", Torch.lacks(device)),
        ]
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_what_doctor_says_of_it() {
        let none = found().devices == 0;
        let told = Torch.details().into_iter().find(|detail| detail.name == "no CUDA");
        assert_eq!(told.is_some(), none);
        for (what, error) in asked_of(Device::cuda(found().devices)) {
            match (&error, &told) {
                (
                    Error::Unavailable { backend, why: Unavailable { reason, remedy } },
                    Some(told),
                ) => {
                    assert_eq!(*backend, "torch");
                    assert!(reason.contains("cuda:0") && reason.contains(&told.value), "{reason}");
                    assert!(!told.value.is_empty() && remedy.contains("CPU"), "{what}: {remedy}");
                }
                (Error::DeviceUnavailable { available, .. }, None) => {
                    assert!(available.contains(&Device::cuda(0)), "{what}: {error}");
                }
                _ => panic!("{what}: {error}"),
            }
        }
    }

    #[test]
    fn devices_of_other_kinds_are_refused_with_those_there_are() {
        let Error::DeviceUnavailable { asked, available, .. } = Torch.lacks(Device::opencl(0))
        else {
            panic!("torch knows no reason");
        };
        assert_eq!((asked, available[0]), (Device::opencl(0), Device::CPU));
    }

    #[test]
    fn the_cpu_has_no_streams_and_no_cache() {
        assert_eq!(current_stream(Device::CPU).unwrap(), None);
        assert!(wait_for(Device::CPU, Some(Stream(7))).is_ok());
        assert_eq!(Torch.trim(Device::CPU).unwrap(), 0);
        assert!(Torch.synchronize(Device::CPU).is_ok());
        for refused in [cached_memory(Device::CPU).map(drop), Torch.usage(Device::CPU).map(drop)] {
            assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
        }
    }
}
