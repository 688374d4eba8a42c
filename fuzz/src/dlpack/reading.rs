//! A tensor that was accepted, read through the safe interface and compared with what its descriptor says.

use arraybridge::{Access, Convert, CopyPolicy, DataType, Device, Element, ManagedTensor, Options};

use super::descriptor::{Descriptor, Extent, IS_COPIED, READ_ONLY, View, Way};
use super::producer::Memory;

/// The most elements that are copied.
const MOST: usize = 1 << 10;

/// Reads the tensor in every way there is, hands it out and takes it back, and drops it.
///
/// # Panics
///
/// Where it is not as the descriptor says, or reads other bytes than its elements.
pub fn read(tensor: ManagedTensor, descriptor: &Descriptor, extent: &Extent, memory: &Memory) {
    check(&tensor, descriptor, extent, memory);
    let elements = Elements {
        shape: descriptor.shape.iter().map(|&extent| extent as usize).collect(),
        strides: extent.strides.iter().map(|&stride| stride as isize).collect(),
        first: memory.first,
    };
    check_slices(&tensor, memory);
    let shared = tensor.into_shared();
    check_copy(ManagedTensor::alias(&shared), &elements, memory, descriptor);
    if let Some((view, elements)) = viewed(ManagedTensor::alias(&shared), &elements, descriptor) {
        check_copy(view, &elements, memory, descriptor);
    }
    let Ok(tensor) = shared.try_unwrap() else {
        panic!("the aliases are gone: {descriptor:?}");
    };
    let spec = tensor.spec();
    // SAFETY: what is handed out is owned here, and is as true as the tensor that it is made of.
    let again = unsafe {
        match descriptor.way {
            Way::Legacy => match tensor.into_dlpack_legacy() {
                Ok(raw) => ManagedTensor::from_dlpack_legacy(raw.as_ptr()),
                Err(read_only) => Ok(*read_only),
            },
            _ => ManagedTensor::from_dlpack(tensor.into_dlpack().as_ptr()),
        }
    };
    let again = again.unwrap_or_else(|error| panic!("handed out: {error}: {descriptor:?}"));
    let (before, after) = (&spec.layout, again.layout());
    assert_eq!((before.shape(), before.strides()), (after.shape(), after.strides()));
    assert_eq!(spec.data_type, again.data_type());
    check_copy(again, &elements, memory, descriptor);
}

/// Compares what the tensor says of itself.
fn check(tensor: &ManagedTensor, descriptor: &Descriptor, extent: &Extent, memory: &Memory) {
    assert_eq!(tensor.data_type(), extent.data_type, "{descriptor:?}");
    assert_eq!(tensor.device(), extent.device, "{descriptor:?}");
    let access = match (descriptor.way, descriptor.flags & 3) {
        (Way::Legacy, _) => Access::Shared,
        // Read-only comes first of the flags; as an argument both are neither.
        (Way::Versioned, flags) if flags & READ_ONLY != 0 => Access::ReadOnly,
        (_, READ_ONLY) => Access::ReadOnly,
        (_, IS_COPIED) => Access::Exclusive,
        _ => Access::Shared,
    };
    assert_eq!(tensor.access(), access, "{descriptor:?}");
    let layout = tensor.layout();
    let shape: Vec<i64> = layout.shape().iter().map(|&extent| extent as i64).collect();
    assert_eq!(shape, descriptor.shape, "{descriptor:?}");
    assert_eq!(layout.element_count(), extent.count, "{descriptor:?}");
    let span = layout.span(extent.data_type).expect("an accepted layout");
    assert_eq!((span.start as i128, span.end as i128), (extent.low, extent.high), "{descriptor:?}");
    if tensor.device().kind().has_addresses() && !layout.is_empty() {
        let first = memory.start + memory.first;
        assert_eq!(tensor.first_element().addr(), first, "{descriptor:?}");
        let lowest = tensor.data().addr();
        assert_eq!(lowest as i128, first as i128 + extent.low, "{descriptor:?}");
    }
}

/// Where elements lie in the buffer.
struct Elements {
    shape: Vec<usize>,
    strides: Vec<isize>,
    /// The byte of the one whose indices are all zero.
    first: usize,
}

impl Elements {
    fn count(&self) -> usize {
        self.shape.iter().fold(1_usize, |count, &extent| count.saturating_mul(extent))
    }

    /// Their bytes in row-major order, of so many each.
    fn bytes(&self, size: usize, memory: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut index = vec![0_usize; self.shape.len()];
        for _ in 0..self.count() {
            let steps = index.iter().zip(&self.strides).map(|(&at, &stride)| at as isize * stride);
            let start = self.first.strict_add_signed(steps.sum::<isize>() * size as isize);
            bytes.extend_from_slice(&memory[start..start + size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        bytes
    }
}

/// Copies the elements, and compares them with those in the buffer.
fn check_copy(
    tensor: ManagedTensor,
    elements: &Elements,
    memory: &Memory,
    descriptor: &Descriptor,
) {
    let (data_type, count) = (tensor.data_type(), elements.count());
    if count > MOST {
        return;
    }
    let is_on_host = tensor.device().kind().is_host_accessible();
    let is_cpu = tensor.device() == Device::CPU;
    let options = Options::default().copy(CopyPolicy::Always);
    let packed: ManagedTensor = match tensor.convert_to(options) {
        Ok(packed) => packed,
        Err(refused) => {
            // A byte that is no boolean becomes none.
            let is_plain = DataType::NAMED.contains(&data_type) && data_type != DataType::BOOL;
            assert!(!is_cpu || !is_plain, "{}: {descriptor:?}", refused.error());
            return;
        }
    };
    assert!(is_on_host || count == 0, "memory of a device was read: {descriptor:?}");
    let layout = packed.layout();
    assert_eq!(layout.shape(), elements.shape, "{descriptor:?}");
    if count == 0 {
        return;
    }
    let length = layout.compact_bytes(data_type).expect("a copy's bytes");
    assert!(layout.is_dense(), "{layout:?}: {descriptor:?}");
    // SAFETY: a copy is in host memory, initialized, without gaps from its lowest address on, and nobody
    // else knows of it.
    let bytes = unsafe { std::slice::from_raw_parts(packed.data().cast::<u8>(), length) };
    let copied = Elements {
        shape: layout.shape().to_vec(),
        strides: layout.strides().to_vec(),
        first: layout.byte_offset(),
    };
    match data_type.size_in_bytes() {
        Some(size) => {
            let wanted = elements.bytes(size, &memory.bytes);
            assert_eq!(copied.bytes(size, bytes), wanted, "{descriptor:?}");
        }
        None => {
            // The last byte may have more bits than elements.
            let whole = count * data_type.size_in_bits() / 8;
            let wanted = &memory.bytes[elements.first..][..whole];
            assert_eq!(bytes[..whole], *wanted, "{descriptor:?}");
        }
    }
}

/// The tensor seen in another way, and where its elements lie then.
fn viewed(
    tensor: ManagedTensor,
    elements: &Elements,
    descriptor: &Descriptor,
) -> Option<(ManagedTensor, Elements)> {
    let size = tensor.data_type().size_in_bytes()? as isize;
    let rank = elements.shape.len();
    match descriptor.view {
        View::Whole => None,
        View::Reversed => {
            let axes: Vec<usize> = (0..rank).rev().collect();
            let view = tensor.permuted(&axes).unwrap_or_else(|_| panic!("{descriptor:?}"));
            let shape = elements.shape.iter().rev().copied().collect();
            let strides = elements.strides.iter().rev().copied().collect();
            Some((view, Elements { shape, strides, first: elements.first }))
        }
        View::Sliced { axis, start, step } => {
            let axis = usize::from(axis).checked_rem(rank)?;
            let (start, step) = (usize::from(start), usize::from(step).max(1));
            let left = elements.shape[axis].checked_sub(start).filter(|&left| left > 0)?;
            let extent = left.div_ceil(step);
            let view = tensor.sliced(axis, start, extent, step.cast_signed()).ok()?;
            let (mut shape, mut strides) = (elements.shape.clone(), elements.strides.clone());
            let first = match elements.count() {
                0 => elements.first,
                _ => elements.first.strict_add_signed(start as isize * strides[axis] * size),
            };
            shape[axis] = extent;
            strides[axis] = strides[axis].checked_mul(step.cast_signed())?;
            Some((view, Elements { shape, strides, first }))
        }
    }
}

/// Slices of every type that there could be: each lies in the buffer.
fn check_slices(tensor: &ManagedTensor, memory: &Memory) {
    fn check<T: Element>(tensor: &ManagedTensor, memory: &Memory) {
        // SAFETY: nobody writes to the memory.
        let Ok(slice) = (unsafe { tensor.as_shared_slice::<T>() }) else { return };
        assert_eq!(slice.len(), tensor.layout().element_count());
        let range = slice.as_ptr_range();
        let buffer = memory.start..=memory.start + memory.bytes.len();
        let is_within = buffer.contains(&range.start.addr()) && buffer.contains(&range.end.addr());
        assert!(is_within || slice.is_empty(), "{range:?} in {buffer:?}");
        assert!(tensor.device().kind().is_host_accessible(), "a slice of a device's memory");
        assert_eq!(tensor.others_may_write(), tensor.as_slice::<T>().is_err());
    }
    check::<u8>(tensor, memory);
    check::<i16>(tensor, memory);
    check::<i64>(tensor, memory);
    check::<f32>(tensor, memory);
    check::<f64>(tensor, memory);
    check::<bool>(tensor, memory);
}
