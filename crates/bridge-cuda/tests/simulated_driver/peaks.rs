//! What the backend says that a copy takes beside its result is what the driver really gave: each case in a
//! process of its own, in which nothing has been pinned before.

use bridge_core::{
    DataType, Device, DeviceKind, ManagedTensor, Overflow, Runtime as _, TensorSpec,
};
use bridge_cuda::{Cuda, release_staging};
use simulated_cuda::{Config, SimulatedCuda};

use crate::support::{GPU, OTHER, alone, counted};

/// The source, as it is when the copy begins.
#[derive(Clone, Copy)]
struct Source {
    device: Device,
    side: usize,
    has_gaps: bool,
}

fn made(source: Source) -> ManagedTensor {
    let tensor = counted(&[source.side, source.side]);
    let tensor = match source.device {
        Device::CPU => tensor,
        device => Cuda.transfer(&tensor, device).unwrap(),
    };
    if source.has_gaps { tensor.permuted(&[1, 0]).unwrap() } else { tensor }
}

/// Copies, or casts where the element type is another, and compares what the driver gave.
fn takes_what_it_says(
    cuda: &SimulatedCuda,
    source: Source,
    to: Device,
    (data_type, overflow): (DataType, Overflow),
) {
    let tensor = made(source);
    release_staging();
    cuda.flush();
    let before = cuda.counters();
    assert_eq!(before.pinned_bytes_alive, 0, "nothing is pinned yet");
    let told = Cuda.working_memory(&tensor.describe(), data_type, to, overflow);
    let result = match data_type == tensor.data_type() {
        true => Cuda.transfer(&tensor, to).unwrap(),
        false => Cuda.cast(&tensor, data_type, overflow).unwrap(),
    };
    let (after, spec) = (cuda.counters(), TensorSpec::row_major(data_type, tensor.shape()));
    let bytes = spec.unwrap().layout.compact_bytes(data_type).unwrap() as u64;
    let told_of = |kind| -> u64 {
        let of_kind = told.iter().filter(|part| part.device.kind() == kind);
        of_kind.map(|part| part.bytes).sum()
    };
    let pinned = if to.kind() == DeviceKind::CudaHost { bytes } else { 0 };
    let on_gpus = if to.kind() == DeviceKind::Cuda { bytes } else { 0 };
    // The result of the copy before, where the source had to be uploaded first, was the most so far.
    let held = before.device_bytes_alive.max(before.device_bytes_peak);
    let expected = (before.device_bytes_alive + told_of(DeviceKind::Cuda) + on_gpus).max(held);
    assert_eq!(after.device_bytes_peak, expected, "on the GPUs: {told:?}");
    let expected = told_of(DeviceKind::CudaHost) + pinned;
    assert_eq!(after.pinned_bytes_alive, expected, "pinned: {told:?}");
    drop((tensor, result));
}

macro_rules! cases {
    ($($name:ident: $device:expr, $side:literal, $gaps:literal => $to:expr, $data_type:ident, $overflow:ident;)*) => {
        $(#[test]
        fn $name() {
            let config = Config::default().peer_access(false);
            alone(stringify!($name), config, |cuda| {
                let source = Source { device: $device, side: $side, has_gaps: $gaps };
                let what = (DataType::$data_type, Overflow::$overflow);
                takes_what_it_says(cuda, source, $to, what);
            });
        })*
    };
}

fn pinned() -> Device {
    Device::new(DeviceKind::CudaHost, 0)
}

cases! {
    a_small_upload: Device::CPU, 32, false => GPU, F32, Saturate;
    a_large_upload: Device::CPU, 1024, false => GPU, F32, Saturate;
    a_large_upload_with_gaps: Device::CPU, 1024, true => GPU, F32, Saturate;
    a_small_download: GPU, 32, false => Device::CPU, F32, Saturate;
    a_large_download: GPU, 1024, false => Device::CPU, F32, Saturate;
    a_large_download_with_gaps: GPU, 1024, true => Device::CPU, F32, Saturate;
    a_download_to_pinned_memory_with_gaps: GPU, 1024, true => pinned(), F32, Saturate;
    a_copy_between_gpus: GPU, 1024, false => OTHER, F32, Saturate;
    a_copy_between_gpus_with_gaps: GPU, 1024, true => OTHER, F32, Saturate;
    a_cast_on_the_gpu: GPU, 1024, false => GPU, F64, Saturate;
    a_cast_with_gaps_on_the_gpu: GPU, 1024, true => GPU, F16, Saturate;
    a_cast_that_looks_for_misfits: GPU, 1024, false => GPU, I32, Refuse;
    a_cast_that_holds_all_values: GPU, 1024, true => GPU, F64, Refuse;
}
