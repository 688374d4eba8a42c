//! What the elements of a tensor are, read one by one: slow, simple, and sharing no code with what
//! it checks.

use bridge_core::{Layout, ManagedTensor};

/// The elements of a host tensor in row-major order, as bytes. Packed elements stay packed, and
/// what lies behind the last of them is zero.
///
/// # Panics
///
/// Where the memory is not the host's.
pub fn bytes_of(tensor: &ManagedTensor) -> Vec<u8> {
    assert!(
        tensor.device().kind().is_host_accessible(),
        "bytes_of reads host memory, this tensor is on {}: transfer it first",
        tensor.device()
    );
    // SAFETY: the CPU can read the memory, and a tensor's elements are initialized and live.
    unsafe { gather(tensor) }
}

/// Fails where two host tensors differ in element type, shape or a single bit of an element.
///
/// # Panics
///
/// Where they differ, naming the first element that does.
pub fn assert_same_elements(left: &ManagedTensor, right: &ManagedTensor) {
    assert_eq!(left.data_type(), right.data_type(), "the element types differ");
    assert_eq!(left.shape(), right.shape(), "the shapes differ");
    if let Err(difference) = compare(&bytes_of(left), &bytes_of(right), left.data_type().bits()) {
        panic!("{difference}");
    }
}

/// Says where two row-major runs of elements differ first.
pub(crate) fn compare(expected: &[u8], found: &[u8], bits: u8) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    let item = usize::from(bits / 8).max(1);
    Err(match at {
        Some(byte) => {
            let start = byte / item * item;
            let show =
                |bytes: &[u8]| format!("{:02x?}", &bytes[start..bytes.len().min(start + item)]);
            format!(
                "the elements differ from row-major element {} on: bytes {} became {}",
                byte / item,
                show(expected),
                show(found)
            )
        }
        None => format!("{} bytes of elements became {}", expected.len(), found.len()),
    })
}

/// # Safety
///
/// The CPU can read the tensor's memory through its address.
pub(crate) unsafe fn gather(tensor: &ManagedTensor) -> Vec<u8> {
    let layout = tensor.layout();
    let first = tensor.first_element().cast_const();
    let Some(size) = tensor.data_type().size_in_bytes() else {
        let bits = layout.element_count() * tensor.data_type().size_in_bits();
        let mut packed = vec![0; bits.div_ceil(8)];
        if !packed.is_empty() {
            // SAFETY: packed elements are row-major without gaps, so they are these bytes.
            unsafe { first.copy_to_nonoverlapping(packed.as_mut_ptr(), packed.len()) };
        }
        clear_padding(&mut packed, bits);
        return packed;
    };
    let mut bytes = Vec::with_capacity(layout.element_count() * size);
    for index in indices(layout.shape()) {
        let place = first.wrapping_offset(offset_of(layout, &index) * size.cast_signed());
        // SAFETY: the index is within the shape, so an element of `size` bytes lies there.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(place, size) });
    }
    bytes
}

/// Clears the bits behind the last packed element.
pub(crate) fn clear_padding(packed: &mut [u8], bits: usize) {
    if let (Some(last), rest @ 1..) = (packed.last_mut(), bits % 8) {
        *last &= (1 << rest) - 1;
    }
}

/// How many elements lie between the one whose indices are all zero and the one at `index`.
pub(crate) fn offset_of(layout: &Layout, index: &[usize]) -> isize {
    let steps = index.iter().zip(layout.strides());
    steps.map(|(&step, &stride)| if step == 0 { 0 } else { step.cast_signed() * stride }).sum()
}

/// Every index tuple of a shape, in row-major order.
pub(crate) fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let count: usize = if shape.contains(&0) { 0 } else { shape.iter().product() };
    let shape = shape.to_vec();
    (0..count).map(move |mut left| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = left % shape[axis];
            left /= shape[axis];
        }
        index
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_lead_to_the_elements() {
        let tensor = ManagedTensor::from_vec(vec![1_u16, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        let columns = tensor.permuted(&[1, 0]).unwrap();
        let backwards = columns.sliced(1, 1, 2, -1).unwrap();
        let numbers: Vec<u16> = bytes_of(&backwards)
            .chunks(2)
            .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(numbers, [4, 1, 5, 2, 6, 3]);
    }

    #[test]
    fn a_difference_is_named() {
        let text = compare(&[1, 2, 3, 4], &[1, 2, 9, 4], 16).unwrap_err();
        assert!(text.contains("element 1") && text.contains("[03, 04]"), "{text}");
    }
}
