//! Layouts made from layouts: the same elements in another order, or some of them.

use smallvec::{SmallVec, smallvec};

use super::{INLINE, Layout, Shape, Strides, element_count, invalid};
use crate::data_type::DataType;
use crate::error::{Error, Result};

impl Layout {
    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this layout.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where `axes` is not a permutation of the axes.
    pub fn permuted(&self, axes: &[usize]) -> Result<Self> {
        let mut seen: SmallVec<[bool; INLINE]> = smallvec![false; self.rank()];
        let is_permutation = axes.len() == self.rank()
            && axes
                .iter()
                .all(|&axis| axis < self.rank() && !std::mem::replace(&mut seen[axis], true));
        if !is_permutation {
            return Err(Error::InvalidArgument {
                what: "the order of axes",
                found: format!("{axes:?}"),
                expected: format!("each of the {} axes must be named once", self.rank()),
            });
        }
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        let strides = axes.iter().map(|&axis| self.strides[axis]).collect();
        Self::of(shape, strides, self.byte_offset)
    }

    /// The axes in reverse order.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let shape = self.shape.iter().rev().copied().collect();
        let strides = self.strides.iter().rev().copied().collect();
        self.of_no_more(shape, strides)
    }

    /// Every `step`-th element of `axis`, `count` of them from index `start` on; a negative step
    /// runs backwards.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where an index leaves the axis, [`Error::InvalidLayout`] where
    /// the elements are packed below a byte, [`Error::TooLarge`] where the offset overflows.
    pub fn sliced(
        &self,
        axis: usize,
        start: usize,
        count: usize,
        step: isize,
        data_type: DataType,
    ) -> Result<Self> {
        let extent = self.extent(axis)?;
        if step == 0 && count > 1 {
            return Err(Error::InvalidArgument {
                what: "the step of a slice",
                found: "0".to_owned(),
                expected: "to repeat an element, broadcast it".to_owned(),
            });
        }
        let last = isize::try_from(count.saturating_sub(1))
            .ok()
            .and_then(|steps| steps.checked_mul(step))
            .and_then(|reach| start.checked_add_signed(reach));
        if count > 0 && (start >= extent || last.is_none_or(|last| last >= extent)) {
            return Err(Error::InvalidArgument {
                what: "the slice",
                found: format!("{count} elements from {start} in steps of {step}"),
                expected: format!("every index must be below the extent {extent} of axis {axis}"),
            });
        }
        let (mut shape, mut strides) = (self.shape.clone(), self.strides.clone());
        shape[axis] = count;
        let too_large = || Error::TooLarge { what: "the stride of a slice".to_owned() };
        if count > 1 {
            strides[axis] = self.strides[axis].checked_mul(step).ok_or_else(too_large)?;
        }
        let byte_offset = if count > 0 && !self.is_empty() {
            self.offset_along(axis, start, data_type)?
        } else {
            self.byte_offset
        };
        Self::of(shape, strides, byte_offset)
    }

    /// The part of the layout where index `index` of `axis` is fixed: one axis fewer.
    ///
    /// # Errors
    ///
    /// As [`sliced`](Self::sliced).
    pub fn selected(&self, axis: usize, index: usize, data_type: DataType) -> Result<Self> {
        let Self { mut shape, mut strides, byte_offset, .. } =
            self.sliced(axis, index, 1, 1, data_type)?;
        shape.remove(axis);
        strides.remove(axis);
        Self::of(shape, strides, byte_offset)
    }

    /// With a new axis of extent 1 before axis `axis`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where `axis` is above the rank, [`Error::InvalidLayout`] above
    /// [`MAX_RANK`](super::MAX_RANK).
    pub fn with_axis(&self, axis: usize) -> Result<Self> {
        if axis > self.rank() {
            return Err(Error::InvalidArgument {
                what: "the new axis",
                found: axis.to_string(),
                expected: format!("it must be at most the rank {}", self.rank()),
            });
        }
        let (mut shape, mut strides) = (self.shape.clone(), self.strides.clone());
        shape.insert(axis, 1);
        strides.insert(axis, 0);
        Self::of(shape, strides, self.byte_offset)
    }

    /// The layout repeated to `shape` by NumPy's broadcasting rules, with strides of zero.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where an extent is neither equal nor 1.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Self> {
        let mismatch = || Error::InvalidArgument {
            what: "the shape to broadcast to",
            found: format!("{shape:?}"),
            expected: format!(
                "its last axes must equal {:?} or stand for an extent of 1",
                self.shape
            ),
        };
        let new_axes = shape.len().checked_sub(self.rank()).ok_or_else(mismatch)?;
        let mut strides: Strides = smallvec![0; shape.len()];
        for (axis, (&extent, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            match shape[new_axes + axis] {
                wanted if wanted == extent => strides[new_axes + axis] = stride,
                _ if extent == 1 => {}
                _ => return Err(mismatch()),
            }
        }
        Self::new(shape, &strides, self.byte_offset)
    }

    /// The same elements in the same row-major order under another shape, without moving any.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where the number of elements differs, or where the strides
    /// cannot express the shape and the elements would have to be copied.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        let refusal = |expected: String| Error::InvalidArgument {
            what: "the new shape",
            found: format!("{shape:?}"),
            expected,
        };
        if element_count(shape)? != self.element_count() {
            return Err(refusal(format!("{:?} has {} elements", self.shape, self.element_count())));
        }
        let offset = self.byte_offset;
        if self.is_row_major() {
            return Ok(Self::row_major(shape)?.at_byte_offset(offset));
        }
        // Runs of axes that are one axis in memory; a new axis must stay within one run.
        let runs = self.coalesced();
        let mut runs = runs.shape.iter().zip(&runs.strides).rev().peekable();
        let mut strides: Strides = smallvec![0; shape.len()];
        let mut left = 1_usize;
        let mut stride = 0_isize;
        for axis in (0..shape.len()).rev() {
            if shape[axis] == 1 {
                continue;
            }
            if left == 1 {
                let Some((&extent, &run)) = runs.next() else {
                    break;
                };
                (left, stride) = (extent, run);
            }
            if !left.is_multiple_of(shape[axis]) {
                return Err(refusal(format!(
                    "the strides {:?} cannot express it: copy first",
                    self.strides
                )));
            }
            strides[axis] = stride;
            stride = stride.wrapping_mul(shape[axis].cast_signed());
            left /= shape[axis];
        }
        Self::new(shape, &strides, offset)
    }

    /// The same elements in the same order with as few axes as possible: axes of extent 1 are
    /// left out and neighbours that are one run in memory joined.
    #[must_use]
    pub fn coalesced(&self) -> Self {
        let mut shape = Shape::new();
        let mut strides = Strides::new();
        if self.is_empty() {
            return self.of_no_more(smallvec![0], smallvec![1]);
        }
        for (extent, stride) in self.moving_axes() {
            match (shape.last_mut(), strides.last_mut()) {
                (Some(outer), Some(step)) if *step == stride.wrapping_mul(extent.cast_signed()) => {
                    *outer *= extent;
                    *step = stride;
                }
                _ => {
                    shape.push(extent);
                    strides.push(stride);
                }
            }
        }
        self.of_no_more(shape, strides)
    }

    /// A layout of elements that this one has, so that they can be counted.
    fn of_no_more(&self, shape: Shape, strides: Strides) -> Self {
        Self::of(shape, strides, self.byte_offset)
            .unwrap_or_else(|error| unreachable!("no more elements than before: {error}"))
    }

    fn extent(&self, axis: usize) -> Result<usize> {
        self.shape.get(axis).copied().ok_or_else(|| Error::InvalidArgument {
            what: "the axis",
            found: axis.to_string(),
            expected: format!("it must be below the rank {}", self.rank()),
        })
    }

    fn offset_along(&self, axis: usize, index: usize, data_type: DataType) -> Result<usize> {
        if index == 0 {
            return Ok(self.byte_offset);
        }
        let item = data_type.size_in_bytes().ok_or_else(|| {
            invalid(format!("packed {data_type} cannot be sliced: its elements share bytes"))
        })?;
        let bytes = self.strides[axis]
            .checked_mul(index.cast_signed())
            .and_then(|elements| elements.checked_mul(item.cast_signed()));
        bytes.and_then(|bytes| self.byte_offset.checked_add_signed(bytes)).ok_or_else(|| {
            Error::InvalidArgument {
                what: "the slice",
                found: format!("index {index} of axis {axis}"),
                expected: "it must not lie before the data pointer".to_owned(),
            }
        })
    }
}
