//! What an array type can take over without a copy.

use crate::data_type::DataType;
use crate::device::DeviceKind;
use crate::error::Result;
use crate::layout::{Layout, MAX_RANK};

/// Which layouts an array type can represent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayoutRule {
    /// Any strides.
    Any,
    /// Any strides but negative ones.
    Forward,
    /// Row-major, or a permutation of the axes of it.
    Dense,
    /// Row-major without gaps.
    RowMajor,
    /// Column-major without gaps.
    ColumnMajor,
}

impl LayoutRule {
    /// Whether a layout keeps the rule.
    #[inline]
    pub fn allows(self, layout: &Layout) -> bool {
        match self {
            Self::Any => true,
            Self::Forward => layout.has_no_negative_strides(),
            Self::Dense => layout.is_dense(),
            Self::RowMajor => layout.is_row_major(),
            Self::ColumnMajor => layout.is_column_major(),
        }
    }

    /// The layout that a copy for this rule is written in.
    ///
    /// # Errors
    ///
    /// As [`Layout::row_major`].
    pub fn compact(self, shape: &[usize]) -> Result<Layout> {
        match self {
            Self::ColumnMajor => Layout::column_major(shape),
            _ => Layout::row_major(shape),
        }
    }

    pub(crate) fn wish(self) -> &'static str {
        match self {
            Self::Any => "any strides",
            Self::Forward => "strides that are not negative",
            Self::Dense => "elements without gaps",
            Self::RowMajor => "a row-major layout without gaps",
            Self::ColumnMajor => "a column-major layout without gaps",
        }
    }
}

/// What an array type can take over: a constant that the planner and the conformance suite read.
///
/// ```
/// use bridge_core::{Accepts, DataType, LayoutRule};
///
/// const MATRIX: Accepts =
///     Accepts::host(&[DataType::F64]).ranks(2, 2).layout(LayoutRule::ColumnMajor).only_vectors();
/// assert!(MATRIX.has(DataType::F64));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Accepts {
    pub(crate) data_types: &'static [DataType],
    pub(crate) any_data_type: bool,
    pub(crate) device_kinds: &'static [DeviceKind],
    pub(crate) layout: LayoutRule,
    pub(crate) lowest_rank: usize,
    pub(crate) highest_rank: usize,
    pub(crate) alignment: usize,
    pub(crate) only_vectors: bool,
    pub(crate) ignores_read_only: bool,
}

/// Memory that the CPU reads through its address.
const HOST_KINDS: &[DeviceKind] =
    &[DeviceKind::Cpu, DeviceKind::CudaHost, DeviceKind::RocmHost, DeviceKind::CudaManaged];

impl Accepts {
    /// Host memory of these element types in any layout, kept alive by any owner, its read-only
    /// flag honoured. The other methods narrow this down.
    pub const fn host(data_types: &'static [DataType]) -> Self {
        Self::on(HOST_KINDS, data_types)
    }

    /// As [`host`](Self::host), for memory of other kinds of device. The first kind is where a
    /// copy goes when the source's device is none of them.
    pub const fn on(device_kinds: &'static [DeviceKind], data_types: &'static [DataType]) -> Self {
        Self {
            data_types,
            any_data_type: false,
            device_kinds,
            layout: LayoutRule::Any,
            lowest_rank: 0,
            highest_rank: MAX_RANK,
            alignment: 1,
            only_vectors: false,
            ignores_read_only: false,
        }
    }

    /// Takes every tensor there can be.
    pub const fn anything() -> Self {
        Self { any_data_type: true, ..Self::on(DeviceKind::ALL, DataType::NAMED) }
    }

    /// Takes only layouts that keep `rule` without a copy.
    #[must_use]
    pub const fn layout(mut self, rule: LayoutRule) -> Self {
        self.layout = rule;
        self
    }

    /// Takes only ranks from `lowest` to `highest`; others are errors, as no copy changes a rank.
    #[must_use]
    pub const fn ranks(mut self, lowest: usize, highest: usize) -> Self {
        self.lowest_rank = lowest;
        self.highest_rank = highest;
        self
    }

    /// Takes only data pointers on a border of `bytes` without a copy, if that is more than the
    /// element type itself needs.
    #[must_use]
    pub const fn aligned_to(mut self, bytes: usize) -> Self {
        self.alignment = bytes;
        self
    }

    /// Takes only allocations that a Rust `Vec` could own, and takes them over. A vector can be
    /// written, so this is also [`ignores_read_only`](Self::ignores_read_only).
    #[must_use]
    pub const fn only_vectors(mut self) -> Self {
        self.only_vectors = true;
        self.ignores_read_only = true;
        self
    }

    /// May write to memory that was handed over as read-only, so that such memory reaches it
    /// through a copy only.
    #[must_use]
    pub const fn ignores_read_only(mut self) -> Self {
        self.ignores_read_only = true;
        self
    }

    /// Whether elements can be of this type.
    #[inline]
    pub fn has(&self, data_type: DataType) -> bool {
        self.any_data_type || self.data_types.contains(&data_type)
    }

    /// Whether arrays can be on devices of this kind.
    pub fn is_on(&self, kind: DeviceKind) -> bool {
        self.device_kinds.contains(&kind)
    }

    /// Whether arrays can have this rank.
    #[inline]
    pub const fn has_rank(&self, rank: usize) -> bool {
        self.lowest_rank <= rank && rank <= self.highest_rank
    }

    /// The element types.
    pub const fn data_types(&self) -> &'static [DataType] {
        self.data_types
    }

    /// The kinds of device.
    pub const fn device_kinds(&self) -> &'static [DeviceKind] {
        self.device_kinds
    }

    /// Which layouts need no copy.
    pub const fn layout_rule(&self) -> LayoutRule {
        self.layout
    }

    /// Lowest and highest rank.
    pub const fn rank_limits(&self) -> (usize, usize) {
        (self.lowest_rank, self.highest_rank)
    }

    /// Whether only allocations that a `Vec` could own are taken over.
    pub const fn takes_only_vectors(&self) -> bool {
        self.only_vectors
    }

    /// Whether the read-only flag is ignored.
    pub const fn is_careless_of_read_only(&self) -> bool {
        self.ignores_read_only
    }

    /// The alignment that data pointers need for this element type.
    #[inline]
    pub fn alignment_for(&self, data_type: DataType) -> usize {
        self.alignment.max(data_type.alignment())
    }
}
