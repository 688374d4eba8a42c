//! Runtimes of the fake accelerator that tell one lie each, and one whose device works later.

pub(crate) mod queued;

use std::marker::PhantomData;

use bridge_core::{
    Access, Backend, DataType, Description, Device, DeviceKind, Error, ManagedTensor, Mapping,
    Overflow, Owner, Refused, Result, Runtime,
};
use bridge_testkit::fake_accelerator::FakeAccelerator;

/// One lie; every method without it is the fake accelerator's.
pub(crate) trait Lie: Send + Sync + 'static {
    fn map(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        FakeAccelerator.map(tensor, to)
    }

    fn transfer(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        FakeAccelerator.transfer(tensor, to)
    }

    fn cast(tensor: &ManagedTensor, to: DataType, overflow: Overflow) -> Result<ManagedTensor> {
        FakeAccelerator.cast(tensor, to, overflow)
    }

    fn write(tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.write(tensor, target)
    }
}

/// The fake accelerator's runtime, with the lie `L`.
pub(crate) struct Liar<L>(PhantomData<L>);

impl<L> Liar<L> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

// SAFETY: no work is ever pending when `synchronize` returns, or what it works on is a test's own.
unsafe impl<L: Lie> Runtime for Liar<L> {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        FakeAccelerator.device_kinds()
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        L::transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.copy(tensor)
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        L::cast(tensor, to, overflow)
    }

    fn writes(&self, data_type: DataType, from: Device, to: Device) -> bool {
        FakeAccelerator.writes(data_type, from, to)
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        L::write(tensor, target)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        FakeAccelerator.synchronize(device)
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        FakeAccelerator.mapping(found, to)
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        L::map(tensor, to)
    }
}

/// No lie.
pub(crate) struct Honest;
impl Lie for Honest {}

/// The same memory on `device`, kept by the tensor that was given.
fn kept(tensor: ManagedTensor, device: Device, access: Access) -> ManagedTensor {
    let (data, spec, stream) = (tensor.data(), tensor.spec(), tensor.stream());
    // SAFETY: the memory is that of `tensor`, which is kept; the suite writes to none of it.
    let kept =
        unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(tensor)) };
    // SAFETY: it is the stream of the same memory.
    unsafe { kept.unwrap().ready_on(stream) }
}

/// What is used in place can be written, whoever may write to it.
pub(crate) struct LaundersMaps;
impl Lie for LaundersMaps {
    fn map(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let mapped = FakeAccelerator.map(tensor, to)?;
        Ok(match mapped.access() {
            Access::Exclusive => mapped,
            Access::Shared | Access::ReadOnly => kept(mapped, to, Access::Exclusive),
        })
    }
}

/// What went to a device in place comes back kept by the device's tensor.
pub(crate) struct ForgetsOwners;
impl Lie for ForgetsOwners {
    fn map(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if to != Device::CPU {
            return FakeAccelerator.map(tensor, to);
        }
        let access = tensor.access();
        Ok(kept(tensor, to, access))
    }
}

/// Says that it uses any layout in place, and then uses rows only.
pub(crate) struct MapsRowsOnly;
impl Lie for MapsRowsOnly {
    fn map(tensor: ManagedTensor, to: Device) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        if tensor.layout().is_row_major() {
            return FakeAccelerator.map(tensor, to);
        }
        let (what, remedy) = ("these strides".to_owned(), "copy it".to_owned());
        Err(Refused::new(tensor, Error::Unsupported { what, remedy }))
    }
}

pub(crate) struct SaturatesAlways;
impl Lie for SaturatesAlways {
    fn cast(tensor: &ManagedTensor, to: DataType, _: Overflow) -> Result<ManagedTensor> {
        FakeAccelerator.cast(tensor, to, Overflow::Saturate)
    }
}

/// Downloads into memory that no vector can own.
pub(crate) struct PinsDownloads;
impl Lie for PinsDownloads {
    fn transfer(tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        let copy = FakeAccelerator.transfer(tensor, to)?;
        let access = copy.access();
        Ok(if to == Device::CPU { kept(copy, to, access) } else { copy })
    }
}

/// Says that it writes to memory that it is given, and gives it back as it was.
pub(crate) struct WritesNothing;
impl Lie for WritesNothing {
    fn write(_: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        Ok(target)
    }
}

/// Writes to memory of its own in place of what it is given.
pub(crate) struct WritesElsewhere;
impl Lie for WritesElsewhere {
    fn write(tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.transfer(tensor, target.device())
    }
}
