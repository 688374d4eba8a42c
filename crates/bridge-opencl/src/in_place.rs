//! Memory used in place: the host's on a device that shares it, and back.

use std::any::Any;

use bridge_core::{
    Access, Description, Device, DeviceKind, Error, ManagedTensor, Mapping, NativeArray, Owner,
    Refused, Result, TensorError,
};

use crate::array::ClArray;
use crate::capabilities::Capabilities;
use crate::device::ClDevice;
use crate::enqueue::{After, MapFor};
use crate::host_view::{HostView, taken_back};
use crate::hosted::{Hosted, has_one_reference};
use crate::memory::owner_of;
use crate::queue::ClQueue;

/// The alignment that devices other than processors want of host memory, and the size they want it a
/// multiple of: else their drivers copy unseen.
const PAGE: usize = 4096;
const CACHE_LINE: usize = 64;

/// Host memory under a buffer.
type InPlace = Hosted<ManagedTensor>;

/// An empty host tensor, for which there is no buffer.
struct NothingInPlace(ManagedTensor);

/// Whether memory so described can be used on `to` where it lies.
pub(crate) fn mapping(found: &Description, to: Device) -> Mapping {
    let shares = |device| ClDevice::of(device).ok().filter(|device| shares(device));
    match (found.device.kind(), to.kind()) {
        (DeviceKind::Cpu, DeviceKind::OpenCl) => match shares(to) {
            Some(device) => {
                why_not(found, device.capabilities()).map_or(Mapping::Possible, Mapping::Declined)
            }
            None => Mapping::Never,
        },
        (DeviceKind::OpenCl, DeviceKind::Cpu) if shares(found.device).is_some() => {
            Mapping::Possible
        }
        _ => Mapping::Never,
    }
}

fn shares(device: &ClDevice) -> bool {
    device.capabilities().shares_host_memory()
}

/// What keeps host memory from being used in place on a device that shares it.
fn why_not(found: &Description, capabilities: &Capabilities) -> Option<String> {
    if found.layout.is_empty() {
        return None;
    }
    let bytes = match found.layout.compact_bytes(found.data_type) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    if !found.layout.is_dense() {
        return Some(format!("{:?} leaves gaps, which may be somebody else's", found.layout));
    }
    if bytes as u64 > capabilities.largest_buffer {
        let limit = capabilities.largest_buffer;
        return Some(format!(
            "its {bytes} bytes exceed the device's limit of {limit} for a buffer"
        ));
    }
    // A processor, or a device with fine-grained system memory, takes any address.
    let any_address = capabilities.is_cpu || capabilities.svm_system;
    let needed = if any_address { found.data_type.alignment() } else { PAGE };
    if found.alignment < needed {
        let found = found.alignment;
        return Some(format!("its data is aligned to {found} bytes, not to {needed}"));
    }
    if !any_address && !bytes.is_multiple_of(CACHE_LINE) {
        return Some(format!("its {bytes} bytes are no multiple of {CACHE_LINE}"));
    }
    None
}

/// Makes a tensor on device `to` of the same memory.
///
/// # Errors
///
/// [`Error::Unsupported`] where [`mapping`] does not say that it is possible, and as the driver
/// says; the tensor comes back.
pub(crate) fn map(
    tensor: ManagedTensor,
    to: Device,
) -> Result<ManagedTensor, Refused<ManagedTensor>> {
    if to == Device::CPU && tensor.device().kind() == DeviceKind::OpenCl {
        let array = ClArray::import(tensor)?;
        return array.into_host().map_err(|refused| refused.map(tensor_of));
    }
    match ClDevice::of(to).and_then(ClDevice::queue) {
        Ok(queue) => ClArray::in_place(&queue, tensor).map(tensor_of),
        Err(error) => Err(Refused::new(tensor, error)),
    }
}

fn tensor_of(array: ClArray) -> ManagedTensor {
    array.export().unwrap_or_else(|refused| {
        unreachable!("an array can be exported: {}", refused.error());
    })
}

impl ClArray {
    /// Uses host memory where it lies, on a device that shares it. The memory is the array's until
    /// [`into_host`](Self::into_host) gives it back.
    ///
    /// A host tensor that `into_host` mapped becomes the array again.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the device has memory of its own, the elements have gaps, or
    /// their address does not suit the device; the tensor comes back.
    pub fn in_place(
        queue: &ClQueue,
        tensor: ManagedTensor,
    ) -> Result<Self, Refused<ManagedTensor>> {
        let device = queue.device();
        if tensor.is_kept_by::<HostView>() {
            match taken_back(tensor, device) {
                Ok(result) => return result,
                Err(other) => return Self::over_host(queue, other),
            }
        }
        Self::over_host(queue, tensor)
    }

    fn over_host(queue: &ClQueue, tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let device = queue.device();
        let found = tensor.describe();
        let refusal = match mapping(&found, device.device()) {
            Mapping::Possible => tensor.require_host().err().map(Error::from),
            Mapping::Declined(reason) => Some(cannot(&found, device, &reason)),
            Mapping::Never => Some(cannot(&found, device, "it shares no memory with that")),
        };
        if let Some(error) = refusal {
            return Err(Refused::new(tensor, error));
        }
        let (first, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
        if spec.layout.is_empty() {
            return Self::over_nothing(queue, tensor);
        }
        // Dense, so without gaps from the lowest element, which the data pointer leads to, on.
        let bytes = found.layout.compact_bytes(found.data_type).unwrap_or(0);
        let read_only = access == Access::ReadOnly;
        // SAFETY:
        // - The elements lie without gaps from the data pointer on, and the tensor keeps them.
        // - The tensor is consumed, so nobody writes through it; of others that hold the memory,
        //   its access and the contract of `bridge_core`'s front page speak.
        let hosted = unsafe { InPlace::new(device, first, bytes, read_only, tensor) }?;
        let data = hosted.raw();
        // SAFETY:
        // - The buffer is the tensor's memory from its data pointer on, with the same layout.
        // - The owner is `Send`; access is the tensor's own.
        let made = unsafe {
            let owner = owner_of(hosted, found.ownership);
            ManagedTensor::from_parts(data, spec, device.device(), access, owner)
        };
        Self::or_the_host_tensor(queue, made, |hosted: InPlace| hosted.into_keeper().ok())
    }

    fn over_nothing(
        queue: &ClQueue,
        tensor: ManagedTensor,
    ) -> Result<Self, Refused<ManagedTensor>> {
        let (spec, access) = (tensor.spec(), tensor.access());
        let (nowhere, device) = (std::ptr::null_mut(), queue.device().device());
        // SAFETY: there is no element.
        let made = unsafe {
            let owner = Owner::keep(NothingInPlace(tensor));
            ManagedTensor::from_parts(nowhere, spec, device, access, owner)
        };
        Self::or_the_host_tensor(queue, made, |nothing: NothingInPlace| Some(nothing.0))
    }

    fn or_the_host_tensor<K: Any>(
        queue: &ClQueue,
        made: Result<ManagedTensor, Refused<Owner, TensorError>>,
        host: impl FnOnce(K) -> Option<ManagedTensor>,
    ) -> Result<Self, Refused<ManagedTensor>> {
        match made {
            Ok(tensor) => Ok(Self::new(tensor, queue.clone(), None)),
            Err(refused) => {
                let (owner, error) = refused.into_parts();
                match owner.into_kept::<K>().ok().and_then(host) {
                    Some(tensor) => Err(Refused::new(tensor, error)),
                    None => unreachable!("a valid layout was refused: {error}"),
                }
            }
        }
    }

    /// The elements where they lie, as host memory: the memory that [`in_place`](Self::in_place)
    /// was given, if nobody else holds the buffer and the array is no view, else the device's,
    /// mapped. Waits for the commands on the array.
    ///
    /// Dropping the host tensor, or making an array of it again, ends the mapping.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where the device has memory of its own, and what a command failed
    /// with; the array comes back.
    pub fn into_host(self) -> Result<ManagedTensor, Refused<Self>> {
        let device = self.device();
        if !shares(device) {
            let reason = "it shares no memory with the host";
            let error = cannot(&self.tensor().describe(), device, reason);
            return Err(Refused::new(self, error));
        }
        if self.tensor().is_kept_by::<NothingInPlace>() {
            let (tensor, ..) = self.into_parts();
            return match tensor.into_owner::<NothingInPlace>() {
                Ok(nothing) => Ok(nothing.0),
                Err(_) => unreachable!("is_kept_by was asked"),
            };
        }
        if let Err(error) = self.made_coherent() {
            return Err(Refused::new(self, error));
        }
        // SAFETY: the array keeps its buffer alive.
        if self.tensor().is_kept_by::<InPlace>() && unsafe { has_one_reference(self.raw()) } {
            return Ok(given_back(self));
        }
        HostView::of(self)
    }

    /// Waits for the commands on the array, and has the driver write to host memory what it may
    /// hold elsewhere.
    fn made_coherent(&self) -> Result<()> {
        self.wait()?;
        let Some(region) = self.region() else {
            return Ok(());
        };
        let after = After { queue: self.queue(), events: &[] };
        // SAFETY: the region lies in its live buffer; the mapping is not used.
        unsafe {
            let first = after.map(region.bytes()?, MapFor::Reading)?;
            after.unmap(region.mem, first)?.wait(self.device().device())
        }
    }
}

/// The memory that an array was made over, on which no command is left.
fn given_back(array: ClArray) -> ManagedTensor {
    let (tensor, ..) = array.into_parts();
    let Ok(hosted) = tensor.into_owner::<InPlace>() else { unreachable!("is_kept_by was asked") };
    hosted.into_keeper().unwrap_or_else(|lingering| {
        // A driver that does not tell in time holds on to the memory, so it stays with both.
        let (data, spec) = lingering.read(|host| (host.data(), host.spec()));
        // SAFETY: the memory is the host tensor's, which the owner keeps, and no command is left
        // that writes; less is said of its access than was true.
        let made = unsafe {
            let owner = Owner::keep(lingering);
            ManagedTensor::from_parts(data, spec, Device::CPU, Access::Shared, owner)
        };
        made.unwrap_or_else(|refused| unreachable!("it was a tensor: {}", refused.error()))
    })
}

fn cannot(found: &Description, device: &ClDevice, reason: &str) -> Error {
    let (from, device) = (found.device, device.device());
    let side = if from == device { Device::CPU } else { device };
    Error::Unsupported {
        what: format!("using memory of {from} in place on {side} ({reason})"),
        remedy: "copy it, with upload() or download()".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_core::{DataType, Layout, Ownership};

    fn found(layout: Layout, alignment: usize) -> Description {
        Description {
            data_type: DataType::F32,
            device: Device::CPU,
            layout,
            access: Access::Exclusive,
            ownership: Ownership::Movable,
            alignment,
            owner: None,
        }
    }

    /// A device that shares the host's memory.
    fn sharing(is_cpu: bool, svm_system: bool) -> Capabilities {
        Capabilities {
            is_cpu,
            svm_system,
            unified_memory: true,
            largest_buffer: 1 << 30,
            ..Capabilities::of_nothing()
        }
    }

    fn row(count: usize) -> Layout {
        Layout::row_major(&[count]).unwrap()
    }

    #[test]
    fn a_processor_takes_any_address_that_suits_the_element() {
        for device in [sharing(true, false), sharing(false, true)] {
            assert_eq!(why_not(&found(row(5), 4), &device), None);
            assert_eq!(why_not(&found(row(0), 1), &device), None);
            let gaps = Layout::new(&[4], &[2], 0).unwrap();
            for (layout, alignment, word) in
                [(gaps, 16, "gaps"), (row(4), 2, "aligned to 2"), (row(1 << 50), 16, "limit")]
            {
                let reason = why_not(&found(layout, alignment), &device).unwrap();
                assert!(reason.contains(word), "{reason}");
            }
        }
    }

    #[test]
    fn an_integrated_gpu_wants_whole_lines_from_the_start_of_a_page() {
        let device = sharing(false, false);
        assert_eq!(why_not(&found(row(1024), 4096), &device), None);
        assert_eq!(why_not(&found(row(16), 8192), &device), None);
        for (count, alignment, word) in
            [(1024, 64, "aligned to 64 bytes, not to 4096"), (17, 4096, "68 bytes are no multiple")]
        {
            let reason = why_not(&found(row(count), alignment), &device).unwrap();
            assert!(reason.contains(word), "{reason}");
        }
    }
}
