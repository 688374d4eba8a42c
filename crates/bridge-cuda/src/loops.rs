//! The loops of a kernel over the elements of a layout, in the order of its indices, which is the
//! row-major order of the target.

use bridge_core::{Layout, MAX_RANK, Result};

/// The most loops a kernel takes.
const MAX_LOOPS: usize = 64;
const _: () = assert!(MAX_LOOPS >= MAX_RANK);

/// Elements of a tile of the transposing kernels along each side.
const TILE: u64 = 32;

/// `Loops` of kernels.cu.
#[repr(C)]
#[derive(Debug, Clone)]
pub(crate) struct Loops {
    pub(crate) count: u64,
    rank: u32,
    unused: u32,
    extent: [u64; MAX_LOOPS],
    stride: [i64; MAX_LOOPS],
}

/// `Planes` of kernels.cu.
#[repr(C)]
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    row_extent: u64,
    line_extent: u64,
    row_stride: i64,
    line_stride: i64,
    pub(crate) tiles: u64,
    others: Loops,
    target_stride: [i64; MAX_LOOPS],
}

/// How a layout is read.
#[derive(Debug)]
pub(crate) enum Move {
    /// One element after the other, of `unit` bytes.
    Loops { unit: usize, loops: Box<Loops> },
    /// In tiles, where the densest axis of the source is not that of the target.
    Planes { unit: usize, planes: Box<Planes> },
}

/// One loop: its length, and the bytes it moves on in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    extent: usize,
    stride: isize,
}

impl Loops {
    fn of(axes: &[Axis]) -> Self {
        let mut this = Self {
            count: axes.iter().map(|axis| axis.extent as u64).product(),
            rank: 0,
            unused: 0,
            extent: [1; MAX_LOOPS],
            stride: [0; MAX_LOOPS],
        };
        for (place, axis) in axes.iter().enumerate() {
            this.extent[place] = axis.extent as u64;
            this.stride[place] = axis.stride as i64;
            this.rank += 1;
        }
        this
    }
}

/// The loops over numbers of `size` bytes, `parts` of which make an element; none is joined from
/// several.
pub(crate) fn numbers(layout: &Layout, size: usize, parts: usize) -> Result<Box<Loops>> {
    let mut axes = axes_of(layout, size * parts);
    axes.push(Axis { extent: parts, stride: size.cast_signed() });
    joined(&mut axes);
    Ok(Box::new(Loops::of(&axes)))
}

/// Whether these loops are one run without gaps of elements of `size` bytes.
pub(crate) fn is_dense(loops: &Loops, size: usize) -> bool {
    loops.rank == 0 || loops.rank == 1 && loops.stride[0] == size as i64
}

/// How to copy elements of `item` bytes from a layout at `source` to row-major order at `target`.
pub(crate) fn plan(layout: &Layout, item: usize, source: u64, target: u64) -> Result<Move> {
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
    } else if let Some(planes) = planes(&axes, unit) {
        return Ok(Move::Planes { unit, planes: Box::new(planes) });
    }
    Ok(Move::Loops { unit, loops: Box::new(Loops::of(&axes)) })
}

/// The axes that have several elements, outermost first, with strides in bytes.
fn axes_of(layout: &Layout, item: usize) -> Vec<Axis> {
    let axes = layout.shape().iter().zip(layout.strides());
    // The products fit: a layout with elements spans at most `isize::MAX` bytes.
    axes.filter(|(extent, _)| **extent > 1)
        .map(|(&extent, &stride)| Axis { extent, stride: stride * item.cast_signed() })
        .collect()
}

/// Makes neighbours that could be one loop one; loops of one step go.
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

/// The planes, where an axis other than the last is the source's densest and both are long.
fn planes(axes: &[Axis], unit: usize) -> Option<Planes> {
    let (row, outer) = axes.split_last()?;
    let line = outer.iter().position(|axis| axis.stride == unit.cast_signed())?;
    let long = |axis: &Axis| axis.extent >= TILE as usize / 2;
    if !long(row) || !long(&outer[line]) {
        return None;
    }
    let mut targets = vec![unit.cast_signed(); axes.len()];
    for place in (0..axes.len() - 1).rev() {
        targets[place] = targets[place + 1] * axes[place + 1].extent.cast_signed();
    }
    let others: Vec<usize> = (0..outer.len()).filter(|&place| place != line).collect();
    let mut target_stride = [0; MAX_LOOPS];
    for (place, &axis) in others.iter().enumerate() {
        target_stride[place] = targets[axis] as i64;
    }
    let tiles = |extent: usize| (extent as u64).div_ceil(TILE);
    let around = Loops::of(&others.iter().map(|&axis| axes[axis]).collect::<Vec<_>>());
    Some(Planes {
        row_extent: row.extent as u64,
        line_extent: outer[line].extent as u64,
        row_stride: row.stride as i64,
        line_stride: targets[line] as i64,
        tiles: tiles(row.extent) * tiles(outer[line].extent) * around.count,
        others: around,
        target_stride,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loops(shape: &[usize], strides: &[isize], item: usize, address: u64) -> (usize, Vec<Axis>) {
        let layout = Layout::new(shape, strides, 0).unwrap();
        match plan(&layout, item, address, 0).unwrap() {
            Move::Loops { unit, loops } => {
                let rank = loops.rank as usize;
                let axes = loops.extent[..rank].iter().zip(&loops.stride[..rank]);
                let axes =
                    axes.map(|(&n, &s)| Axis { extent: n as usize, stride: s as isize }).collect();
                (unit, axes)
            }
            Move::Planes { .. } => panic!("it is not transposed"),
        }
    }

    #[test]
    fn neighbours_become_wide_accesses() {
        // Rows of 8 floats, 12 apart: 32 bytes a row, in accesses of 16.
        let (unit, axes) = loops(&[5, 8], &[12, 1], 4, 0);
        assert_eq!(unit, 16);
        assert_eq!(axes, [Axis { extent: 5, stride: 48 }, Axis { extent: 2, stride: 16 }]);
        // A source four bytes off its border allows four bytes at a time.
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
        let Move::Planes { unit, planes } = plan(&layout, 4, 0, 0).unwrap() else {
            panic!("it is transposed")
        };
        assert_eq!((unit, planes.tiles), (4, 2 * 2 * 3));
        assert_eq!((planes.row_extent, planes.line_extent), (50, 40));
        assert_eq!((planes.row_stride, planes.line_stride), (160, 200));
        assert_eq!((planes.others.stride[0], planes.target_stride[0]), (8000, 8000));
    }
}
