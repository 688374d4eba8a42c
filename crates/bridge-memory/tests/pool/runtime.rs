//! The fake accelerator as a runtime that tells when it works.

use bridge_core::{
    Backend, DataType, Description, Device, DeviceBytes, DeviceKind, ManagedTensor, Overflow,
    Result, Runtime,
};
use bridge_testkit::fake_accelerator::FakeAccelerator;

/// Calls `moves` before it transfers or casts, and `waits` before it waits.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) moves: fn(),
    pub(crate) waits: fn(),
    /// Bytes of the host that it says it stages a transfer or a cast in.
    pub(crate) staged: u64,
}

// SAFETY: as the fake accelerator's, which does it.
unsafe impl Runtime for Telling {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        (self.moves)();
        FakeAccelerator.transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.copy(tensor)
    }

    fn cast(&self, tensor: &ManagedTensor, to: DataType, rule: Overflow) -> Result<ManagedTensor> {
        (self.moves)();
        FakeAccelerator.cast(tensor, to, rule)
    }

    fn writes(&self, data_type: DataType, from: Device, to: Device) -> bool {
        FakeAccelerator.writes(data_type, from, to)
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        (self.moves)();
        FakeAccelerator.write(tensor, target)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        (self.waits)();
        FakeAccelerator.synchronize(device)
    }

    fn working_memory(
        &self,
        _: &Description,
        _: DataType,
        _: Device,
        _: Overflow,
    ) -> Vec<DeviceBytes> {
        let staged = DeviceBytes { device: Device::CPU, bytes: self.staged };
        Some(staged).filter(|staged| staged.bytes > 0).into_iter().collect()
    }
}
