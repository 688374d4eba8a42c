//! What copies and casts take beside their results.

use bridge_core::{DataType, Description, Device, DeviceBytes};

use crate::capabilities::Capabilities;
use crate::device::ClDevice;

/// What making a copy of `found` as `data_type` on `to` takes.
pub(crate) fn working_memory(
    found: &Description,
    data_type: DataType,
    to: Device,
) -> Vec<DeviceBytes> {
    let on_host = |device: Device| device.kind().is_host_accessible();
    let worker = if on_host(found.device) { to } else { found.device };
    match ClDevice::of(worker) {
        Ok(device) => taken(device.capabilities(), found, data_type, to),
        Err(_) => Vec::new(),
    }
}

/// As [`working_memory`], on a device that can do this.
fn taken(
    device: &Capabilities,
    found: &Description,
    data_type: DataType,
    to: Device,
) -> Vec<DeviceBytes> {
    let bytes_as = |data_type| found.layout.compact_bytes(data_type).unwrap_or(0) as u64;
    let (before, after) = (bytes_as(found.data_type), bytes_as(data_type));
    if before == 0 {
        return Vec::new();
    }
    let on_host = |device: Device| device.kind().is_host_accessible();
    let on = |device: Device, bytes: u64| vec![DeviceBytes { device, bytes }];
    let from = found.data_type;
    if from != data_type {
        let lacks = |one| device.cannot_compute_with(one).is_some();
        // Without a kernel the cast is the host's.
        let packed = from.size_in_bytes().is_none() || data_type.size_in_bytes().is_none();
        let by_kernel = device.compiles && !packed && !lacks(from) && !lacks(data_type);
        return if by_kernel { Vec::new() } else { on(Device::CPU, before + after) };
    }
    if found.layout.is_row_major() || device.is_cpu || device.shares_host_memory() {
        return Vec::new();
    }
    match (on_host(found.device), on_host(to)) {
        // Elements with gaps are packed before they go up, and before they come down.
        (true, _) => on(Device::CPU, before),
        (false, true) if device.compiles => on(found.device, before),
        (false, true) => {
            let span = found.layout.span(from).map_or(0, |span| span.end.abs_diff(span.start));
            on(Device::CPU, span as u64)
        }
        (false, false) if device.compiles => Vec::new(),
        (false, false) => on(Device::CPU, 2 * before),
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::{DeviceKind, ManagedTensor};

    use super::*;

    const GPU: Device = Device::new(DeviceKind::OpenCl, 0);

    fn found(device: Device, has_gaps: bool) -> Description {
        let tensor = ManagedTensor::from_vec(vec![0_f32; 6], &[2, 3]).unwrap();
        let tensor = if has_gaps { tensor.permuted(&[1, 0]).unwrap() } else { tensor };
        Description { device, ..tensor.describe() }
    }

    #[test]
    fn elements_with_gaps_are_packed_and_casts_without_a_kernel_go_through_the_host() {
        let Ok([first, ..]) = ClDevice::all() else { return };
        let own = |compiles| Capabilities {
            is_cpu: false,
            unified_memory: false,
            svm_system: false,
            compiles,
            ..first.capabilities().clone()
        };
        let told = |device: &Capabilities, found: &Description, data_type, to| {
            let taken = taken(device, found, data_type, to);
            taken.first().map(|part| (part.device, part.bytes))
        };
        let same = DataType::F32;
        for compiles in [true, false] {
            let device = own(compiles);
            assert_eq!(told(&device, &found(Device::CPU, false), same, GPU), None);
            assert_eq!(
                told(&device, &found(Device::CPU, true), same, GPU),
                Some((Device::CPU, 24))
            );
            let packs_on = if compiles { GPU } else { Device::CPU };
            assert_eq!(told(&device, &found(GPU, true), same, Device::CPU), Some((packs_on, 24)));
            let copy = told(&device, &found(GPU, true), same, GPU);
            assert_eq!(copy, (!compiles).then_some((Device::CPU, 48)));
            let cast = told(&device, &found(GPU, false), DataType::I32, GPU);
            assert_eq!(cast, (!compiles).then_some((Device::CPU, 48)));
        }
        let processor = Capabilities { is_cpu: true, ..own(true) };
        assert_eq!(told(&processor, &found(GPU, true), same, Device::CPU), None);
    }
}
