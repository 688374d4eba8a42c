//! Device memory mapped for the host, as long as the host tensor lives.

use bridge_core::{Access, Device, ManagedTensor, Owner, Refused, Result};

use crate::array::ClArray;
use crate::device::ClDevice;
use crate::enqueue::{After, MapFor};
use crate::event::ClEvent;

/// Device memory that the host sees. Ends the mapping when dropped.
pub(crate) struct HostView {
    array: Option<ClArray>,
    /// Where the mapping begins; null where there is no element.
    first: *mut u8,
}

// SAFETY: the pointer leads to memory that the mapping keeps, wherever it is used; arrays are `Send`.
unsafe impl Send for HostView {}

impl HostView {
    /// Maps an array on which no command is left.
    pub(crate) fn of(array: ClArray) -> Result<ManagedTensor, Refused<ClArray>> {
        let purpose = match array.access() {
            Access::ReadOnly => MapFor::Reading,
            Access::Shared | Access::Exclusive => MapFor::ReadingAndWriting,
        };
        let mapped: Result<_> = array.region().map_or(Ok((std::ptr::null_mut(), 0)), |region| {
            let bytes = region.bytes()?;
            let after = After { queue: array.queue(), events: &[] };
            // SAFETY: the region lies in its live buffer, which the array keeps.
            let first = unsafe { after.map(bytes, purpose) }?;
            Ok((first, region.layout.byte_offset() - bytes.offset))
        });
        let (first, before) = match mapped {
            Ok(mapped) => mapped,
            Err(error) => return Err(Refused::new(array, error)),
        };
        let mut spec = array.tensor().spec();
        spec.layout = spec.layout.at_byte_offset(before);
        let access = array.access();
        let owner = Owner::keep(Self { array: Some(array), first });
        // SAFETY:
        // - The mapping reaches from the lowest element to the highest, and lives until the owner
        //   is dropped.
        // - The array is consumed, so no command writes; its access holds for the host as well.
        let made =
            unsafe { ManagedTensor::from_parts(first.cast(), spec, Device::CPU, access, owner) };
        made.map_err(|refused| {
            refused.map(|owner| match owner.into_kept::<Self>().map(Self::into_array) {
                Ok(Ok(array)) => array,
                _ => unreachable!("the layout was an array's, and the mapping was just made"),
            })
        })
    }

    /// Ends the mapping; the array's next command waits for that.
    fn into_array(mut self) -> Result<ClArray, Refused<Self>> {
        let unmapped = self.unmap();
        match (unmapped, self.array.take()) {
            (Ok(event), Some(array)) => {
                if let Some(event) = event {
                    array.set_last(event);
                }
                Ok(array)
            }
            (Err(error), array) => {
                self.array = array;
                Err(Refused::new(self, error))
            }
            (Ok(_), None) => unreachable!("the array is taken here and in drop only"),
        }
    }

    fn unmap(&mut self) -> Result<Option<ClEvent>> {
        let Some(array) = &self.array else {
            return Ok(None);
        };
        if self.first.is_null() {
            return Ok(None);
        }
        let after = After { queue: array.queue(), events: &[] };
        // SAFETY: `first` came from mapping this array's buffer and is forgotten below.
        let event = unsafe { after.unmap(array.raw(), self.first) }?;
        self.first = std::ptr::null_mut();
        Ok(Some(event))
    }
}

impl Drop for HostView {
    fn drop(&mut self) {
        // Nobody is left to be told that a driver refused.
        if let (Ok(Some(unmapped)), Some(array)) = (self.unmap(), &self.array) {
            array.set_last(unmapped);
        }
    }
}

/// The array behind a view, where it is one of `device`'s.
///
/// # Errors
///
/// The tensor itself, where it is not.
pub(crate) fn taken_back(
    tensor: ManagedTensor,
    device: &'static ClDevice,
) -> Result<Result<ClArray, Refused<ManagedTensor>>, ManagedTensor> {
    let (data, spec, access) = (tensor.data(), tensor.spec(), tensor.access());
    let view = tensor.into_owner::<HostView>()?;
    // SAFETY: these are the tensor's own parts.
    let again = |view| unsafe {
        ManagedTensor::from_parts(data, spec, Device::CPU, access, Owner::keep(view))
            .unwrap_or_else(|refused| unreachable!("it was a tensor: {}", refused.error()))
    };
    if view.array.as_ref().is_none_or(|array| !std::ptr::eq(array.device(), device)) {
        return Err(again(view));
    }
    Ok(view.into_array().map_err(|refused| refused.map(again)))
}
