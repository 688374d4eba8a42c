//! Who moves memory of a device, and works on it.

use std::fmt;

use bridge_tensor::{DataType, Description, Device, DeviceKind, ManagedTensor};

use crate::admission::DeviceBytes;
use crate::backend::{Backend, cannot};
use crate::error::{Refused, Result};
use crate::options::Overflow;

/// How close a [`Runtime`] is to a device: of those that serve it, the one of the highest rank is
/// asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// It reaches the device through its framework.
    Guest,
    /// It talks to the device's driver.
    Native,
}

/// Whether memory can be used from another device where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// [`Runtime::map`] will do it.
    Possible,
    /// The devices share memory, but not this: the reason.
    Declined(String),
    /// The devices share no memory.
    Never,
}

/// Moves memory to and from devices, copies and casts on them, and waits for them.
///
/// A backend whose arrays lie on a device of their own implements it, and registers it with
/// [`Registration::runtime`](crate::Registration::runtime). Conversions ask the registry for the
/// runtime of a device, whichever crate it comes from.
///
/// # Safety
///
/// Where [`synchronize`](Self::synchronize) returns `Ok`, all work submitted to the device is done:
/// conversions then read memory that the device was writing.
pub unsafe trait Runtime: Send + Sync + 'static {
    /// The backend it belongs to.
    fn backend(&self) -> &'static dyn Backend;

    /// The kinds of device it is for, whether or not there is one here.
    fn device_kinds(&self) -> &'static [DeviceKind];

    /// Whether it serves this very device, here and now, and how close it is to it. It never
    /// panics. By default, [`Rank::Native`] for the devices that the backend has.
    fn serves(&self, device: Device) -> Option<Rank> {
        let devices = self.backend().devices().ok()?;
        devices.contains(&device).then_some(Rank::Native)
    }

    /// Copies a tensor to another device, row-major without gaps. To the host it should be copied
    /// into memory of the global allocator, which every target can take; from pinned memory a
    /// target that only owns vectors copies once more.
    ///
    /// The source is borrowed: it must not be read any more when the call returns.
    ///
    /// # Errors
    ///
    /// Where memory cannot go from the one to the other, or the device reports one.
    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor>;

    /// Writes the elements of a tensor compactly to new memory of its device.
    ///
    /// # Errors
    ///
    /// Where the device reports one.
    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor>;

    /// Converts the elements of a tensor to another type, into new memory of its device, row-major.
    /// Rounding and `overflow` are as [`Overflow`] says, so that a cast does not depend on where it
    /// is done. Where [`casts`](Self::casts) says no, it is not asked.
    ///
    /// # Errors
    ///
    /// Where the device reports one, or there is no such cast.
    fn cast(
        &self,
        tensor: &ManagedTensor,
        to: DataType,
        overflow: Overflow,
    ) -> Result<ManagedTensor>;

    /// Whether [`cast`](Self::cast) goes from one element type to the other. Where it does not, a
    /// conversion casts on the host. By default it does.
    fn casts(&self, from: DataType, to: DataType, overflow: Overflow) -> bool {
        let _ = (from, to, overflow);
        true
    }

    /// What [`transfer`](Self::transfer), [`copy`](Self::copy) and [`cast`](Self::cast) take, beside
    /// the memory of their result, while they make a copy of `found` as `data_type` on device `to`:
    /// staging memory, say. A budget admits it together with the result. Touches no device; nothing
    /// by default.
    fn working_memory(
        &self,
        found: &Description,
        data_type: DataType,
        to: Device,
    ) -> Vec<DeviceBytes> {
        let _ = (found, data_type, to);
        Vec::new()
    }

    /// Waits until all work submitted to `device` is done.
    ///
    /// # Errors
    ///
    /// Where the device reports one.
    fn synchronize(&self, device: Device) -> Result<()>;

    /// Whether memory so described can be used on device `to` where it lies, one of the two being a
    /// device of this runtime. Touches no device; [`Mapping::Never`] by default.
    fn mapping(&self, found: &Description, to: Device) -> Mapping {
        let _ = (found, to);
        Mapping::Never
    }

    /// Makes a tensor on device `to` of the same memory, without copying. Mapping it back gives
    /// the original memory, with its owner. What comes back is taken to be no more writable than
    /// what was given.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) by default; else where the device reports
    /// one. The tensor comes back.
    fn map(
        &self,
        tensor: ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor, Refused<ManagedTensor>> {
        let what = format!("using memory of {} on {to}", tensor.device());
        Err(Refused::new(tensor, cannot(self.backend(), what)))
    }
}

impl fmt::Debug for dyn Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runtime({})", self.backend().name())
    }
}
