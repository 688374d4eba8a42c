//! What an array type can take over without a copy.

use std::fmt::Write;

use bridge_tensor::{DataType, DeviceKind, MAX_RANK};

use crate::layout_rule::LayoutRule;

/// What an array type can take over: the planner and the conformance suite read it.
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
    data_types: &'static [DataType],
    any_data_type: bool,
    device_kinds: &'static [DeviceKind],
    layout: LayoutRule,
    lowest_rank: usize,
    highest_rank: usize,
    axes: [Option<AxisLimit>; MOST_LIMITED_AXES],
    alignment: usize,
    only_vectors: bool,
    ignores_read_only: bool,
}

/// How many axes can have limits of their own.
const MOST_LIMITED_AXES: usize = 4;

/// How many elements one axis may have.
#[derive(Debug, Clone, Copy)]
struct AxisLimit {
    /// Negative ones are counted from the last.
    axis: isize,
    lowest: usize,
    highest: usize,
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
            axes: [None; MOST_LIMITED_AXES],
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

    /// Takes only arrays of which axis `axis` has from `lowest` to `highest` elements; others are
    /// errors, as no copy changes a shape. Negative axes are counted from the last: the colours of a
    /// picture are `.extent(-1, 3, 3)`. An array that has no such axis keeps the limit.
    ///
    /// # Panics
    ///
    /// Where more than four axes are limited; in a constant, that does not compile.
    #[must_use]
    pub const fn extent(mut self, axis: isize, lowest: usize, highest: usize) -> Self {
        let mut place = 0;
        while self.axes[place].is_some() {
            place += 1;
        }
        self.axes[place] = Some(AxisLimit { axis, lowest, highest });
        self
    }

    /// Takes only data pointers aligned to `bytes` without a copy, if that is more than the element
    /// type itself needs. On devices that work with handles instead of addresses it asks nothing:
    /// see [`DeviceKind::has_addresses`].
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

    /// Whether arrays can have this shape: its rank, and its extents where they are limited.
    #[inline]
    pub fn has_shape(&self, shape: &[usize]) -> bool {
        self.has_rank(shape.len()) && self.axes.iter().flatten().all(|limit| limit.allows(shape))
    }

    /// The shapes that arrays can have, in words: "rank 3 with 3 elements along the last axis".
    pub fn shapes(&self) -> String {
        let mut text = match (self.lowest_rank, self.highest_rank) {
            (0, MAX_RANK) => "any rank".to_owned(),
            (0, highest) => format!("a rank up to {highest}"),
            (lowest, MAX_RANK) => format!("a rank from {lowest} on"),
            (lowest, highest) if lowest == highest => format!("rank {lowest}"),
            (lowest, highest) => format!("a rank from {lowest} to {highest}"),
        };
        for (index, limit) in self.axes.iter().flatten().enumerate() {
            let joint = if index == 0 { " with" } else { " and" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{joint} {}", limit.words());
        }
        text
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
    #[inline]
    pub const fn device_kinds(&self) -> &'static [DeviceKind] {
        self.device_kinds
    }

    /// Which layouts need no copy.
    #[inline]
    pub const fn layout_rule(&self) -> LayoutRule {
        self.layout
    }

    /// Lowest and highest rank.
    pub const fn rank_limits(&self) -> (usize, usize) {
        (self.lowest_rank, self.highest_rank)
    }

    /// Whether only allocations that a `Vec` could own are taken over.
    #[inline]
    pub const fn takes_only_vectors(&self) -> bool {
        self.only_vectors
    }

    /// Whether arrays of this type can be written although their memory is read-only.
    #[inline]
    pub const fn may_write_read_only(&self) -> bool {
        self.ignores_read_only
    }

    /// The alignment that data pointers need for this element type.
    #[inline]
    pub fn alignment_for(&self, data_type: DataType) -> usize {
        self.alignment.max(data_type.alignment())
    }
}

impl AxisLimit {
    fn allows(self, shape: &[usize]) -> bool {
        let axis = match usize::try_from(self.axis) {
            Ok(axis) => Some(axis),
            Err(_) => shape.len().checked_sub(self.axis.unsigned_abs()),
        };
        let extent = axis.and_then(|axis| shape.get(axis));
        extent.is_none_or(|extent| (self.lowest..=self.highest).contains(extent))
    }

    fn words(self) -> String {
        let elements = match (self.lowest, self.highest) {
            (lowest, highest) if lowest == highest => format!("{lowest} elements"),
            (0, highest) => format!("at most {highest} elements"),
            (lowest, usize::MAX) => format!("at least {lowest} elements"),
            (lowest, highest) => format!("{lowest} to {highest} elements"),
        };
        match self.axis {
            -1 => format!("{elements} along the last axis"),
            axis => format!("{elements} along axis {axis}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOURS: Accepts = Accepts::host(&[DataType::U8]).ranks(3, 3).extent(-1, 3, 4);

    #[test]
    fn an_axis_can_be_limited_from_either_end() {
        assert!(COLOURS.has_shape(&[5, 7, 3]) && COLOURS.has_shape(&[0, 7, 4]));
        assert!(!COLOURS.has_shape(&[3, 7, 5]) && !COLOURS.has_shape(&[3]));
        let rows = Accepts::host(&[DataType::U8]).extent(0, 0, 9);
        assert!(rows.has_shape(&[9, 100]) && !rows.has_shape(&[10, 1]));
        assert!(rows.has_shape(&[]), "no axis, no limit");
    }

    #[test]
    fn four_axes_can_be_limited_and_no_fifth() {
        let four = (0..4).fold(Accepts::host(&[]), |accepts, axis| accepts.extent(axis, 1, 2));
        assert!(four.has_shape(&[1, 2, 1, 2, 9]));
        for axis in 0..4 {
            let mut shape = [2; 5];
            shape[axis] = 3;
            assert!(!four.has_shape(&shape), "axis {axis} is limited");
        }
        assert!(std::panic::catch_unwind(|| four.extent(4, 1, 2)).is_err());
    }

    #[test]
    fn the_element_types_and_the_kinds_of_device_are_those_asked_for() {
        let unnamed = DataType::F32.with_lanes(4).unwrap();
        let host = Accepts::host(&[DataType::F32, DataType::U8]);
        assert_eq!(host.data_types(), [DataType::F32, DataType::U8]);
        for &data_type in DataType::NAMED.iter().chain([&unnamed]) {
            let asked = [DataType::F32, DataType::U8].contains(&data_type);
            assert_eq!(host.has(data_type), asked, "{data_type}");
            assert!(Accepts::anything().has(data_type), "{data_type}");
        }
        assert!(!Accepts::host(DataType::NAMED).has(unnamed));
        let extension = Accepts::on(&[DeviceKind::Extension], &[]);
        assert_eq!(extension.device_kinds(), [DeviceKind::Extension]);
        for &kind in DeviceKind::ALL {
            assert_eq!(host.is_on(kind), kind.is_host_accessible(), "{kind}");
            assert_eq!(extension.is_on(kind), kind == DeviceKind::Extension, "{kind}");
            assert!(Accepts::anything().is_on(kind), "{kind}");
        }
    }

    #[test]
    fn everything_of_its_types_and_devices_is_accepted_until_it_is_narrowed_down() {
        let told = |accepts: Accepts| {
            let alignments = [DataType::U8, DataType::F64].map(|one| accepts.alignment_for(one));
            let (ranks, rule) = (accepts.rank_limits(), accepts.layout_rule());
            (rule, ranks, alignments, accepts.takes_only_vectors(), accepts.may_write_read_only())
        };
        let (any, all) = (LayoutRule::Any, (0, MAX_RANK));
        let host = Accepts::host(&[DataType::U8]);
        assert_eq!(told(host), (any, all, [1, 8], false, false));
        assert_eq!(told(Accepts::anything()), told(host));
        let dense = host.layout(LayoutRule::Dense);
        assert_eq!(told(dense), (LayoutRule::Dense, all, [1, 8], false, false));
        assert_eq!(told(host.ranks(2, 3)), (any, (2, 3), [1, 8], false, false));
        assert_eq!(told(host.aligned_to(4)), (any, all, [4, 8], false, false));
        assert_eq!(told(host.ignores_read_only()), (any, all, [1, 8], false, true));
        assert_eq!(
            told(host.only_vectors()),
            (any, all, [1, 8], true, true),
            "a vector is written"
        );
    }

    #[test]
    fn the_shapes_are_told_in_words() {
        assert_eq!(COLOURS.shapes(), "rank 3 with 3 to 4 elements along the last axis");
        let pairs = Accepts::host(&[]).ranks(1, 2).extent(1, 2, 2);
        assert_eq!(pairs.shapes(), "a rank from 1 to 2 with 2 elements along axis 1");
        assert_eq!(Accepts::host(&[]).shapes(), "any rank");
    }
}
