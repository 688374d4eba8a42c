//! Layout algebra: where the elements of a tensor lie relative to its data pointer.
//!
//! All arithmetic on shapes, strides and offsets lives here, checked, and nowhere else.

use std::fmt;
use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use crate::data_type::DataType;
use crate::error::{Error, Result};

/// The highest rank a layout may have; NumPy's own limit.
pub const MAX_RANK: usize = 64;

/// Ranks up to this need no heap allocation.
const INLINE: usize = 4;

/// The extents of the axes.
pub type Shape = SmallVec<[usize; INLINE]>;
/// The distances between neighbours along the axes, in elements, signed.
pub type Strides = SmallVec<[isize; INLINE]>;

/// Shape, strides and byte offset of a tensor.
///
/// Strides count elements and may be negative or, for a broadcast axis, zero. The byte offset
/// leads from the data pointer to the element whose indices are all zero. Strides of axes of
/// extent 1, and all strides of an empty tensor, mean nothing and are ignored everywhere.
///
/// A layout knows no element type. What depends on the element's size takes a [`DataType`].
///
/// ```
/// use bridge_core::{DataType, Layout};
///
/// let picture = Layout::row_major(&[512, 640, 3])?;
/// let transposed = picture.permuted(&[1, 0, 2])?;
/// assert_eq!(transposed.strides(), [3, 1920, 1]);
/// assert!(!transposed.is_row_major());
/// assert_eq!(transposed.span(DataType::U8)?, 0..983_040);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    shape: Shape,
    strides: Strides,
    byte_offset: usize,
}

impl Layout {
    /// A layout of these parts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLayout`] where shape and strides differ in length or the rank is above
    /// [`MAX_RANK`], [`Error::TooLarge`] where the elements cannot be counted in a `usize`.
    #[inline]
    pub fn new(shape: &[usize], strides: &[isize], byte_offset: usize) -> Result<Self> {
        if shape.len() != strides.len() {
            return Err(invalid(format!(
                "{} extents and {} strides: there must be one stride an axis",
                shape.len(),
                strides.len()
            )));
        }
        element_count(shape)?;
        Ok(Self {
            shape: Shape::from_slice(shape),
            strides: Strides::from_slice(strides),
            byte_offset,
        })
    }

    /// The compact layout of `shape` with the last axis densest (C order).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLayout`] for a rank above [`MAX_RANK`], [`Error::TooLarge`] where the
    /// elements cannot be counted.
    pub fn row_major(shape: &[usize]) -> Result<Self> {
        element_count(shape)?;
        let mut strides: Strides = smallvec![0; shape.len()];
        fill_compact(&mut strides, shape, (0..shape.len()).rev());
        Ok(Self { shape: Shape::from_slice(shape), strides, byte_offset: 0 })
    }

    /// The compact layout of `shape` with the first axis densest (Fortran order).
    ///
    /// # Errors
    ///
    /// As [`row_major`](Self::row_major).
    pub fn column_major(shape: &[usize]) -> Result<Self> {
        element_count(shape)?;
        let mut strides: Strides = smallvec![0; shape.len()];
        fill_compact(&mut strides, shape, 0..shape.len());
        Ok(Self { shape: Shape::from_slice(shape), strides, byte_offset: 0 })
    }

    /// The extents of the axes.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The distance between neighbours along each axis, in elements.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// Bytes from the data pointer to the element whose indices are all zero.
    #[inline]
    pub fn byte_offset(&self) -> usize {
        self.byte_offset
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements: 1 for rank 0.
    #[inline]
    pub fn element_count(&self) -> usize {
        if self.is_empty() { 0 } else { self.shape.iter().product() }
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The same shape and strides, `byte_offset` bytes from the data pointer.
    #[must_use]
    #[inline]
    pub fn at_byte_offset(mut self, byte_offset: usize) -> Self {
        self.byte_offset = byte_offset;
        self
    }

    /// Whether elements lie without gaps in row-major order (C-contiguous).
    #[inline]
    pub fn is_row_major(&self) -> bool {
        self.is_compact_along((0..self.rank()).rev())
    }

    /// Whether elements lie without gaps in column-major order (Fortran-contiguous).
    pub fn is_column_major(&self) -> bool {
        self.is_compact_along(0..self.rank())
    }

    #[inline]
    fn is_compact_along(&self, axes: impl Iterator<Item = usize>) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut expected = 1_isize;
        for axis in axes {
            let extent = self.shape[axis];
            if extent == 1 {
                continue;
            }
            if self.strides[axis] != expected {
                return false;
            }
            match isize::try_from(extent).ok().and_then(|extent| expected.checked_mul(extent)) {
                Some(next) => expected = next,
                None => return false,
            }
        }
        true
    }

    /// The axes from sparsest to densest where elements lie without gaps in that order; `None`
    /// where there are gaps, repeated elements or negative strides.
    ///
    /// A permuted compact tensor is dense: its allocation can be handed over whole and the axes
    /// permuted back.
    pub fn dense_order(&self) -> Option<SmallVec<[usize; INLINE]>> {
        let mut axes: SmallVec<[usize; INLINE]> = smallvec![0; self.rank()];
        axes.iter_mut().enumerate().for_each(|(place, axis)| *axis = place);
        if self.is_row_major() {
            return Some(axes);
        }
        // Axes of extent 1 lie anywhere: sorted to the front, where they do not disturb.
        let key = |&axis: &usize| match self.shape[axis] {
            1 => (0, 0),
            _ => (1, self.strides[axis].wrapping_neg()),
        };
        axes.sort_by_key(key);
        let mut dense = axes.iter().rev().copied();
        self.is_compact_along(&mut dense).then_some(axes)
    }

    /// Whether elements lie without gaps in the order of some permutation of the axes.
    #[inline]
    pub fn is_dense(&self) -> bool {
        self.is_row_major() || self.dense_order().is_some()
    }

    /// Whether no axis runs backwards.
    pub fn has_no_negative_strides(&self) -> bool {
        self.is_empty() || self.moving_axes().all(|(_, stride)| stride >= 0)
    }

    /// Whether two index tuples may lead to one element, as in a broadcast. Exact for layouts
    /// whose axes nest, which is what slicing, permuting and broadcasting make; interleaved ones
    /// count as overlapping.
    pub fn may_overlap(&self) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut axes: SmallVec<[(usize, usize); INLINE]> =
            self.moving_axes().map(|(extent, stride)| (stride.unsigned_abs(), extent)).collect();
        axes.sort_unstable();
        let mut reach = 0_usize;
        for (stride, extent) in axes {
            if stride <= reach {
                return true;
            }
            reach = reach.saturating_add(stride.saturating_mul(extent - 1));
        }
        false
    }

    /// Extent and stride of the axes whose strides mean something.
    #[inline]
    fn moving_axes(&self) -> impl Iterator<Item = (usize, isize)> + '_ {
        self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|&(n, _)| n > 1)
    }

    /// The bytes that the elements take, relative to the element whose indices are all zero:
    /// the start is negative where an axis runs backwards, the end is exclusive.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where a byte distance does not fit an `isize`;
    /// [`Error::InvalidLayout`] for packed 4-bit and 6-bit elements that are not row-major, as
    /// DLPack has no bit offsets.
    #[inline]
    pub fn span(&self, data_type: DataType) -> Result<Range<isize>> {
        if self.is_empty() {
            return Ok(0..0);
        }
        let too_large = || Error::TooLarge { what: format!("{self:?} of {data_type}") };
        let Some(item) = data_type.size_in_bytes() else {
            if !self.is_row_major() {
                return Err(invalid(format!(
                    "packed {data_type} has no strides but row-major ones, here they are {:?} for \
                     the shape {:?}",
                    self.strides, self.shape
                )));
            }
            let bytes = data_type.bytes_for(self.element_count()).ok_or_else(too_large)?;
            return Ok(0..isize::try_from(bytes).map_err(|_| too_large())?);
        };
        let item = isize::try_from(item).map_err(|_| too_large())?;
        let (mut low, mut high) = (0_isize, item);
        for (extent, stride) in self.moving_axes() {
            let reach = isize::try_from(extent - 1)
                .ok()
                .and_then(|steps| steps.checked_mul(stride))
                .and_then(|elements| elements.checked_mul(item))
                .ok_or_else(too_large)?;
            let end = if reach < 0 { &mut low } else { &mut high };
            *end = end.checked_add(reach).ok_or_else(too_large)?;
        }
        high.checked_sub(low).ok_or_else(too_large)?;
        isize::try_from(self.byte_offset)
            .ok()
            .and_then(|offset| offset.checked_add(high))
            .ok_or_else(too_large)?;
        Ok(low..high)
    }

    /// Bytes that the elements take when packed without gaps.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where they exceed `isize::MAX`.
    pub fn compact_bytes(&self, data_type: DataType) -> Result<usize> {
        data_type
            .bytes_for(self.element_count())
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or_else(|| Error::TooLarge { what: format!("{:?} of {data_type}", self.shape) })
    }

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
        Ok(Self {
            shape: axes.iter().map(|&axis| self.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| self.strides[axis]).collect(),
            byte_offset: self.byte_offset,
        })
    }

    /// The axes in reverse order.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self {
            shape: self.shape.iter().rev().copied().collect(),
            strides: self.strides.iter().rev().copied().collect(),
            byte_offset: self.byte_offset,
        }
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
        let mut sliced = self.clone();
        sliced.shape[axis] = count;
        let too_large = || Error::TooLarge { what: "the stride of a slice".to_owned() };
        if count > 1 {
            sliced.strides[axis] = self.strides[axis].checked_mul(step).ok_or_else(too_large)?;
        }
        if count > 0 && !self.is_empty() {
            sliced.byte_offset = self.offset_along(axis, start, data_type)?;
        }
        Ok(sliced)
    }

    /// The part of the layout where index `index` of `axis` is fixed: one axis fewer.
    ///
    /// # Errors
    ///
    /// As [`sliced`](Self::sliced).
    pub fn selected(&self, axis: usize, index: usize, data_type: DataType) -> Result<Self> {
        let mut selected = self.sliced(axis, index, 1, 1, data_type)?;
        selected.shape.remove(axis);
        selected.strides.remove(axis);
        Ok(selected)
    }

    /// With a new axis of extent 1 before axis `axis`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where `axis` is above the rank, [`Error::InvalidLayout`] above
    /// [`MAX_RANK`].
    pub fn with_axis(&self, axis: usize) -> Result<Self> {
        if axis > self.rank() {
            return Err(Error::InvalidArgument {
                what: "the new axis",
                found: axis.to_string(),
                expected: format!("it must be at most the rank {}", self.rank()),
            });
        }
        let mut expanded = self.clone();
        expanded.shape.insert(axis, 1);
        expanded.strides.insert(axis, 0);
        element_count(&expanded.shape)?;
        Ok(expanded)
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
        if self.is_empty() || self.is_row_major() {
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
            return Self {
                shape: smallvec![0],
                strides: smallvec![1],
                byte_offset: self.byte_offset,
            };
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
        Self { shape, strides, byte_offset: self.byte_offset }
    }

    /// Whether both layouts lead every index tuple to the same place: they are equal but for
    /// strides that mean nothing.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.shape == other.shape
            && (self.is_empty()
                || (self.byte_offset == other.byte_offset
                    && self.moving_axes().eq(other.moving_axes())))
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

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shape {:?} strides {:?}", self.shape, self.strides)?;
        match self.byte_offset {
            0 => Ok(()),
            offset => write!(f, " byte offset {offset}"),
        }
    }
}

fn invalid(reason: String) -> Error {
    Error::InvalidLayout { reason }
}

/// Counts the elements of `shape`: an empty axis makes any shape empty.
#[inline]
fn element_count(shape: &[usize]) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return Err(invalid(format!("rank {} is above the limit {MAX_RANK}", shape.len())));
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1_usize, |count, &extent| count.checked_mul(extent))
        .filter(|&count| isize::try_from(count).is_ok())
        .ok_or_else(|| Error::TooLarge { what: format!("the shape {shape:?}") })
}

/// Writes compact strides along `axes`, densest first. The elements have been counted, so only
/// strides that mean nothing (an axis is empty) can overflow.
fn fill_compact(strides: &mut [isize], shape: &[usize], axes: impl Iterator<Item = usize>) {
    let mut stride = 1_isize;
    for axis in axes {
        strides[axis] = stride;
        stride = stride.saturating_mul(isize::try_from(shape[axis].max(1)).unwrap_or(isize::MAX));
    }
}
