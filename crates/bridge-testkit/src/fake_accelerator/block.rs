//! Memory of a fake device, accounted.

use std::sync::atomic::{AtomicU64, Ordering};

use bridge_core::{
    Access, Device, Error, HostMemory, ManagedTensor, Owner, Result, TensorError, TensorSpec,
};

use super::faults;
use crate::oracle::gather;

/// Bytes of each fake device.
pub(super) const MEMORY: u64 = 1 << 30;

static LIVE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Bytes of a fake device that are allocated now, by all threads.
pub(super) fn live_bytes(device: Device) -> u64 {
    counter(device).load(Ordering::SeqCst)
}

fn counter(device: Device) -> &'static AtomicU64 {
    &LIVE[device.ordinal() as usize % LIVE.len()]
}

/// One allocation of a fake device.
pub(super) struct DeviceBlock {
    memory: HostMemory,
    device: Device,
}

impl DeviceBlock {
    /// Zeros for a row-major `spec`, on a device that exists.
    pub(super) fn allocate(spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let bytes = spec.layout.compact_bytes(spec.data_type)?;
        let requested = bytes as u64;
        let out_of_memory = Error::Tensor(TensorError::OutOfMemory { device, requested });
        if faults::allocation_fails() || requested > MEMORY.saturating_sub(live_bytes(device)) {
            return Err(out_of_memory);
        }
        let memory = HostMemory::zeroed(bytes, 64)?;
        counter(device).fetch_add(requested, Ordering::SeqCst);
        let data = memory.as_ptr().cast();
        let owner = Owner::keep(Self { memory, device });
        // SAFETY: the memory has room for the row-major spec, is zeroed, and is the block's, which
        // is `Send` and nobody else's. It is the fake device's in that it says so.
        let tensor = unsafe {
            ManagedTensor::from_parts(data, spec.clone(), device, Access::Exclusive, owner)
        };
        tensor.map_err(Error::from)
    }

    /// A copy on a device that exists of a row-major host tensor.
    pub(super) fn filled(host: &ManagedTensor, device: Device) -> Result<ManagedTensor> {
        let spec = TensorSpec::row_major(host.data_type(), host.shape())?;
        let bytes = crate::bytes_of(host);
        let tensor = Self::allocate(&spec, device)?;
        // SAFETY: the new block has as many bytes as the row-major elements.
        unsafe {
            tensor.first_element().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(tensor)
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        counter(self.device).fetch_sub(self.memory.size() as u64, Ordering::SeqCst);
    }
}

/// Writes the elements to a row-major tensor of the host or of a fake device, which nobody else reaches.
pub(super) fn write(tensor: &ManagedTensor, target: &ManagedTensor) -> Result<()> {
    let alike = (tensor.data_type(), tensor.shape()) == (target.data_type(), target.shape());
    let ready = target.layout().is_row_major() && target.access() == Access::Exclusive;
    if !alike || !ready || !is_readable(target) {
        let reason = format!("the fake accelerator cannot write {tensor:?} to {target:?}");
        return Err(TensorError::InvalidTensor { reason }.into());
    }
    let copy = host_copy(tensor)?;
    let bytes = crate::bytes_of(&copy);
    // SAFETY: the target has the bytes of the row-major elements, in memory that is the host's and that
    // nobody else reaches, as its access is exclusive and whoever calls has handed it over.
    unsafe { target.first_element().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(())
}

/// Whether the memory is the host's: that of the host and of fake devices.
fn is_readable(tensor: &ManagedTensor) -> bool {
    tensor.device().kind().is_host_accessible() || super::DEVICES.contains(&tensor.device())
}

/// A row-major host copy of a tensor of the host or of a fake device.
pub(super) fn host_copy(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    if !is_readable(tensor) {
        return Err(Error::Unsupported {
            what: format!("reading {} with the fake accelerator", tensor.device()),
            remedy: "move it to the host first".to_owned(),
        });
    }
    // SAFETY: the memory of the host and of fake devices is the host's.
    let bytes = unsafe { gather(tensor) };
    let spec = TensorSpec::row_major(tensor.data_type(), tensor.shape())?;
    let copy = bridge_host::zeroed(&spec, spec.data_type.alignment())?;
    // SAFETY: the new memory has as many bytes as the row-major elements.
    unsafe { copy.first_element().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Ok(copy)
}

/// The same host tensor with an owner from which no vector can be taken.
pub(super) fn kept_by_another(tensor: ManagedTensor) -> Result<ManagedTensor> {
    let (data, spec) = (tensor.data(), tensor.spec());
    // SAFETY: the memory is that of `tensor`, which the owner keeps and nobody else holds.
    let kept = unsafe {
        ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, Owner::keep(tensor))
    };
    kept.map_err(Error::from)
}
