//! The memory of the devices that a backend manages.

use bridge_core::{Allocator, DataType, Device, DeviceKind, Error, TensorError, TensorSpec};

use super::outcome::{Check, Findings, ensure};
use super::subject::Subject;
use crate::effort::sampled_types;

pub(super) fn memory_is_zeroed_and_measured(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    let Some(allocator) = subject.own_allocator() else {
        return; // It holds no memory of devices.
    };
    for device in devices.into_iter().filter(|&device| allocator.holds(device)) {
        for data_type in sampled_types(&subject.backend.data_types()) {
            for shape in [&[][..], &[3, 5], &[2, 0, 3]] {
                let name = format!("{data_type} {shape:?} on {device}");
                findings.case(name, || zeros(subject, allocator, data_type, shape, device));
            }
        }
        findings.case(format!("a petabyte on {device}"), || {
            if cfg!(miri) {
                return Ok(()); // It has no allocator that fails.
            }
            let spec = TensorSpec::row_major(DataType::U8, &[1 << 50]);
            let spec = spec.map_err(|error| error.to_string())?;
            match allocator.allocate(&spec, device) {
                Err(
                    Error::Tensor(TensorError::OutOfMemory { .. })
                    | Error::Tensor(TensorError::TooLarge { .. }),
                ) => Ok(()),
                Err(other) => Err(format!("the error is not OutOfMemory: {other}")),
                Ok(_) => Err("it was allocated".to_owned()),
            }
        });
        findings.case(format!("measuring {device}"), || measured(subject, allocator, device));
    }
    let absent = |&kind: &DeviceKind| Device::new(kind, 4_096);
    for device in subject.own_kinds().iter().map(absent) {
        findings.case(format!("memory of {device}, which is not there"), || {
            let spec = TensorSpec::row_major(DataType::U8, &[2]).map_err(|e| e.to_string())?;
            let allocated = allocator.allocate(&spec, device);
            let _ = allocator.usage(device);
            let _ = subject.own_runtime().map(|runtime| runtime.synchronize(device));
            let _ = allocator.trim(device);
            ensure(allocated.is_err(), || "it was allocated".to_owned())
        });
    }
}

fn zeros(
    subject: &Subject,
    allocator: &dyn Allocator,
    data_type: DataType,
    shape: &[usize],
    device: Device,
) -> Check {
    let spec = TensorSpec::row_major(data_type, shape).map_err(|error| error.to_string())?;
    let tensor = allocator.allocate(&spec, device).map_err(|error| error.to_string())?;
    ensure(tensor.device() == device, || format!("it is on {}", tensor.device()))?;
    ensure(tensor.shape() == shape, || format!("its shape is {:?}", tensor.shape()))?;
    ensure(tensor.data_type() == data_type, || format!("it is of {}", tensor.data_type()))?;
    let bytes = subject.bytes(&tensor)?;
    ensure(bytes.iter().all(|&byte| byte == 0), || "it is not zero".to_owned())
}

fn measured(subject: &Subject, allocator: &dyn Allocator, device: Device) -> Check {
    let total = match allocator.usage(device) {
        Ok(memory) => {
            ensure(memory.free <= memory.total && memory.total > 0, || {
                format!("{} of {} bytes are free", memory.free, memory.total)
            })?;
            Some(memory.total)
        }
        Err(Error::Unsupported { .. }) => None,
        Err(other) => return Err(other.to_string()),
    };
    if let Some(runtime) = subject.own_runtime() {
        runtime.synchronize(device).map_err(|error| error.to_string())?;
    }
    trimmed(allocator, device, total)
}

/// What was given back was there, and is not given back again. Other tests may free memory
/// meanwhile, so a few more times something may be.
fn trimmed(allocator: &dyn Allocator, device: Device, total: Option<u64>) -> Check {
    const TIMES: usize = 8;
    let mut last = 0;
    for _ in 0..TIMES {
        last = allocator.trim(device).map_err(|error| error.to_string())?;
        ensure(total.is_none_or(|total| last <= total), || {
            format!("trim gave {last} bytes back, and the device has {total:?}")
        })?;
        if last == 0 {
            return Ok(());
        }
    }
    Err(format!("trim gave something back {TIMES} times in a row, at last {last} bytes"))
}
