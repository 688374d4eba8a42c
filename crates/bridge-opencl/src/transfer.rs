//! Between host and device: what is packed goes straight, what is strided is packed once.

use bridge_core::{ManagedTensor, Result, TensorSpec};
use bridge_host::copy_strided;

use crate::buffer::Buffer;
use crate::enqueue::{After, Bytes, MapFor};
use crate::event::ClEvent;
use crate::region::Region;

/// A buffer that a command is filling, row-major without gaps.
pub(crate) struct Filled {
    pub(crate) buffer: Buffer,
    /// When it is; `None` where it is already.
    pub(crate) ready: Option<ClEvent>,
}

/// Copies a host tensor of at least one element to a new buffer. The source is not read any more
/// when the call returns.
///
/// # Errors
///
/// [`Error::Unsupported`](bridge_core::Error::Unsupported) where the tensor is not the host's, and
/// as the driver says.
pub(crate) fn upload(source: &ManagedTensor, after: After<'_>) -> Result<Filled> {
    source.require_host()?;
    let count = source.layout().compact_bytes(source.data_type())?;
    let device = after.queue.device();
    let buffer = Buffer::allocate(device, count)?;
    let bytes = Bytes { mem: buffer.raw(), offset: 0, count };
    if source.layout().is_row_major() {
        // SAFETY: the new buffer has `count` bytes, and so many are the tensor's elements, which
        // lie without gaps from the first one on.
        unsafe { after.write(bytes, source.first_element()) }?;
        return Ok(Filled { buffer, ready: None });
    }
    let ready = if device.capabilities().shares_host_memory() {
        let packed = TensorSpec::row_major(source.data_type(), source.shape())?;
        // SAFETY:
        // - The new buffer has `count` bytes, for as many as the row-major elements take; the
        //   mapping is nobody else's and is not used after it ends.
        // - The source's elements are initialized and not written: a tensor's invariant.
        unsafe {
            let first = after.map(bytes, MapFor::Overwriting)?;
            let from = source.first_element();
            copy_strided(from, source.layout(), first, &packed.layout, source.data_type());
            after.unmap(buffer.raw(), first)?
        }
    } else {
        let packed = bridge_host::to_row_major(source)?;
        // SAFETY: as above; the packed elements are kept until the event.
        let written = unsafe { after.write_later(bytes, packed.first_element()) }?;
        written.keep_until_done(packed);
        written
    };
    Ok(Filled { buffer, ready: Some(ready) })
}

/// Copies the elements of a region to new host memory, row-major without gaps, and waits for them.
///
/// # Errors
///
/// As the driver says, and [`Error::OutOfMemory`](bridge_core::Error::OutOfMemory) where the host
/// has none.
pub(crate) fn download(source: &Region<'_>, after: After<'_>) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(source.data_type, source.layout.shape())?;
    // The element's own alignment, so that a vector can own the memory.
    let alignment = spec.data_type.alignment();
    // SAFETY: each way below writes every element, or fails and nothing is returned.
    let target = unsafe { bridge_host::allocate(&spec, alignment) }?;
    let bytes = source.bytes()?;
    if source.layout.is_row_major() {
        // SAFETY: the region lies in its buffer, checked when it was made; the new memory has
        // room for the row-major elements.
        unsafe { after.read(bytes, target.first_element()) }?;
        return Ok(target);
    }
    let before_first = source.layout.byte_offset() - bytes.offset;
    if source.device.capabilities().shares_host_memory() {
        // SAFETY:
        // - As above; the mapping reaches from the lowest element to the highest, and is not used
        //   after it ends.
        // - The target's elements are new.
        unsafe {
            let lowest = after.map(bytes, MapFor::Reading)?;
            let (from, to) = (lowest.wrapping_add(before_first), target.first_element());
            copy_strided(from, source.layout, to, &spec.layout, source.data_type);
            after.unmap(source.mem, lowest)?;
        }
        return Ok(target);
    }
    if let Some(packed) = crate::compute::packed(source, after)? {
        let bytes = Bytes { mem: packed.buffer.raw(), offset: 0, count: source.compact_bytes()? };
        let events: Vec<ClEvent> = packed.ready.into_iter().collect();
        // SAFETY: the packed buffer has the bytes, and so has the new memory.
        unsafe { After { events: &events, ..after }.read(bytes, target.first_element()) }?;
        return Ok(target);
    }
    let whole = bridge_core::HostMemory::allocate(bytes.count, 64)?;
    // SAFETY: the memory has room for all bytes from the lowest element to the highest, which the
    // read fills; the target's elements are new.
    unsafe {
        after.read(bytes, whole.as_ptr())?;
        let (from, to) = (whole.as_ptr().wrapping_add(before_first), target.first_element());
        copy_strided(from, source.layout, to, &spec.layout, source.data_type);
    }
    Ok(target)
}

/// The ways of devices with memory of their own, on a device that is told that it has some.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::Capabilities;
    use crate::{ClDevice, ClQueue};
    use bridge_testkit::bytes_of;

    /// The first device, with a context of its own, as if it had memory of its own.
    fn discrete(compiles: bool) -> Option<ClQueue> {
        let [first, ..] = ClDevice::all().ok()? else { return None };
        let capabilities = Capabilities {
            is_cpu: false,
            unified_memory: false,
            svm_system: false,
            compiles,
            ..first.capabilities().clone()
        };
        let device = ClDevice::new(0, first.id(), first.platform().to_owned(), capabilities);
        Some(ClQueue::new(Box::leak(Box::new(device))).unwrap())
    }

    fn strided() -> ManagedTensor {
        let whole = ManagedTensor::from_vec((0..3000_u32).collect(), &[10, 20, 15]).unwrap();
        whole.permuted(&[2, 0, 1]).unwrap().sliced(0, 14, 7, -2).unwrap()
    }

    #[test]
    fn strided_uploads_are_staged_and_may_return_before_they_arrive() {
        let Some(queue) = discrete(true) else { return };
        let source = strided();
        let expected = bytes_of(&source);
        let filled = upload(&source, After { queue: &queue, events: &[] }).unwrap();
        drop(source);
        let layout = bridge_core::Layout::row_major(&[7, 10, 20]).unwrap();
        let (mem, device) = (filled.buffer.raw(), queue.device());
        let data_type = bridge_core::DataType::U32;
        let region = Region { mem, data_type, layout: &layout, device };
        let events: Vec<ClEvent> = filled.ready.into_iter().collect();
        assert_eq!(events.len(), 1, "nothing was staged");
        let down = download(&region, After { queue: &queue, events: &events }).unwrap();
        assert_eq!(bytes_of(&down), expected);
    }

    #[test]
    fn strided_downloads_are_packed_on_the_device_or_read_whole() {
        for compiles in [true, false] {
            let Some(queue) = discrete(compiles) else { return };
            let after = After { queue: &queue, events: &[] };
            let whole = ManagedTensor::from_vec((0..3000_u32).collect(), &[10, 20, 15]).unwrap();
            let filled = upload(&whole, after).unwrap();
            let view = strided();
            let (mem, device, data_type) = (filled.buffer.raw(), queue.device(), view.data_type());
            let layout = whole.layout().permuted(&[2, 0, 1]).unwrap();
            let layout = layout.sliced(0, 14, 7, -2, data_type).unwrap();
            let region = Region { mem, data_type, layout: &layout, device };
            let packed = crate::compute::packed(&region, after).unwrap();
            assert_eq!(packed.is_some(), compiles);
            assert_eq!(bytes_of(&download(&region, after).unwrap()), bytes_of(&view));
        }
    }
}
