//! On the device: copies and casts by kernels, through the host where the device has none.

use bridge_core::{DataType, Error, Layout, ManagedTensor, Overflow, Result, TensorSpec};

use crate::buffer::Buffer;
use crate::enqueue::{After, Bytes};
use crate::event::ClEvent;
use crate::kernels::{Ends, Job, Kernels, Nest};
use crate::memory::{Filled, Memory};
use crate::packing::{packed, packed_to};
use crate::region::Region;
use crate::transfer::{download, upload, upload_to};

/// The elements of a region in new memory of the device, row-major without gaps.
///
/// # Errors
///
/// As the driver says.
pub(crate) fn copied(source: &Region<'_>, after: After<'_>) -> Result<Filled> {
    match packed(source, after)? {
        Some(filled) => Ok(filled),
        None => {
            let host = download(source, after)?.released(source)?;
            upload(&host, After { events: &[], ..after })
        }
    }
}

/// As [`copied`], to memory that is there; gives the event with which it is filled, `None` where it is.
///
/// # Errors
///
/// As the driver says.
///
/// # Safety
///
/// The bytes are as many as the elements take without gaps, in a live buffer of the region's device, and
/// nobody else's.
pub(crate) unsafe fn copied_to(
    source: &Region<'_>,
    bytes: Bytes,
    after: After<'_>,
) -> Result<Option<ClEvent>> {
    // SAFETY: the caller promises the same.
    if let Some(ready) = unsafe { packed_to(source, bytes, after) }? {
        return Ok(Some(ready));
    }
    let host = download(source, after)?.released(source)?;
    // SAFETY: the downloaded elements are the host's, row-major; the caller promises the bytes.
    unsafe { upload_to(&host, bytes, After { events: &[], ..after }) }
}

/// The elements of a region as another type, in new memory of the device.
///
/// # Errors
///
/// [`Error::NoCast`] and [`Error::ValueOutOfRange`] as bridge-host's cast, and as the driver says.
pub(crate) fn cast(
    source: &Region<'_>,
    to: DataType,
    overflow: Overflow,
    after: After<'_>,
) -> Result<Filled> {
    if source.data_type == to {
        return copied(source, after);
    }
    match cast_by_kernel(source, to, overflow, after)? {
        Some(filled) => Ok(filled),
        // The host has every cast, and its error names the value that does not fit.
        None => {
            let on_host = download(source, after)?.released(source)?;
            let cast = bridge_host::to_data_type(&on_host, to, overflow)?;
            upload(&cast, After { events: &[], ..after })
        }
    }
}

/// As [`cast`], but `None` where the device has no kernel for it, or a value does not fit.
///
/// # Errors
///
/// As the driver says.
pub(crate) fn cast_by_kernel(
    source: &Region<'_>,
    to: DataType,
    overflow: Overflow,
    after: After<'_>,
) -> Result<Option<Filled>> {
    let from = source.data_type;
    let (Some(item), Some(_)) = (from.size_in_bytes(), to.size_in_bytes()) else {
        return Ok(None);
    };
    let capabilities = source.device.capabilities();
    if [from, to].iter().any(|&one| capabilities.cannot_compute_with(one).is_some()) {
        return Ok(None);
    }
    if !source.layout.byte_offset().is_multiple_of(item) {
        // Elements that are not aligned for their type are moved first, piece by piece.
        let Some(aligned) = packed(source, after)? else {
            return Ok(None);
        };
        let layout = Layout::row_major(source.layout.shape())?;
        let region = Region { mem: aligned.memory.raw(), layout: &layout, ..*source };
        let events: Vec<ClEvent> = aligned.ready.into_iter().collect();
        return cast_by_kernel(&region, to, overflow, After { events: &events, ..after });
    }
    let Some(nest) = Nest::new(source.layout, item, item) else {
        return Ok(None);
    };
    let spec = TensorSpec::row_major(to, source.layout.shape())?;
    let memory = Memory::allocate(source.device, &spec)?;
    let misfit = match overflow {
        Overflow::Refuse => Some(word_of_zero(source.device, after)?),
        Overflow::Saturate | Overflow::Wrap => None,
    };
    let ends = Ends {
        source: source.mem,
        target: memory.raw(),
        nest: &nest,
        misfit: misfit.as_ref().map(Buffer::raw),
        bytes: spec.layout.compact_bytes(to)?,
    };
    let job = Job::Cast { from, to, overflow };
    // SAFETY: the nest leads to the elements of the region, in its live buffer; the new memory
    // has room for as many of the target's; the word is an `int` of its own.
    let Some(ready) = unsafe { Kernels::of(source.device)?.run(job, &ends, after) }? else {
        return Ok(None);
    };
    if let Some(misfit) = misfit {
        let mut found = [0_u8; 4];
        let bytes = Bytes { mem: misfit.raw(), offset: 0, count: found.len() };
        let events = [ready];
        // SAFETY: the buffer has four bytes, and so has the array.
        unsafe { After { events: &events, ..after }.read(bytes, found.as_mut_ptr()) }?;
        return Ok((found == [0; 4]).then_some(Filled { memory, ready: None }));
    }
    Ok(Some(Filled { memory, ready: Some(ready) }))
}

/// Writes one element's bytes to every element of a region.
///
/// # Errors
///
/// [`Error::Unsupported`] for packed elements, and as the driver says.
pub(crate) fn fill(target: &Region<'_>, element: &[u8], after: After<'_>) -> Result<ClEvent> {
    let bytes = target.bytes()?;
    let fits = element.len().is_power_of_two()
        && element.len() <= 128
        && bytes.offset.is_multiple_of(element.len());
    if target.layout.is_dense() && fits && target.data_type.size_in_bytes() == Some(element.len()) {
        // SAFETY: the region lies in its buffer, without gaps.
        return unsafe { after.fill(bytes, element) };
    }
    Err(Error::Unsupported {
        what: format!("filling {:?} of {}", target.layout, target.data_type),
        remedy: "fill an array without gaps, and slice it afterwards".to_owned(),
    })
}

/// A buffer of one `int`, which is zero.
fn word_of_zero(device: &'static crate::device::ClDevice, after: After<'_>) -> Result<Buffer> {
    let word = Buffer::allocate(device, 4)?;
    let bytes = Bytes { mem: word.raw(), offset: 0, count: 4 };
    // SAFETY: the buffer has four bytes, and as many are read.
    unsafe { After { events: &[], ..after }.write(bytes, [0_u8; 4].as_ptr()) }?;
    Ok(word)
}

/// A host tensor's elements in new memory, or nothing where there are none.
///
/// # Errors
///
/// As [`upload`].
pub(crate) fn uploaded(source: &ManagedTensor, after: After<'_>) -> Result<Option<Filled>> {
    if source.layout().is_empty() {
        source.require_host()?;
        return Ok(None);
    }
    upload(source, after).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClArray, ClDevice};

    /// Falling back on the host gives the same results, so the tests of those see nothing.
    #[test]
    fn what_the_device_computes_with_is_cast_and_copied_there() {
        for device in ClDevice::all().unwrap_or_default() {
            let queue = device.queue().unwrap();
            let after = After { queue: &queue, events: &[] };
            let capabilities = device.capabilities();
            let computed = |one: &&DataType| capabilities.cannot_compute_with(**one).is_none();
            let numbers: Vec<DataType> = DataType::NAMED.iter().filter(computed).copied().collect();
            let pairs = numbers.iter().flat_map(|&from| numbers.iter().map(move |&to| (from, to)));
            for (from, to) in pairs.filter(|(from, to)| from != to) {
                let array = ClArray::zeros(&queue, from, &[4]).unwrap();
                array.wait().unwrap();
                let region = array.region().unwrap();
                let cast = cast_by_kernel(&region, to, Overflow::Refuse, after).unwrap();
                assert!(cast.is_some(), "no kernel from {from} to {to} on {device:?}");
            }
            for data_type in [DataType::U8, DataType::F16, DataType::F32, DataType::C64] {
                let array = ClArray::zeros(&queue, data_type, &[4, 4]).unwrap();
                let array = array.permuted(&[1, 0]).unwrap();
                array.wait().unwrap();
                let region = array.region().unwrap();
                assert!(packed(&region, after).unwrap().is_some(), "{data_type} on {device:?}");
            }
        }
    }
}
