//! What copies and casts take beside their results.

use bridge_core::{DataType, Description, Device, DeviceBytes, DeviceKind};

use super::staging::size_for;
use super::staging_buffers::{chunk_for, piece_bytes};

/// What making a copy of `found` as `data_type` on `to` takes: staging buffers in pinned memory, which
/// are kept for the next copy, and where elements have gaps memory of the GPU to pack them in.
pub(crate) fn working_memory(
    found: &Description,
    data_type: DataType,
    to: Device,
) -> Vec<DeviceBytes> {
    let Ok(bytes @ 1..) = found.layout.compact_bytes(found.data_type) else { return Vec::new() };
    let has_gaps = !found.layout.is_row_major();
    let piece = piece_bytes(found.data_type, chunk_for(bytes), bytes);
    let on_gpu = |bytes: usize| DeviceBytes { device: found.device, bytes: bytes as u64 };
    let staged = || {
        let buffers = if piece < bytes { 2 } else { 1 };
        let device = Device::new(DeviceKind::CudaHost, 0);
        DeviceBytes { device, bytes: buffers * size_for(piece) as u64 }
    };
    let is_pinned = |device: Device| device.kind().driver_kind() == DeviceKind::Cuda;
    match (found.device.kind(), to.kind()) {
        (DeviceKind::Cuda, DeviceKind::Cpu) if has_gaps => vec![staged(), on_gpu(piece)],
        (DeviceKind::Cuda, DeviceKind::Cpu) => vec![staged()],
        (DeviceKind::Cuda, DeviceKind::Cuda) if found.device == to => {
            let aligned = found.alignment.is_multiple_of(found.data_type.alignment());
            if found.data_type == data_type || aligned { Vec::new() } else { vec![on_gpu(bytes)] }
        }
        // Devices that cannot read each other's memory go through staging buffers.
        (DeviceKind::Cuda, DeviceKind::Cuda) if has_gaps => vec![staged(), on_gpu(bytes)],
        (DeviceKind::Cuda, DeviceKind::Cuda) => vec![staged()],
        (DeviceKind::Cuda, _) if has_gaps => vec![on_gpu(bytes)],
        (_, DeviceKind::Cuda) if has_gaps || !is_pinned(found.device) => vec![staged()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::ManagedTensor;

    use super::*;

    const GPU: Device = Device::cuda(0);

    /// Numbers in ordinary memory, as if they were on `device`.
    fn found(device: Device, shape: &[usize], has_gaps: bool) -> Description {
        let tensor = ManagedTensor::from_vec(vec![0_f32; shape.iter().product()], shape).unwrap();
        let tensor = if has_gaps { tensor.permuted(&[1, 0]).unwrap() } else { tensor };
        Description { device, ..tensor.describe() }
    }

    fn told(found: &Description, to: Device) -> Vec<(String, u64)> {
        working_memory(found, found.data_type, to)
            .into_iter()
            .map(|part| (part.device.to_string(), part.bytes))
            .collect()
    }

    #[test]
    fn ordinary_memory_is_staged_and_gaps_are_packed_on_the_gpu() {
        let pinned = "cuda_host:0".parse::<Device>().unwrap();
        let staged = |bytes| (pinned.to_string(), bytes);
        let packed = |bytes| (GPU.to_string(), bytes);
        let (small, large) = ([32, 32], [1024, 1024]);
        for has_gaps in [false, true] {
            let of = |device, shape: &[usize]| found(device, shape, has_gaps);
            let with = |mut all: Vec<_>, bytes| {
                all.extend(has_gaps.then_some(packed(bytes)));
                all
            };
            assert_eq!(told(&of(Device::CPU, &small), GPU), [staged(64 << 10)]);
            assert_eq!(told(&of(Device::CPU, &large), GPU), [staged(2 << 20)], "two in turns");
            assert_eq!(told(&of(GPU, &small), Device::CPU), with(vec![staged(64 << 10)], 4096));
            assert_eq!(told(&of(GPU, &large), Device::CPU), with(vec![staged(2 << 20)], 1 << 20));
            assert_eq!(told(&of(GPU, &large), pinned), with(vec![], 4 << 20));
            assert_eq!(told(&of(GPU, &large), GPU), []);
            let up = told(&of(pinned, &small), GPU);
            assert_eq!(up.is_empty(), !has_gaps, "pinned memory without gaps goes straight");
            let peer = told(&of(GPU, &small), Device::cuda(1));
            assert_eq!(peer, with(vec![staged(64 << 10)], 4096));
        }
        assert_eq!(told(&found(Device::CPU, &[0, 3], false), GPU), []);
    }
}
