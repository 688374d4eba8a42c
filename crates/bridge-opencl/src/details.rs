//! What people want to know of the devices.

use bridge_core::{DataType, Detail};

use crate::device::ClDevice;

/// The facts of every device.
pub(crate) fn details() -> Vec<Detail> {
    ClDevice::all().unwrap_or_default().iter().flat_map(of).collect()
}

fn of(device: &ClDevice) -> impl Iterator<Item = Detail> {
    let known = device.capabilities();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let yes = |has: bool| if has { "yes" } else { "no" }.to_owned();
    let svm = match (known.svm_system, known.svm_fine, known.svm_coarse) {
        (true, ..) => "fine-grained, all of the process",
        (_, true, _) => "fine-grained buffers",
        (_, _, true) => "coarse-grained buffers",
        _ => "no",
    };
    let lacking: Vec<String> = DataType::NAMED
        .iter()
        .filter(|&&data_type| known.cannot_compute_with(data_type).is_some())
        .map(ToString::to_string)
        .collect();
    let lacking = if lacking.is_empty() { "nothing".to_owned() } else { lacking.join(", ") };
    let about = Some(device.device());
    [
        ("platform", device.platform().to_owned()),
        ("name", known.name.clone()),
        ("version", known.version.clone()),
        ("driver", known.driver.clone()),
        ("memory", mib(known.memory)),
        ("largest buffer", mib(known.largest_buffer)),
        ("compute units", known.compute_units.to_string()),
        ("float64 (cl_khr_fp64)", yes(known.fp64)),
        ("float16 (cl_khr_fp16)", yes(known.fp16)),
        ("unified memory", yes(known.shares_host_memory())),
        ("shared virtual memory", svm.to_owned()),
        ("carries only, casts on the host", lacking),
    ]
    .into_iter()
    .map(move |(name, value)| Detail { device: about, name, value })
}
