//! Who moves memory of a device, and works on it.

use std::fmt;

use bridge_tensor::{DataType, Description, Device, DeviceKind, ManagedTensor, TensorSpec};

use crate::admission::DeviceBytes;
use crate::backend::{Backend, cannot};
use crate::error::{Refused, Result};
use crate::memory_source::MemorySource;
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
/// - Where [`synchronize`](Self::synchronize) returns `Ok`, all work submitted to the device is done:
///   conversions then read memory that the device was writing.
/// - Where [`write`](Self::write) returns `Ok`, the tensor is its target, and every element has been
///   written, or is when its stream says that the data is ready: conversions hand in memory that is not
///   initialized. Where it fails, nothing of the target has been read, and nothing writes to it any more.
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
    /// into memory of the global allocator, which every target can take; see
    /// [`downloads_vectors`](Self::downloads_vectors).
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
    /// the memory of their result, while they make a copy of `found` as `data_type` on device `to`, a cast under
    /// `overflow`: staging memory, say, and what the host's kernels take. A budget admits it together with the
    /// result. Touches no device; nothing by default.
    fn working_memory(
        &self,
        found: &Description,
        data_type: DataType,
        to: Device,
        overflow: Overflow,
    ) -> Vec<DeviceBytes> {
        let _ = (found, data_type, to, overflow);
        Vec::new()
    }

    /// Whether what [`transfer`](Self::transfer) copies to [`Device::CPU`] lies in memory of the global allocator, aligned
    /// as the element type is. Where it does not, it is copied once more for a target that owns vectors, and
    /// budgets reserve that copy too. By default it does.
    fn downloads_vectors(&self) -> bool {
        true
    }

    /// Whether [`write`](Self::write) takes elements of this type from the one device to the other: from or
    /// to a device of this runtime. It touches no device. By default it does not.
    fn writes(&self, data_type: DataType, from: Device, to: Device) -> bool {
        let _ = (data_type, from, to);
        false
    }

    /// Writes the elements of a tensor to `target`, as [`transfer`](Self::transfer) and [`copy`](Self::copy)
    /// write them to new memory: memory of a pool, or the place in a larger array. The target is row-major
    /// without gaps, of the same shape and element type, and nobody else's; its elements need not be
    /// initialized. It comes back, ready where its stream says.
    ///
    /// The source is borrowed: it must not be read any more when the call returns. Where
    /// [`writes`](Self::writes) says no, it is not asked.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) by default; else where the device reports one. The
    /// target is dropped unread then, and nothing writes to it any more.
    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        let what = format!("writing from {} to memory of {}", tensor.device(), target.device());
        Err(cannot(self.backend(), what))
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

impl dyn Runtime {
    /// As [`transfer`](Runtime::transfer), or [`copy`](Runtime::copy) where the tensor is on that device, into memory
    /// of `source`: aligned to `alignment` bytes, where the device has addresses. New memory is taken where
    /// there is no source or it [gives](MemorySource::gives) none of the device, where this runtime does not
    /// [write](Runtime::writes) to it, and for no elements.
    ///
    /// # Errors
    ///
    /// As [`transfer`](Runtime::transfer), and as [`MemorySource::take`].
    pub fn transfer_into(
        &self,
        source: Option<&dyn MemorySource>,
        alignment: usize,
        tensor: &ManagedTensor,
        to: Device,
    ) -> Result<ManagedTensor> {
        let (data_type, from) = (tensor.data_type(), tensor.device());
        let given = source.filter(|source| {
            !tensor.layout().is_empty()
                && source.gives(to, alignment)
                && self.writes(data_type, from, to)
        });
        let Some(source) = given else {
            return if from == to { self.copy(tensor) } else { self.transfer(tensor, to) };
        };
        let spec = TensorSpec::row_major(data_type, tensor.shape())?;
        // SAFETY: `write` has every element written where it returns `Ok`, as runtimes promise, and else
        // drops the target unread.
        let target = unsafe { source.take_checked(&spec, to, alignment) }?;
        match to.kind().is_host_accessible() {
            true => self.write_to_host(tensor, target),
            false => self.write(tensor, target),
        }
    }

    /// As [`write`](Runtime::write), to memory that the host reaches: it is written when the call returns,
    /// whatever stream the device writes it on. Whoever owns such memory does not wait for a device.
    ///
    /// # Errors
    ///
    /// As [`write`](Runtime::write) and [`synchronize`](Runtime::synchronize). Where the latter fails nobody knows
    /// whether the device still writes, so that the target is never freed.
    pub fn write_to_host(
        &self,
        tensor: &ManagedTensor,
        target: ManagedTensor,
    ) -> Result<ManagedTensor> {
        let written = self.write(tensor, target)?;
        if written.stream().is_some()
            && let Err(error) = self.synchronize(tensor.device())
        {
            std::mem::forget(written);
            return Err(error);
        }
        Ok(written)
    }
}

impl fmt::Debug for dyn Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runtime({})", self.backend().name())
    }
}
