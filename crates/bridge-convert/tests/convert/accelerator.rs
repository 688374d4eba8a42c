//! A backend with devices of its own. Their memory is the host's under another name.

use bridge_core::{
    Accepts, Backend, DataType, Description, Device, DeviceKind, LayoutRule, ManagedTensor,
    Mapping, Overflow, Owner, Refused, Registration, Result, Runtime, inventory,
};

use crate::support::{Behaviour, Plain};

pub(crate) const FIRST: Device = Device::cuda(0);
/// What it downloads no vector can own, as with pinned memory.
pub(crate) const SECOND: Device = Device::cuda(1);
/// Shares its memory with the host.
pub(crate) const UNIFIED: Device = Device::cuda(2);
/// Host memory that only the accelerator's driver allocates.
pub(crate) const PINNED: Device = Device::new(DeviceKind::CudaHost, 0);

const KINDS: &[DeviceKind] = &[DeviceKind::Cuda, DeviceKind::CudaHost];

pub(crate) struct Accelerator;

impl Behaviour for Accelerator {
    const NAME: &'static str = "accelerator";
    const ACCEPTS: Accepts = Accepts::on(KINDS, DataType::NAMED);
    const DEVICES: &'static [Device] = &[FIRST, SECOND, UNIFIED, PINNED];
}

/// Column-major arrays on the same devices.
pub(crate) struct Columns;

impl Behaviour for Columns {
    const NAME: &'static str = "columns";
    const ACCEPTS: Accepts = Accelerator::ACCEPTS.layout(LayoutRule::ColumnMajor);
    const DEVICES: &'static [Device] = Accelerator::DEVICES;
}

pub(crate) static ACCELERATOR: Plain<Accelerator> = Plain::new();
pub(crate) static COLUMNS: Plain<Columns> = Plain::new();
pub(crate) static DRIVER: Driver = Driver;

inventory::submit! { Registration::backend(&ACCELERATOR) }
inventory::submit! { Registration::backend(&COLUMNS) }
inventory::submit! { Registration::runtime(&DRIVER) }

/// The runtime of the devices. It casts to everything but float64.
pub(crate) struct Driver;

// SAFETY: no work is ever submitted: all is done when a call returns.
unsafe impl Runtime for Driver {
    fn backend(&self) -> &'static dyn Backend {
        &ACCELERATOR
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        KINDS
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        let copy = bridge_host::to_row_major(&seen_by_the_host(tensor))?;
        Ok(if to == Device::CPU && tensor.device() != SECOND { copy } else { lying_on(to, copy) })
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        self.transfer(tensor, tensor.device())
    }

    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor> {
        assert!(self.casts(tensor.data_type(), to, overflow), "it was asked for too much");
        let cast = bridge_host::to_data_type(&seen_by_the_host(tensor), to, overflow)?;
        Ok(lying_on(tensor.device(), cast))
    }

    fn casts(&self, _: DataType, to: DataType, _: Overflow) -> bool {
        to != DataType::F64
    }

    fn synchronize(&self, _: Device) -> Result<()> {
        Ok(())
    }

    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        match [found.device, to] {
            [Device::CPU, UNIFIED] | [UNIFIED, Device::CPU] => Mapping::Possible,
            _ => Mapping::Never,
        }
    }

    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        match tensor.into_owner::<Kept>() {
            Ok(Kept(original)) if original.device() == to => Ok(original),
            Ok(Kept(tensor)) | Err(tensor) => Ok(lying_on(to, tensor)),
        }
    }
}

/// The tensor that a tensor of a device is made of.
struct Kept(ManagedTensor);

/// The same memory, said to be on `device`.
pub(crate) fn lying_on(device: Device, tensor: ManagedTensor) -> ManagedTensor {
    let (data, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
    // SAFETY: the memory, its layout and its access are the tensor's, which is kept.
    unsafe { ManagedTensor::from_parts(data, spec, device, access, Owner::keep(Kept(tensor))) }
        .unwrap()
}

/// The memory of a device's tensor as the host's. It lives as long as the tensor.
fn seen_by_the_host(tensor: &ManagedTensor) -> ManagedTensor {
    let (data, spec) = (tensor.data(), tensor.spec());
    let access = bridge_core::Access::ReadOnly;
    // SAFETY: the memory is the host's, whatever it is called, and each caller has the tensor until
    // it has dropped what is returned.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, access, Owner::nothing()) }.unwrap()
}
