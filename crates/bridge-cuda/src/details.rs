//! What `arraybridge doctor` tells of CUDA.

use bridge_core::Detail;
use cudarc::driver::sys::CUdevice_attribute as A;

use crate::driver::{self, Driver, dotted};
use crate::gpu::Gpu;
use crate::peer;

/// The driver's version, and what each device is.
pub(crate) fn details() -> Vec<Detail> {
    let Ok(driver) = driver::find() else { return Vec::new() };
    let version = format!("supports CUDA {}", dotted(driver.version));
    let mut all = vec![Detail { device: None, name: "driver", value: version }];
    for gpu in &driver.gpus {
        all.extend(of_device(driver, gpu));
    }
    all
}

fn of_device(driver: &Driver, gpu: &Gpu) -> Vec<Detail> {
    let mut found = Vec::new();
    let mut tell = |name, value| {
        found.push(Detail { device: Some(gpu.device()), name, value });
    };
    if let Ok(name) = gpu.name() {
        tell("name", name);
    }
    let capability = [
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    ];
    let [major, minor] = capability.map(|attribute| gpu.attribute(attribute));
    tell("compute capability", format!("{major}.{minor}"));
    let yes_or_no = |attribute| if gpu.attribute(attribute) == 0 { "no" } else { "yes" }.to_owned();
    tell("memory pools", yes_or_no(A::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED));
    tell("pinned memory in place", yes_or_no(A::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING));
    tell("managed memory in place", yes_or_no(A::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS));
    let peers = driver.gpus.iter().filter(|other| {
        other.device() != gpu.device() && peer::accessible(other.handle(), gpu.handle())
    });
    let peers: Vec<_> = peers.map(|peer| peer.device().to_string()).collect();
    if driver.gpus.len() > 1 {
        let list = if peers.is_empty() { "none".to_owned() } else { peers.join(", ") };
        tell("copies directly from", list);
    }
    found
}
