//! Layout algebra: where the elements of a tensor lie relative to its data pointer.
//!
//! All arithmetic on shapes, strides and offsets lives here, checked, and nowhere else.

mod change;

use std::cmp::Reverse;
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
/// use bridge_tensor::{DataType, Layout};
///
/// let picture = Layout::row_major(&[512, 640, 3])?;
/// let transposed = picture.permuted(&[1, 0, 2])?;
/// assert_eq!(transposed.strides(), [3, 1920, 1]);
/// assert!(!transposed.is_row_major());
/// assert_eq!(transposed.span(DataType::U8)?, 0..983_040);
/// # Ok::<(), bridge_tensor::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    shape: Shape,
    strides: Strides,
    byte_offset: usize,
    /// The number of elements.
    count: usize,
    /// Whether the elements lie without gaps in row-major order. Asked so often that it is counted
    /// together with the elements.
    row_major: bool,
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
        let (count, row_major) = survey(shape, strides)?;
        let (shape, strides) = (Shape::from_slice(shape), Strides::from_slice(strides));
        Ok(Self { shape, strides, byte_offset, count, row_major })
    }

    /// A layout of as many extents as strides.
    #[inline]
    fn of(shape: Shape, strides: Strides, byte_offset: usize) -> Result<Self> {
        let (count, row_major) = survey(&shape, &strides)?;
        Ok(Self { shape, strides, byte_offset, count, row_major })
    }

    /// No elements: what a layout is before it is read.
    #[inline]
    pub(crate) fn nothing() -> Self {
        let (shape, strides) = (Shape::from_slice(&[0]), Strides::from_slice(&[1]));
        Self { shape, strides, byte_offset: 0, count: 0, row_major: true }
    }

    /// Reads the integers of a C interface, row-major where there are no strides: in place, as a layout is large to
    /// move.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::InvalidTensor`] for a negative extent, [`Error::TooLarge`] for a stride that
    /// does not fit an `isize`. The layout has no elements then.
    #[inline]
    pub(crate) fn read(
        &mut self,
        extents: &[i64],
        strides: Option<&[i64]>,
        byte_offset: usize,
    ) -> Result<()> {
        let read = self.try_read(extents, strides, byte_offset);
        if read.is_err() {
            *self = Self::nothing();
        }
        read
    }

    #[inline]
    fn try_read(
        &mut self,
        extents: &[i64],
        strides: Option<&[i64]>,
        byte_offset: usize,
    ) -> Result<()> {
        read_into(&mut self.shape, extents).map_err(|axis| uncountable(axis, extents))?;
        match strides {
            Some(strides) => read_into(&mut self.strides, strides).map_err(too_far)?,
            None => self.strides = Self::row_major(&self.shape)?.strides,
        }
        (self.count, self.row_major) = survey(&self.shape, &self.strides)?;
        self.byte_offset = byte_offset;
        Ok(())
    }

    /// The compact layout of `shape` with the last axis densest (C order).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLayout`] for a rank above [`MAX_RANK`], [`Error::TooLarge`] where the
    /// elements cannot be counted.
    pub fn row_major(shape: &[usize]) -> Result<Self> {
        let mut strides: Strides = smallvec![0; shape.len()];
        fill_compact(&mut strides, shape, (0..shape.len()).rev());
        Self::of(Shape::from_slice(shape), strides, 0)
    }

    /// The compact layout of `shape` with the first axis densest (Fortran order).
    ///
    /// # Errors
    ///
    /// As [`row_major`](Self::row_major).
    pub fn column_major(shape: &[usize]) -> Result<Self> {
        let mut strides: Strides = smallvec![0; shape.len()];
        fill_compact(&mut strides, shape, 0..shape.len());
        Self::of(Shape::from_slice(shape), strides, 0)
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
        self.count
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The same shape and strides, `byte_offset` bytes from the data pointer.
    #[must_use]
    #[inline]
    pub fn at_byte_offset(mut self, byte_offset: usize) -> Self {
        self.set_byte_offset(byte_offset);
        self
    }

    /// As [`at_byte_offset`](Self::at_byte_offset), in place: a layout is large to move.
    #[inline]
    pub(crate) fn set_byte_offset(&mut self, byte_offset: usize) {
        self.byte_offset = byte_offset;
    }

    /// Whether elements lie without gaps in row-major order (C-contiguous).
    #[inline]
    pub fn is_row_major(&self) -> bool {
        self.row_major
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
        let mut axes: SmallVec<[usize; INLINE]> = (0..self.rank()).collect();
        if self.is_row_major() {
            return Some(axes);
        }
        // Axes of extent 1 may lie anywhere, and do not disturb.
        axes.sort_by_key(|&axis| Reverse(self.strides[axis]));
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
        if let (true, Some(item)) = (self.row_major, data_type.size_in_bytes()) {
            let end = self.count.checked_mul(item).and_then(|bytes| isize::try_from(bytes).ok());
            return match end.filter(|&end| self.check_end(end).is_some()) {
                Some(end) => Ok(0..end),
                None => Err(too_large()),
            };
        }
        let Some(item) = data_type.size_in_bytes() else {
            if !self.is_row_major() {
                return Err(invalid(format!(
                    "packed {data_type} has no strides but row-major ones, here they are {:?} for \
                     the shape {:?}",
                    self.strides, self.shape
                )));
            }
            let bytes = data_type.bytes_for(self.element_count()).ok_or_else(too_large)?;
            let end = isize::try_from(bytes).map_err(|_| too_large())?;
            self.check_end(end).ok_or_else(too_large)?;
            return Ok(0..end);
        };
        let item = isize::try_from(item).map_err(|_| too_large())?;
        let (mut low, mut high) = (0_isize, item);
        for (extent, stride) in self.moving_axes() {
            let reach = isize::try_from(extent - 1)
                .ok()
                .and_then(|steps| steps.checked_mul(stride))
                .and_then(|elements| elements.checked_mul(item))
                .ok_or_else(too_large)?;
            low = low.checked_add(reach.min(0)).ok_or_else(too_large)?;
            high = high.checked_add(reach.max(0)).ok_or_else(too_large)?;
        }
        high.checked_sub(low).ok_or_else(too_large)?;
        self.check_end(high).ok_or_else(too_large)?;
        Ok(low..high)
    }

    /// `None` where the byte offset and an end behind it do not fit an `isize` together.
    #[inline]
    fn check_end(&self, end: isize) -> Option<()> {
        isize::try_from(self.byte_offset).ok()?.checked_add(end).map(drop)
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

    /// Whether both layouts lead every index tuple to the same place: they are equal but for
    /// strides that mean nothing.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.shape == other.shape
            && (self.is_empty()
                || (self.byte_offset == other.byte_offset
                    && self.moving_axes().eq(other.moving_axes())))
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

/// Reads values of another type, or tells the place of the first that does not fit.
#[inline]
fn read_into<T>(to: &mut SmallVec<[T; INLINE]>, values: &[i64]) -> Result<(), usize>
where
    T: TryFrom<i64> + Copy + Default,
{
    let rank = values.len();
    *to = match rank <= INLINE {
        true => SmallVec::from_buf_and_len([T::default(); INLINE], rank),
        false => SmallVec::from_elem(T::default(), rank),
    };
    for (place, (to, &value)) in to.iter_mut().zip(values).enumerate() {
        *to = T::try_from(value).map_err(|_| place)?;
    }
    Ok(())
}

#[cold]
fn uncountable(axis: usize, extents: &[i64]) -> Error {
    Error::InvalidTensor { reason: format!("the extent of axis {axis} is {}", extents[axis]) }
}

#[cold]
fn too_far(_axis: usize) -> Error {
    Error::TooLarge { what: "a stride of the tensor".to_owned() }
}

/// Counts the elements, and tells whether they lie without gaps in row-major order. Those of the
/// other axes must be countable even where one is empty: frameworks compute strides from them.
#[inline]
fn survey(shape: &[usize], strides: &[isize]) -> Result<(usize, bool)> {
    let too_large = || Error::TooLarge { what: format!("the shape {shape:?}") };
    if shape.len() > MAX_RANK {
        return Err(invalid(format!("rank {} is above the limit {MAX_RANK}", shape.len())));
    }
    let (mut count, mut row_major, mut empty) = (1_usize, true, false);
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent > 1 {
            row_major &= stride == count.cast_signed();
            count = count.checked_mul(extent).ok_or_else(too_large)?;
        }
        empty |= extent == 0;
    }
    if count > isize::MAX.unsigned_abs() {
        return Err(too_large());
    }
    Ok(if empty { (0, true) } else { (count, row_major) })
}

/// Counts the elements of `shape`, as [`survey`] does.
fn element_count(shape: &[usize]) -> Result<usize> {
    survey(shape, &Strides::from_elem(0, shape.len())).map(|(count, _)| count)
}

/// Writes compact strides along `axes`, densest first. The elements have been counted.
fn fill_compact(strides: &mut [isize], shape: &[usize], axes: impl Iterator<Item = usize>) {
    let mut stride = 1_isize;
    for axis in axes {
        strides[axis] = stride;
        stride = stride.saturating_mul(isize::try_from(shape[axis].max(1)).unwrap_or(isize::MAX));
    }
}
