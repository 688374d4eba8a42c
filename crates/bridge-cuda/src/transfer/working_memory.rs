//! What copies and casts take beside their results.

use bridge_core::{DataType, Description, Device, DeviceBytes, DeviceKind, Layout};

use super::pieces::Pieces;
use super::staging::size_for;
use super::staging_buffers::{chunk_for, piece_bytes};

/// What copying `found` to `to` takes: staging buffers in pinned memory, which are kept for the next copy, and where
/// elements have gaps, memory of the GPU or buffers of the host to pack them in.
pub(crate) fn working_memory(found: &Description, to: Device) -> Vec<DeviceBytes> {
    let Ok(bytes @ 1..) = found.layout.compact_bytes(found.data_type) else { return Vec::new() };
    let work = Work { found, bytes };
    let has_gaps = !found.layout.is_row_major();
    let mut taken = match (found.device.kind(), to.kind()) {
        (DeviceKind::Cuda, DeviceKind::Cuda) if found.device == to => Vec::new(),
        (DeviceKind::Cuda, DeviceKind::Cpu) if has_gaps => {
            vec![work.staged(), work.on_gpu(work.piece())]
        }
        // Devices that cannot read each other's memory go through staging buffers.
        (DeviceKind::Cuda, DeviceKind::Cuda) if has_gaps => vec![work.staged(), work.on_gpu(bytes)],
        (DeviceKind::Cuda, DeviceKind::Cpu | DeviceKind::Cuda) => vec![work.staged()],
        (DeviceKind::Cuda, _) if has_gaps => vec![work.on_gpu(bytes)],
        (DeviceKind::Cuda, _) => Vec::new(),
        (_, DeviceKind::Cuda) if has_gaps => vec![work.staged(), on_host(work.turned_in_pieces())],
        (_, DeviceKind::Cuda) if !is_pinned(found.device) => vec![work.staged()],
        (_, DeviceKind::Cuda) => Vec::new(),
        _ => vec![on_host(turned(found.data_type, &found.layout))],
    };
    taken.retain(|part| part.bytes > 0);
    taken
}

fn is_pinned(device: Device) -> bool {
    device.kind().driver_kind() == DeviceKind::Cuda
}

fn on_host(bytes: u64) -> DeviceBytes {
    DeviceBytes { device: Device::CPU, bytes }
}

/// What the host's kernels take to bring elements into row-major order.
fn turned(data_type: DataType, layout: &Layout) -> u64 {
    Layout::row_major(layout.shape()).map_or(0, |row_major| {
        bridge_host::working_memory((data_type, layout), (data_type, &row_major))
    })
}

/// What is copied or cast.
struct Work<'a> {
    found: &'a Description,
    /// Those of the elements, without gaps.
    bytes: usize,
}

impl Work<'_> {
    /// Bytes of the largest piece.
    fn piece(&self) -> usize {
        piece_bytes(self.found.data_type, chunk_for(self.bytes), self.bytes)
    }

    fn on_gpu(&self, bytes: usize) -> DeviceBytes {
        DeviceBytes { device: self.found.device, bytes: bytes as u64 }
    }

    /// Two staging buffers that take turns, or one that all fits.
    fn staged(&self) -> DeviceBytes {
        let buffers = if self.piece() < self.bytes { 2 } else { 1 };
        pinned(buffers * size_for(self.piece()))
    }

    /// What the host's kernels take at most to pack a piece.
    fn turned_in_pieces(&self) -> u64 {
        let Description { data_type, layout, .. } = self.found;
        match Pieces::new(layout, *data_type, chunk_for(self.bytes)) {
            // The first is as large as any.
            Ok((mut pieces, data_type)) => match pieces.next() {
                Some(Ok(piece)) => turned(data_type, &piece.layout),
                _ => 0,
            },
            Err(_) => 0,
        }
    }
}

/// A buffer of pinned memory.
pub(crate) fn pinned(bytes: usize) -> DeviceBytes {
    DeviceBytes { device: Device::new(DeviceKind::CudaHost, 0), bytes: bytes as u64 }
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
        working_memory(found, to)
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
            // Where they have gaps, the host turns the rows of a tile, each with a cache line more.
            let turned = |staged, rows: u64, row: u64| {
                let host = ("cpu".to_owned(), rows * (4 * row + 64));
                [staged].into_iter().chain(has_gaps.then_some(host)).collect::<Vec<_>>()
            };
            let up = |shape| told(&of(Device::CPU, shape), GPU);
            assert_eq!(up(&small), turned(staged(64 << 10), 32, 32));
            assert_eq!(up(&large), turned(staged(2 << 20), 64, 512), "two in turns");
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
