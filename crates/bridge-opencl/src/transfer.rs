//! Between host and device: what is packed goes straight, what is strided is packed once.

use bridge_core::{
    Device, Element, Error, HostMemory, ManagedTensor, Result, TensorError, TensorSpec,
};
use bridge_host::copy_strided;

use crate::device::ClDevice;
use crate::enqueue::{After, Bytes, MapFor};
use crate::event::ClEvent;
use crate::memory::{Filled, Memory, new_host, works_in_host_memory};
use crate::region::Region;

/// Copies a host tensor of at least one element to new memory, row-major. The source is not read any
/// more when the call returns.
///
/// # Errors
///
/// [`Error::Unsupported`](bridge_core::Error::Unsupported) where the tensor is not the host's, and
/// as [`Memory::allocate`].
pub(crate) fn upload(source: &ManagedTensor, after: After<'_>) -> Result<Filled> {
    source.require_host()?;
    let device = after.queue.device();
    let count = source.layout().compact_bytes(source.data_type())?;
    device.can_hold(count)?;
    if works_in_host_memory(device) {
        return Ok(Filled { memory: Memory::copied(device, source)?, ready: None });
    }
    let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
    let memory = Memory::allocate(device, &spec)?;
    let bytes = Bytes { mem: memory.raw(), offset: 0, count };
    // SAFETY: the new memory has `count` bytes, for as many as the row-major elements take.
    let ready = unsafe { upload_to(source, bytes, after) }?;
    Ok(Filled { memory, ready })
}

/// As [`upload`], to memory that is there; gives the event with which it is filled, `None` where it is.
///
/// # Errors
///
/// As the driver says, and [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory) where the host
/// has none to pack elements in.
///
/// # Safety
///
/// The source is the host's. The bytes are those of its elements, row-major, in a live buffer, and nobody
/// else's.
pub(crate) unsafe fn upload_to(
    source: &ManagedTensor,
    bytes: Bytes,
    after: After<'_>,
) -> Result<Option<ClEvent>> {
    let device = after.queue.device();
    if source.layout().is_row_major() && !pays_to_map(device, bytes.count) {
        // SAFETY: the caller promises the bytes, and so many are the tensor's elements, which lie without
        // gaps from the first one on.
        unsafe { after.write(bytes, source.first_element()) }?;
        return Ok(None);
    }
    if device.capabilities().shares_host_memory() {
        let spec = TensorSpec::row_major(source.data_type(), source.shape())?;
        // SAFETY:
        // - The caller promises the bytes, as many as the row-major elements take; the mapping is nobody
        //   else's and is not used after it ends.
        // - The source's elements are initialized and not written: a tensor's invariant.
        return unsafe {
            let first = after.map(bytes, MapFor::Overwriting)?;
            let from = source.first_element();
            copy_strided(from, source.layout(), first, &spec.layout, source.data_type());
            after.unmap(bytes.mem, first).map(Some)
        };
    }
    let packed = bridge_host::to_row_major(source)?;
    // SAFETY: as above; the packed elements are kept until the event.
    let written = unsafe { after.write_later(bytes, packed.first_element()) }?;
    written.keep_until_done(packed);
    Ok(Some(written))
}

/// Bytes from which mapping, copying with our own kernels and unmapping take less time than a processor's
/// driver takes to read or to write, on one thread and through the caches.
const MAPPED_BYTES: usize = 16 << 20;

fn pays_to_map(device: &ClDevice, bytes: usize) -> bool {
    works_in_host_memory(device) && bytes >= MAPPED_BYTES
}

/// Elements on the host.
pub(crate) struct Downloaded {
    pub(crate) host: ManagedTensor,
    /// When the region may be written again; `None` where it already may.
    pub(crate) unmapped: Option<ClEvent>,
}

impl Downloaded {
    /// The elements, when the region may be written again.
    ///
    /// # Errors
    ///
    /// As the driver says.
    pub(crate) fn released(self, source: &Region<'_>) -> Result<ManagedTensor> {
        if let Some(unmapped) = self.unmapped {
            unmapped.wait(source.device.device())?;
        }
        Ok(self.host)
    }
}

/// Copies the elements of a region to new host memory, row-major without gaps, and waits for them.
///
/// # Errors
///
/// As the driver says, and [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory) where the host
/// has none.
pub(crate) fn download(source: &Region<'_>, after: After<'_>) -> Result<Downloaded> {
    let spec = TensorSpec::row_major(source.data_type, source.layout.shape())?;
    // SAFETY: each way below writes every element, or fails and nothing is returned.
    let host = unsafe { new_host(&spec, HostMemory::allocate) }?;
    // SAFETY: the memory is new and has room for the row-major elements.
    unsafe { download_to(source, after, host) }
}

/// As [`download`], to memory that is there: row-major, of the region's shape and element type.
///
/// # Errors
///
/// As [`download`].
///
/// # Safety
///
/// The tensor's memory is the host's and nobody else's. Its elements need not be initialized: where this
/// succeeds, all of them have been written.
pub(crate) unsafe fn download_to(
    source: &Region<'_>,
    after: After<'_>,
    host: ManagedTensor,
) -> Result<Downloaded> {
    let spec = TensorSpec::row_major(source.data_type, source.layout.shape())?;
    let bytes = source.bytes()?;
    if source.layout.is_row_major() && !pays_to_map(source.device, bytes.count) {
        // SAFETY: the region lies in its buffer, checked when it was made; the target has room for the
        // row-major elements, which the caller promises.
        unsafe { after.read(bytes, host.first_element()) }?;
        return Ok(Downloaded { host, unmapped: None });
    }
    let before_first = source.layout.byte_offset() - bytes.offset;
    if source.device.capabilities().shares_host_memory() {
        // SAFETY:
        // - As above; the mapping reaches from the lowest element to the highest, and is not used
        //   after it ends.
        // - The target's elements are nobody else's, which the caller promises.
        let unmapped = unsafe {
            let lowest = after.map(bytes, MapFor::Reading)?;
            let (from, to) = (lowest.wrapping_add(before_first), host.first_element());
            copy_strided(from, source.layout, to, &spec.layout, source.data_type);
            after.unmap(source.mem, lowest)?
        };
        return Ok(Downloaded { host, unmapped: Some(unmapped) });
    }
    if let Some(packed) = crate::packing::packed(source, after)? {
        let bytes = Bytes { mem: packed.memory.raw(), offset: 0, count: source.compact_bytes()? };
        let events: Vec<ClEvent> = packed.ready.into_iter().collect();
        // SAFETY: the packed memory has the bytes, and so has the target.
        unsafe { After { events: &events, ..after }.read(bytes, host.first_element()) }?;
        return Ok(Downloaded { host, unmapped: None });
    }
    let whole = HostMemory::allocate(bytes.count, 64)?;
    // SAFETY: the memory has room for all bytes from the lowest element to the highest, which the
    // read fills; the target's elements are nobody else's.
    unsafe {
        after.read(bytes, whole.as_ptr())?;
        let (from, to) = (whole.as_ptr().wrapping_add(before_first), host.first_element());
        copy_strided(from, source.layout, to, &spec.layout, source.data_type);
    }
    Ok(Downloaded { host, unmapped: None })
}

/// Bytes below which what is done around the driver's call takes a time worth saving.
const FEW_BYTES: usize = 128 << 10;

/// As [`download`], to a vector, without a tensor between. `None` where the elements are not `T`, not
/// row-major, or not few.
///
/// # Errors
///
/// As [`download`], and [`TensorError::InvalidTensor`] where an element is not a value of `T`.
pub(crate) fn download_few<T: Element>(
    source: &Region<'_>,
    after: After<'_>,
) -> Result<Option<Vec<T>>> {
    let bytes = source.bytes()?;
    let is_row = source.data_type == T::DATA_TYPE && source.layout.is_row_major();
    if !is_row || bytes.count >= FEW_BYTES {
        return Ok(None);
    }
    let count = source.layout.element_count();
    let mut vec = Vec::<T>::new();
    let lack = Error::Tensor(TensorError::OutOfMemory {
        device: Device::CPU,
        requested: bytes.count as u64,
    });
    vec.try_reserve_exact(count).map_err(|_| lack)?;
    // SAFETY:
    // - The region lies in its buffer, checked when it was made; the vector has room for its elements,
    //   which are `T` and lie without gaps.
    // - All of them have been read when they are checked, and are values when the vector has them.
    unsafe {
        after.read(bytes, vec.as_mut_ptr().cast())?;
        T::check(vec.as_ptr().cast(), count)?;
        vec.set_len(count);
    }
    Ok(Some(vec))
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
        let (mem, device) = (filled.memory.raw(), queue.device());
        let data_type = bridge_core::DataType::U32;
        let region = Region { mem, data_type, layout: &layout, device };
        let events: Vec<ClEvent> = filled.ready.into_iter().collect();
        assert_eq!(events.len(), 1, "nothing was staged");
        let down = download(&region, After { queue: &queue, events: &events }).unwrap();
        assert_eq!(bytes_of(&down.host), expected);
    }

    #[test]
    fn strided_downloads_are_packed_on_the_device_or_read_whole() {
        for compiles in [true, false] {
            let Some(queue) = discrete(compiles) else { return };
            let after = After { queue: &queue, events: &[] };
            let whole = ManagedTensor::from_vec((0..3000_u32).collect(), &[10, 20, 15]).unwrap();
            let filled = upload(&whole, after).unwrap();
            let view = strided();
            let (mem, device, data_type) = (filled.memory.raw(), queue.device(), view.data_type());
            let layout = whole.layout().permuted(&[2, 0, 1]).unwrap();
            let layout = layout.sliced(0, 14, 7, -2, data_type).unwrap();
            let region = Region { mem, data_type, layout: &layout, device };
            let packed = crate::packing::packed(&region, after).unwrap();
            assert_eq!(packed.is_some(), compiles);
            assert_eq!(bytes_of(&download(&region, after).unwrap().host), bytes_of(&view));
        }
    }

    #[test]
    fn copies_go_to_memory_that_is_there_wherever_it_begins() {
        for compiles in [true, false] {
            let Some(queue) = discrete(compiles) else { return };
            let (after, device) = (After { queue: &queue, events: &[] }, queue.device());
            let whole = ManagedTensor::from_vec((0..3000_u32).collect(), &[10, 20, 15]).unwrap();
            let filled = upload(&whole, after).unwrap();
            let view = strided();
            let (mem, data_type) = (filled.memory.raw(), view.data_type());
            let layout = whole.layout().permuted(&[2, 0, 1]).unwrap();
            let layout = layout.sliced(0, 14, 7, -2, data_type).unwrap();
            let source = Region { mem, data_type, layout: &layout, device };
            let count = source.compact_bytes().unwrap();
            for offset in [0, 64] {
                let spec = TensorSpec::row_major(data_type, &[(offset + count) / 4]).unwrap();
                let memory = Memory::allocate(device, &spec).unwrap();
                let bytes = Bytes { mem: memory.raw(), offset, count };
                // SAFETY: the new memory has the bytes, as many as the elements take.
                let ready = unsafe { crate::compute::copied_to(&source, bytes, after) }.unwrap();
                let events: Vec<ClEvent> = ready.into_iter().collect();
                let layout = bridge_core::Layout::row_major(&[7, 10, 20]).unwrap();
                let layout = layout.at_byte_offset(offset);
                let there = Region { mem: memory.raw(), layout: &layout, ..source };
                let down = download(&there, After { queue: &queue, events: &events }).unwrap();
                assert_eq!(bytes_of(&down.host), bytes_of(&view));
            }
        }
    }
}
