//! Arrays, and what is done with their chunks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::{
    Allocator, Array, Device, ManagedTensor, Registration, Registry, Result, Runtime,
};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator, FakeArray, REGISTRATIONS};

pub(crate) const DEVICE: Device = DEVICES[0];

pub(crate) fn registry() -> Registry {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    Registry::new(REGISTRATIONS.iter().copied().chain(tools))
}

/// Bytes in use of a device are counted for all threads: one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn live_bytes() -> u64 {
    let memory = FakeAccelerator.usage(DEVICE).unwrap();
    memory.total - memory.free
}

/// 0, 1, 2, … in row-major order.
pub(crate) fn counted(shape: &[usize]) -> ManagedTensor {
    let count = shape.iter().product::<usize>() as i32;
    ManagedTensor::from_vec((0..count).collect::<Vec<i32>>(), shape).unwrap()
}

/// Each element plus one, as a host tensor.
pub(crate) fn plus_one(chunk: &ManagedTensor) -> Result<ManagedTensor> {
    let on_host = bridge_host::to_row_major(chunk)?;
    let more: Vec<_> = on_host.as_slice::<i32>()?.iter().map(|n| n + 1).collect();
    Ok(ManagedTensor::from_vec(more, on_host.shape())?)
}

/// As [`plus_one`], of an array of the fake accelerator, where the result is too.
pub(crate) fn plus_one_on_device(chunk: Array) -> Result<Array> {
    let chunk = chunk.downcast::<FakeArray>()?;
    let on_host = FakeAccelerator.transfer(chunk.tensor(), Device::CPU)?;
    let more = FakeAccelerator.transfer(&plus_one(&on_host)?, DEVICE)?;
    Ok(Array::new(<FakeArray as bridge_core::NativeArray<FakeAccelerator>>::import(more)?))
}

/// The elements of a tensor in row-major order.
pub(crate) fn elements(tensor: &ManagedTensor) -> Vec<i32> {
    bridge_host::to_row_major(tensor).unwrap().as_slice::<i32>().unwrap().to_vec()
}
