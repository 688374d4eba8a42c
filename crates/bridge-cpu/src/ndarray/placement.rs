//! Where a tensor's elements lie, in ndarray's words.

use bridge_core::{Element, Layout, ManagedTensor, Result};
use ndarray::{Axis, IxDyn, RawArrayView, RawArrayViewMut, ShapeBuilder, StrideShape};

/// Where ndarray finds the elements: it wants the lowest address and strides that are not negative,
/// and turns axes around itself.
pub(super) struct Placement<T> {
    lowest: *mut T,
    shape: StrideShape<IxDyn>,
    backwards: Vec<Axis>,
}

impl<T: Element> Placement<T> {
    pub(super) fn of(tensor: &ManagedTensor) -> Self {
        let layout = tensor.layout();
        let mut lowest = tensor.first_element().cast::<T>();
        if layout.is_empty() {
            lowest = std::ptr::NonNull::dangling().as_ptr();
        }
        let mut backwards = Vec::new();
        let mut strides = IxDyn::zeros(layout.rank());
        for (axis, (&extent, &stride)) in layout.shape().iter().zip(layout.strides()).enumerate() {
            if extent <= 1 || layout.is_empty() {
                continue;
            }
            strides[axis] = stride.unsigned_abs();
            if stride < 0 {
                lowest = lowest.wrapping_offset(stride.wrapping_mul((extent - 1).cast_signed()));
                backwards.push(Axis(axis));
            }
        }
        Self { lowest, shape: IxDyn(layout.shape()).strides(strides), backwards }
    }

    pub(super) fn view(self) -> RawArrayView<T, IxDyn> {
        // SAFETY: `from_shape_ptr` asks that the pointer is not null and aligned (an imported
        // tensor's is, or it dangles where there are no elements), that strides are not negative,
        // that all elements lie in one allocation, and that their span is at most `isize::MAX`
        // bytes (a checked layout's is).
        let mut view = unsafe { RawArrayView::from_shape_ptr(self.shape, self.lowest) };
        for axis in self.backwards {
            view.invert_axis(axis);
        }
        view
    }

    pub(super) fn view_mut(self) -> RawArrayViewMut<T, IxDyn> {
        // SAFETY: as in `view`; callers have seen that no element is repeated.
        let mut view = unsafe { RawArrayViewMut::from_shape_ptr(self.shape, self.lowest) };
        for axis in self.backwards {
            view.invert_axis(axis);
        }
        view
    }
}

/// The strides as ndarray writes them, where there are elements and no axis runs backwards.
#[inline]
pub(super) fn forward(layout: &Layout) -> Option<&[usize]> {
    let strides = layout.strides();
    if layout.is_empty() || strides.iter().any(|&stride| stride < 0) {
        return None;
    }
    // SAFETY: `usize` has the size and alignment of `isize` and every bit pattern is one; the slice
    // borrows the same elements for the same time.
    Some(unsafe { std::slice::from_raw_parts(strides.as_ptr().cast(), strides.len()) })
}

/// Fails where an element is not a valid value of `T`, as a byte 2 is no `bool`.
///
/// # Safety
///
/// Nobody writes the memory meanwhile.
pub(super) unsafe fn check_values<T: Element>(tensor: &ManagedTensor) -> Result<()> {
    if !T::NEEDS_CHECK {
        return Ok(());
    }
    let bytes = Placement::<T>::of(tensor).view().cast::<u8>();
    // SAFETY: elements that need a check are single bytes; each is an initialized `u8`, and nobody
    // writes them meanwhile, as the caller promises.
    let bytes = unsafe { bytes.deref_into_view() };
    match bytes.as_slice_memory_order() {
        // SAFETY: the slice holds these elements, initialized.
        Some(slice) => unsafe { T::check(slice.as_ptr(), slice.len()) }?,
        None => bytes.iter().try_for_each(|byte| {
            // SAFETY: the reference leads to one initialized byte.
            unsafe { T::check(std::ptr::from_ref(byte), 1) }
        })?,
    }
    Ok(())
}
