//! Turning planes whose densest axis differs between source and target, tile by tile.
//!
//! A tile is read along the source's densest axis, some cache lines at a time, and transposed into a
//! buffer within the second-level cache. From there its rows are handed out along the target's
//! densest axis, to be copied or cast, again whole lines at a time. Neither side depends on lines
//! staying in the cache between tiles, so strides that are powers of two, which map all rows to a
//! few cache sets, do no harm.
//!
//! Tiles follow each other along the source's densest axis, so that the pages of the source rows
//! stay known to the processor until the rows are done.

use std::ops::Range;

use bridge_core::{HostMemory, Result};

use crate::ends::Ends;
use crate::loop_nest::Axis;
use crate::runs::has_avx2;
use crate::strided_rows::copy_row;
#[cfg(target_arch = "x86_64")]
use crate::transpose_avx2;

/// Bytes of a copy or a cast by way of tiles from which it is too large to be in the caches.
pub(crate) const LARGE: usize = 4 << 20;

/// Two loops: one along the source's densest axis, one along the target's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) along_source: Axis,
    pub(crate) along_target: Axis,
}

impl Plane {
    /// Whether it has so few rows or columns that they are interleaved without a buffer.
    fn is_narrow(&self) -> bool {
        self.along_source.extent.min(self.along_target.extent) <= NARROW
    }
}

/// Bytes of a source row that one tile takes: several cache lines, which processors
/// fetch together.
const SOURCE_BYTES: usize = 256;
/// Bytes of a tile without padding: target rows get long runs, few of whose cache lines are broken.
const TILE_BYTES: usize = 128 << 10;
/// Bytes added to the buffer's rows, so that they start on different sets of the cache.
const PADDING: usize = 64;

/// Rows or columns of a plane that is narrow, at most.
const NARROW: usize = 8;
/// Elements of a narrow plane's row that are interleaved before the next row's turn: a few rows of
/// them fit the first-level cache.
const NARROW_RUN: usize = 512;

/// Transposes planes of the same loops, wherever they start.
pub(crate) struct Transposer {
    item: usize,
    plane: Plane,
    /// Elements of a tile along the source's and along the target's densest axis, at most.
    extents: (usize, usize),
    /// Bytes between the buffer's rows.
    pitch: usize,
    avx2: bool,
    /// Whether source rows are fetched into the cache before their turn.
    fetches: bool,
    /// Room for the rows of a tile, aligned to a cache line.
    buffer: HostMemory,
}

impl Transposer {
    /// For elements of `item` bytes, at most 64, `bytes` of them in all planes.
    ///
    /// # Errors
    ///
    /// [`TensorError::OutOfMemory`](bridge_core::TensorError::OutOfMemory) where there is none for the buffer.
    pub(crate) fn new(item: usize, plane: Plane, bytes: usize) -> Result<Self> {
        let (extents, pitch) = Self::tile(item, plane);
        let buffer = HostMemory::allocate(Self::buffer_bytes(item, plane), 64)?;
        Ok(Self { item, plane, extents, pitch, avx2: has_avx2(), fetches: bytes >= LARGE, buffer })
    }

    /// Bytes of the buffer for planes like this one.
    pub(crate) fn buffer_bytes(item: usize, plane: Plane) -> usize {
        let ((width, _), pitch) = Self::tile(item, plane);
        if plane.is_narrow() { 0 } else { width * pitch }
    }

    /// The extents of a tile, and the bytes between the buffer's rows.
    fn tile(item: usize, plane: Plane) -> ((usize, usize), usize) {
        let width = (SOURCE_BYTES / item).clamp(1, plane.along_source.extent.max(1));
        // A whole number of the longest vectors, so that only the last tile has a remainder.
        let length = (TILE_BYTES / item / width / 32 * 32).max(32).min(plane.along_target.extent);
        ((width, length), (length * item).next_multiple_of(64) + PADDING)
    }

    /// Calls `take` with rows that together are the elements of the plane that starts at `ends`, until
    /// it returns false; whether it never did. Unless the plane is narrow, a row's elements lie side
    /// by side at its source, which is the buffer.
    ///
    /// # Safety
    ///
    /// Every element that the plane visits can be read at the source, nobody else writes it
    /// meanwhile, and its place at the target does not overlap the source. In return, every element
    /// of a row can be read at the row's source, its place at the row's target is one of the
    /// plane's, and the two do not overlap.
    pub(crate) unsafe fn while_each_row(
        &mut self,
        ends: Ends,
        mut take: impl FnMut(Axis, Ends) -> bool,
    ) -> bool {
        let Plane { along_source, along_target } = self.plane;
        if self.plane.is_narrow() {
            return while_each_narrow_row(self.plane, ends, take);
        }
        let (width, length) = self.extents;
        for rows in pieces(along_target.extent, length) {
            for columns in pieces(along_source.extent, width) {
                let (column, row) = (columns.start.cast_signed(), rows.start.cast_signed());
                let here = ends.at(
                    column * along_source.source + row * along_target.source,
                    column * along_source.target + row * along_target.target,
                );
                let tile = Plane {
                    along_source: Axis { extent: columns.len(), ..along_source },
                    along_target: Axis { extent: rows.len(), ..along_target },
                };
                // SAFETY: a tile visits elements of the plane.
                unsafe { self.fill(&tile, here.source) };
                let row = Axis { source: self.item.cast_signed(), ..tile.along_target };
                let buffer = Ends { source: self.buffer.as_ptr(), target: here.target };
                for column in 0..columns.len().cast_signed() {
                    let pitch = self.pitch.cast_signed();
                    if !take(row, buffer.at(column * pitch, column * along_source.target)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Writes the tile's elements to the buffer, transposed: element `(column, row)` to
    /// `column * pitch + row * item`.
    ///
    /// # Safety
    ///
    /// As [`while_each_row`](Self::while_each_row).
    unsafe fn fill(&mut self, tile: &Plane, source: *const u8) {
        let (buffer, pitch) = (self.buffer.as_ptr(), self.pitch);
        let Plane { along_source, along_target } = *tile;
        let (columns, rows) = (along_source.extent, along_target.extent);
        assert!(
            columns <= self.extents.0 && rows <= self.extents.1,
            "{tile:?} does not fit the buffer"
        );
        let item = self.item.cast_signed();
        let mut done = (0, 0);
        #[cfg(target_arch = "x86_64")]
        if self.avx2 && along_source.source == item {
            // SAFETY: AVX2 was detected; the tile's elements can be read, those of one row side by
            // side, and all have their places in the buffer.
            done = unsafe {
                transpose_avx2::transpose_blocks(
                    source,
                    along_target.source,
                    (columns, rows),
                    self.item,
                    (buffer, pitch),
                    self.fetches,
                )
            };
        }
        let (columns_done, rows_done) = done;
        let from = |column: usize, row: usize| {
            source.wrapping_offset(
                column.cast_signed() * along_source.source
                    + row.cast_signed() * along_target.source,
            )
        };
        let to = |column: usize, row: usize| buffer.wrapping_add(column * pitch + row * self.item);
        let few_columns = columns <= 4 && along_target.source.unsigned_abs() < 64;
        // SAFETY: the elements (column, row) with column below `columns` and row below `rows` are
        // the tile's, and have their places in the buffer.
        unsafe {
            if few_columns {
                for column in 0..columns {
                    let axis = Axis { target: item, ..along_target };
                    let ends = Ends { source: from(column, 0), target: to(column, 0) };
                    copy_row(axis, self.item, ends);
                }
                return;
            }
            for row in 0..rows {
                let first = if row < rows_done { columns_done } else { 0 };
                if first == columns {
                    continue;
                }
                let axis = Axis {
                    extent: columns - first,
                    source: along_source.source,
                    target: pitch.cast_signed(),
                };
                let ends = Ends { source: from(first, row), target: to(first, row) };
                copy_row(axis, self.item, ends);
            }
        }
    }
}

/// Calls `take` with the rows of a plane that is short along one axis, such as a picture's channels,
/// a stretch of the long axis at a time.
fn while_each_narrow_row(
    plane: Plane,
    ends: Ends,
    mut take: impl FnMut(Axis, Ends) -> bool,
) -> bool {
    let Plane { along_source: a, along_target: b } = plane;
    let (long, short) = if a.extent > b.extent { (a, b) } else { (b, a) };
    for piece in pieces(long.extent, NARROW_RUN) {
        let first = piece.start.cast_signed();
        let here = ends.at(first * long.source, first * long.target);
        let run = Axis { extent: piece.len(), ..long };
        for step in 0..short.extent.cast_signed() {
            if !take(run, here.at(step * short.source, step * short.target)) {
                return false;
            }
        }
    }
    true
}

/// Cuts `0..extent` into pieces of `size`, the last one shorter.
fn pieces(extent: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..extent).step_by(size).map(move |start| start..extent.min(start + size))
}
