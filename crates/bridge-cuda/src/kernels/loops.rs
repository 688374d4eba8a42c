//! The loops of a kernel over the elements of a layout, in row-major order, which is the order of the
//! target.

use bridge_core::{Layout, MAX_RANK};

/// The most loops a kernel takes.
const MAX_LOOPS: usize = 64;
const _: () = assert!(MAX_LOOPS >= MAX_RANK);

/// The most elements of a launch: kernels use 32-bit indices.
const MOST: u64 = 1 << 30;

/// The shortest axes for which tiles are faster.
const LONG: usize = 16;

/// `Axis` of kernels.h: a loop, with the constants that divide an index below 2^31 by its extent.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    extent: u32,
    magic: u32,
    shift: u32,
    unused: u32,
    stride: i64,
}

/// `Loops` of kernels.h.
#[repr(C)]
#[derive(Debug, Clone)]
pub(crate) struct Loops {
    pub(crate) count: u64,
    rank: u32,
    unused: u32,
    steps: [Step; MAX_LOOPS],
}

/// `Planes` of kernels.h.
#[repr(C)]
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    row_extent: u32,
    line_extent: u32,
    row_stride: i64,
    line_stride: i64,
    pub(crate) tiles: u64,
    along_row: Step,
    along_line: Step,
    others: Loops,
    target_stride: [i64; MAX_LOOPS],
}

/// The part of a copy or cast that one launch does.
#[derive(Debug)]
pub(crate) struct Part {
    /// Bytes from the first element of the source to its own first.
    pub(crate) source: i64,
    /// Elements of the target before its own first.
    pub(crate) before: u64,
    pub(crate) way: Way,
}

/// How a layout is read.
#[derive(Debug)]
pub(crate) enum Way {
    /// One element after the other.
    Loops(Box<Loops>),
    /// In tiles, where the densest axis of the source is not that of the target.
    Planes(Box<Planes>),
}

/// One loop: its length, and the bytes it moves on in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    extent: usize,
    stride: isize,
}

impl Step {
    /// The extent is between 1 and 2^31.
    fn new(extent: u64, stride: i64) -> Self {
        // The place is multiplied by the inverse of the extent, rounded up; Granlund and Montgomery
        // show that this is exact.
        let shift = extent.next_power_of_two().trailing_zeros();
        let magic = ((1_u64 << 32) * ((1_u64 << shift) - extent)) / extent + 1;
        Self { extent: extent as u32, magic: magic as u32, shift, unused: 0, stride }
    }
}

impl Loops {
    fn of(axes: &[Axis]) -> Self {
        let mut this =
            Self { count: count_of(axes), rank: 0, unused: 0, steps: [Step::default(); MAX_LOOPS] };
        for (step, axis) in this.steps.iter_mut().zip(axes) {
            *step = Step::new(axis.extent as u64, axis.stride as i64);
            this.rank += 1;
        }
        this
    }

    /// One contiguous run of so many numbers narrower than a byte: their kernel uses 64-bit indices.
    pub(crate) fn packed(count: usize) -> Self {
        Self { count: count as u64, ..Self::of(&[]) }
    }
}

/// The loops over numbers of `size` bytes, `parts` of which make an element; none is joined from
/// several.
pub(crate) fn numbers(layout: &Layout, size: usize, parts: usize) -> Vec<Axis> {
    let mut axes = axes_of(layout, size * parts);
    axes.push(Axis { extent: parts, stride: size.cast_signed() });
    joined(&mut axes);
    axes
}

/// How many elements loops have.
pub(crate) fn count_of(axes: &[Axis]) -> u64 {
    axes.iter().map(|axis| axis.extent as u64).product()
}

/// Whether these loops are one contiguous run of elements of `size` bytes.
pub(crate) fn is_dense(axes: &[Axis], size: usize) -> bool {
    matches!(axes, [] | [Axis { extent: 1, .. }])
        || matches!(axes, [one] if one.stride == size.cast_signed())
}

/// How to copy elements of `item` bytes from a layout at `source` to row-major order at `target`: the bytes
/// of one access, and the launches.
pub(crate) fn copy(layout: &Layout, item: usize, source: u64, target: u64) -> (usize, Vec<Part>) {
    let mut axes = axes_of(layout, item);
    axes.push(Axis { extent: item, stride: 1 });
    joined(&mut axes);
    let run = match axes.last() {
        Some(&Axis { extent, stride: 1 }) => {
            axes.pop();
            extent
        }
        _ => 1,
    };
    let unit = unit_of(run, &axes, source | target);
    if run > unit {
        axes.push(Axis { extent: run / unit, stride: unit.cast_signed() });
    }
    (unit, parts(&axes, unit, unit))
}

/// The launches that read elements of `read` bytes along `axes` and write `written` bytes for each, in tiles
/// where that is faster.
pub(crate) fn parts(axes: &[Axis], read: usize, written: usize) -> Vec<Part> {
    let way = |axes: &[Axis]| match planes(axes, read, written) {
        Some(planes) => Way::Planes(Box::new(planes)),
        None => Way::Loops(Box::new(Loops::of(axes))),
    };
    split(axes, MOST, &way)
}

/// As [`parts`], one element after the other.
pub(crate) fn lines(axes: &[Axis]) -> Vec<Part> {
    split(axes, MOST, &|axes| Way::Loops(Box::new(Loops::of(axes))))
}

/// Cuts the outer loops so that no part has more than `most` elements.
fn split(axes: &[Axis], most: u64, way: &dyn Fn(&[Axis]) -> Way) -> Vec<Part> {
    if count_of(axes) <= most {
        return vec![Part { source: 0, before: 0, way: way(axes) }];
    }
    let Some((&outer, inner)) = axes.split_first() else { return Vec::new() };
    let inner_count = count_of(inner);
    let step = (most / inner_count).max(1) as usize;
    let mut parts = Vec::new();
    for start in (0..outer.extent).step_by(step) {
        let part = Axis { extent: step.min(outer.extent - start), ..outer };
        let axes = [&[part][..], inner].concat();
        let cut = if inner_count > most { &axes[1..] } else { &axes[..] };
        let source = (start.cast_signed() * outer.stride) as i64;
        let before = start as u64 * inner_count;
        parts.extend(split(cut, most, way).into_iter().map(|one| Part {
            source: one.source + source,
            before: one.before + before,
            way: one.way,
        }));
    }
    parts
}

/// The axes that have several elements, outermost first, with strides in bytes.
fn axes_of(layout: &Layout, item: usize) -> Vec<Axis> {
    let axes = layout.shape().iter().zip(layout.strides());
    // The products fit: a layout with elements spans at most `isize::MAX` bytes.
    axes.filter(|(extent, _)| **extent > 1)
        .map(|(&extent, &stride)| Axis { extent, stride: stride * item.cast_signed() })
        .collect()
}

/// Merges neighbouring axes that can be one loop, and drops axes of one element.
fn joined(axes: &mut Vec<Axis>) {
    let mut kept: Vec<Axis> = Vec::with_capacity(axes.len());
    for &inner in axes.iter() {
        let reach = inner.stride.checked_mul(inner.extent.cast_signed());
        match kept.last_mut() {
            Some(_) if inner.extent == 1 => {}
            Some(outer) if reach == Some(outer.stride) => {
                *outer = Axis { extent: outer.extent * inner.extent, stride: inner.stride };
            }
            _ => kept.push(inner),
        }
    }
    *axes = kept;
}

/// The widest access, up to 16 bytes, that fits the run, every stride and both addresses.
fn unit_of(run: usize, axes: &[Axis], addresses: u64) -> usize {
    let fits = |unit: usize| {
        run.is_multiple_of(unit)
            && addresses.is_multiple_of(unit as u64)
            && axes.iter().all(|axis| axis.stride.unsigned_abs().is_multiple_of(unit))
    };
    [16, 8, 4, 2].into_iter().find(|&unit| fits(unit)).unwrap_or(1)
}

/// Elements of a tile along each side, as `Tile` of kernels.h has them.
fn tile_side(read: usize, written: usize) -> u64 {
    if read <= 2 && written <= 2 { 64 } else { 32 }
}

/// The planes, where an axis other than the last is the source's densest and both are long.
fn planes(axes: &[Axis], read: usize, written: usize) -> Option<Planes> {
    let (row, outer) = axes.split_last()?;
    let line = outer.iter().position(|axis| axis.stride == read.cast_signed())?;
    if row.stride == read.cast_signed() || row.extent < LONG || outer[line].extent < LONG {
        return None;
    }
    let mut targets = vec![written.cast_signed(); axes.len()];
    for place in (0..axes.len() - 1).rev() {
        targets[place] = targets[place + 1] * axes[place + 1].extent.cast_signed();
    }
    let others: Vec<usize> = (0..outer.len()).filter(|&place| place != line).collect();
    let mut target_stride = [0; MAX_LOOPS];
    for (place, &axis) in others.iter().enumerate() {
        target_stride[place] = targets[axis] as i64;
    }
    let tiles = |extent: usize| (extent as u64).div_ceil(tile_side(read, written));
    let (along_row, along_line) = (tiles(row.extent), tiles(outer[line].extent));
    let around = Loops::of(&others.iter().map(|&axis| axes[axis]).collect::<Vec<_>>());
    Some(Planes {
        row_extent: row.extent as u32,
        line_extent: outer[line].extent as u32,
        row_stride: row.stride as i64,
        line_stride: targets[line] as i64,
        tiles: along_row * along_line * around.count,
        along_row: Step::new(along_row, 0),
        along_line: Step::new(along_line, 0),
        others: around,
        target_stride,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loops(shape: &[usize], strides: &[isize], item: usize, address: u64) -> (usize, Vec<Axis>) {
        let layout = Layout::new(shape, strides, 0).unwrap();
        let (unit, parts) = copy(&layout, item, address, 0);
        match &parts[..] {
            [Part { source: 0, before: 0, way: Way::Loops(loops) }] => (unit, axes(loops)),
            other => panic!("it is not copied line by line, but by {other:?}"),
        }
    }

    fn axes(loops: &Loops) -> Vec<Axis> {
        let steps = &loops.steps[..loops.rank as usize];
        let axis =
            |step: &Step| Axis { extent: step.extent as usize, stride: step.stride as isize };
        steps.iter().map(axis).collect()
    }

    #[test]
    fn neighbours_become_wide_accesses() {
        // Rows of 8 floats, 12 apart: 32 bytes a row, in accesses of 16.
        let (unit, axes) = loops(&[5, 8], &[12, 1], 4, 0);
        assert_eq!(unit, 16);
        assert_eq!(axes, [Axis { extent: 5, stride: 48 }, Axis { extent: 2, stride: 16 }]);
        // A source that is aligned to four bytes allows four bytes at a time.
        assert_eq!(loops(&[5, 8], &[12, 1], 4, 4).0, 4);
        assert_eq!(loops(&[5, 8], &[12, 1], 4, 1).0, 1);
    }

    #[test]
    fn elements_of_odd_sizes_are_taken_apart() {
        let (unit, axes) = loops(&[4], &[2], 12, 0);
        assert_eq!((unit, axes.len()), (4, 2));
        assert_eq!(loops(&[2, 3], &[0, -1], 4, 0).1.len(), 2);
    }

    #[test]
    fn transposed_planes_go_in_tiles() {
        let layout = Layout::new(&[3, 40, 50], &[2000, 1, 40], 0).unwrap();
        let (unit, parts) = copy(&layout, 4, 0, 0);
        let [Part { way: Way::Planes(planes), .. }] = &parts[..] else {
            panic!("it is not copied in tiles, but by {parts:?}")
        };
        assert_eq!((unit, planes.tiles), (4, 2 * 2 * 3));
        assert_eq!((planes.row_extent, planes.line_extent), (50, 40));
        assert_eq!((planes.row_stride, planes.line_stride), (160, 200));
        assert_eq!((planes.others.steps[0].stride, planes.target_stride[0]), (8000, 8000));
    }

    #[test]
    fn places_are_divided_without_a_division() {
        let divided = |place: u32, step: Step| {
            let high = (u64::from(place) * u64::from(step.magic)) >> 32;
            (high as u32 + place) >> step.shift
        };
        for extent in (1..70).chain([1000, 4095, 4097, 65_537, 1 << 30, (1 << 30) - 1]) {
            let step = Step::new(extent, 0);
            for near in [0, 1, extent, 7 * extent, 1 << 20, 1 << 30, (1 << 31) - 1] {
                for place in near.saturating_sub(1)..=(near + 1).min((1 << 31) - 1) {
                    let expected = place / extent;
                    assert_eq!(
                        u64::from(divided(place as u32, step)),
                        expected,
                        "{place}/{extent}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_too_much_for_a_launch_is_split() {
        let all = [(7, 100), (3, 1000), (5, 4)];
        let all = all.map(|(extent, stride)| Axis { extent, stride });
        for most in [1, 2, 4, 5, 6, 14, 15, 16, 44, 104, 105] {
            let mut places = Vec::new();
            for part in split(&all, most, &|axes| Way::Loops(Box::new(Loops::of(axes)))) {
                let Way::Loops(loops) = &part.way else { unreachable!() };
                assert!(loops.count <= most && part.before == places.len() as u64, "{part:?}");
                places.extend(
                    offsets(&axes(loops)).iter().map(|offset| part.source as isize + offset),
                );
            }
            assert_eq!(places, offsets(&all), "{most}");
        }
    }

    /// Where each element is, in the order of the loops.
    fn offsets(axes: &[Axis]) -> Vec<isize> {
        axes.iter().fold(vec![0], |outer, axis| {
            let steps = (0..axis.extent).map(|place| place.cast_signed() * axis.stride);
            outer.iter().flat_map(|start| steps.clone().map(move |step| start + step)).collect()
        })
    }
}
