//! Checking booleans before they are copied: Rust has no `bool` but the bytes 0 and 1, and the
//! target may be an array of them.

use bridge_core::{DataType, Error, Layout, Result, TensorError, TypeCode};

use crate::loop_nest::{Axis, LoopNest, while_each_offset};

/// Whether elements are, or are made of, what may be Rust's `bool`.
#[inline]
pub(crate) fn needs_check(data_type: DataType) -> bool {
    data_type.code() == TypeCode::Bool && data_type.bits() == 8
}

/// Fails where a byte of the elements is neither 0 nor 1.
///
/// # Errors
///
/// [`TensorError::InvalidTensor`] naming the first such element in row-major order, as
/// [`Element::check`](bridge_core::Element::check) does.
///
/// # Safety
///
/// The elements of `layout`, of `item` bytes each, can be read at `first`, where that with all
/// indices zero begins, and nobody writes them meanwhile.
pub(crate) unsafe fn check(first: *const u8, layout: &Layout, item: usize) -> Result<()> {
    if layout.is_empty() {
        return Ok(());
    }
    // In the order in which they lie in memory, each once.
    let mut nest = LoopNest::new(layout, item, layout, item);
    nest.axes.retain(|axis| axis.source != 0);
    let (row, outer) = bytes_of(&mut nest, item);
    let start = first.wrapping_offset(nest.source_start);
    let all_valid = while_each_offset(&outer, |offset, _| {
        // SAFETY: the row's bytes are those of elements.
        unsafe { or_of(start.wrapping_offset(offset), row) <= 1 }
    });
    if all_valid {
        return Ok(());
    }
    // SAFETY: the caller promises the same.
    let (index, byte) = unsafe { first_invalid(first, layout, item) };
    Err(Error::Tensor(TensorError::InvalidTensor {
        reason: format!(
            "element {index} of a bool tensor, in row-major order, is the byte {byte}, only 0 and 1 \
             are booleans; hand it over as uint8"
        ),
    }))
}

/// The innermost loop over the bytes of `nest`, whose elements have `item` bytes, and those around
/// it.
fn bytes_of(nest: &mut LoopNest, item: usize) -> (Axis, Vec<Axis>) {
    nest.axes.push(Axis { extent: item, source: 1, target: 1 });
    nest.join_neighbours();
    let mut outer = std::mem::take(&mut nest.axes);
    let row = outer.pop().unwrap_or(Axis { extent: 0, source: 1, target: 1 });
    (row, outer)
}

/// All bytes of a row, joined by `or`.
///
/// # Safety
///
/// They can be read from `first` on, and nobody writes them.
unsafe fn or_of(first: *const u8, row: Axis) -> u8 {
    let joined = |seen, byte: &u8| seen | *byte;
    if row.source == 1 {
        // SAFETY: the caller promises the bytes, which lie side by side.
        return unsafe { std::slice::from_raw_parts(first, row.extent) }.iter().fold(0, joined);
    }
    let places = 0..row.extent.cast_signed();
    // SAFETY: the caller promises the byte at every step of the row.
    places.fold(0, |seen, step| joined(seen, unsafe { &*first.offset(step * row.source) }))
}

/// The row-major index of the first element with a byte that is neither 0 nor 1, and that byte.
/// There is one.
///
/// # Safety
///
/// As [`check`].
unsafe fn first_invalid(first: *const u8, layout: &Layout, item: usize) -> (usize, u8) {
    let mut nest = LoopNest::in_index_order(layout, item, layout, item);
    nest.axes.push(Axis { extent: item, source: 1, target: 1 });
    let (mut place, mut byte) = (0, 0);
    while_each_offset(&nest.axes, |offset, _| {
        // SAFETY: the offset leads to a byte of an element.
        byte = unsafe { first.wrapping_offset(offset).read() };
        place += 1;
        byte <= 1
    });
    ((place - 1) / item, byte)
}
