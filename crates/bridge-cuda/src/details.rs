//! What `arraybridge doctor` reports about CUDA.

use bridge_core::Detail;
use cudarc::driver::sys::CUdevice_attribute as A;

use crate::driver::library::dotted;
use crate::driver::{self, Driver};
use crate::gpu::Gpu;
use crate::kernels::loading::{CHOICE, Choice};
use crate::kernels::nvrtc::Nvrtc;
use crate::transfer::peer;

/// The driver's version, and what each device is.
pub(crate) fn details() -> Vec<Detail> {
    let Ok(driver) = driver::find() else { return Vec::new() };
    let version = format!("supports CUDA {}", dotted(driver.version));
    let mut all = vec![
        Detail { device: None, name: "driver", value: version },
        Detail { device: None, name: "kernels", value: kernels(driver.version) },
    ];
    for gpu in &driver.gpus {
        all.extend(of_device(driver, gpu));
    }
    all
}

/// Where the kernels come from.
fn kernels(driver_version: i32) -> String {
    let nvrtc = match Nvrtc::find(driver_version) {
        Ok(nvrtc) => format!("NVRTC {}", nvrtc.version()),
        Err(_) => "no NVRTC".to_owned(),
    };
    match Choice::made() {
        Ok(Choice::PtxThenNvrtc) => format!("PTX for the driver to compile, else {nvrtc}"),
        Ok(Choice::Ptx) => format!("PTX for the driver to compile ({CHOICE}=ptx)"),
        Ok(Choice::Nvrtc) => format!("{nvrtc} ({CHOICE}=nvrtc)"),
        Err(error) => error.to_string(),
    }
}

fn of_device(driver: &Driver, gpu: &Gpu) -> Vec<Detail> {
    let mut found = Vec::new();
    let mut add = |name, value| {
        found.push(Detail { device: Some(gpu.device()), name, value });
    };
    if let Ok(name) = gpu.name() {
        add("name", name);
    }
    let capability = gpu.capability();
    add("compute capability", format!("{}.{}", capability / 10, capability % 10));
    let yes_or_no = |attribute| if gpu.attribute(attribute) == 0 { "no" } else { "yes" }.to_owned();
    add("memory pools", yes_or_no(A::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED));
    add("pinned memory in place", yes_or_no(A::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING));
    add("managed memory in place", yes_or_no(A::CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS));
    let peers = driver.gpus.iter().filter(|other| {
        other.device() != gpu.device() && peer::accessible(other.handle(), gpu.handle())
    });
    let peers: Vec<_> = peers.map(|peer| peer.device().to_string()).collect();
    if driver.gpus.len() > 1 {
        let list = if peers.is_empty() { "none".to_owned() } else { peers.join(", ") };
        add("copies directly from", list);
    }
    found
}
