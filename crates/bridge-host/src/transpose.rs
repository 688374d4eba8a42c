//! Copying planes whose densest axis differs between source and target, tile by tile.
//!
//! A tile is read along the source's densest axis, whole cache lines at a time, transposed into a
//! buffer within the first-level cache, and written along the target's densest axis, again whole
//! lines at a time. Neither side depends on lines staying in the cache between tiles, so strides
//! that are powers of two, which map all rows to a few cache sets, do no harm.
//!
//! Tiles follow each other along the source's densest axis, so that the pages of the source rows
//! stay known to the processor until the rows are done.

use std::ops::Range;

use bridge_core::{HostMemory, Result};

use crate::ends::Ends;
use crate::loop_nest::Axis;
use crate::runs::{STREAMED_RUN, copy_run, finish_streams, has_avx2, stream_run};
use crate::strided_rows::copy_row;
#[cfg(target_arch = "x86_64")]
use crate::transpose_avx2;

/// Two loops: one along the source's densest axis, one along the target's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) along_source: Axis,
    pub(crate) along_target: Axis,
}

/// Bytes of a source row that one tile takes: two cache lines, which are fetched as a pair.
const SOURCE_BYTES: usize = 128;
/// Bytes of a tile without padding.
const TILE_BYTES: usize = 32 << 10;
/// Bytes added to the buffer's rows, at most: rows start on whole lines and on different sets.
const PADDING: usize = 128;
/// As [`TILE_BYTES`], where target rows begin amid cache lines and stores are streamed: longer runs
/// have fewer broken lines at their ends.
const UNALIGNED_TILE_BYTES: usize = 2 * TILE_BYTES;
/// Bytes of the buffer: a tile has at most `SOURCE_BYTES` rows, each padded.
const BUFFER_BYTES: usize = UNALIGNED_TILE_BYTES + SOURCE_BYTES * PADDING;

/// Bytes of a copy from which stores go around the caches: its rows are too far apart to be there
/// anyway when they are written.
const STREAMED_BYTES: usize = 4 << 20;

/// Planes of so few rows or columns are interleaved without a buffer.
const FEW: usize = 8;
/// Elements of a row that are interleaved before the next row's turn: few rows of them fit the
/// first-level cache.
const FEW_RUN: usize = 512;

/// Transposes planes of elements of one size.
pub(crate) struct Transposer {
    item: usize,
    avx2: bool,
    streams: bool,
    /// `BUFFER_BYTES` on a cache line's border.
    buffer: HostMemory,
}

impl Transposer {
    /// For elements of `item` bytes, at most 64, in a copy of `bytes` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](bridge_core::Error::OutOfMemory) where there is none for the buffer.
    pub(crate) fn new(item: usize, bytes: usize) -> Result<Self> {
        let avx2 = has_avx2();
        let buffer = HostMemory::allocate(BUFFER_BYTES, 64)?;
        Ok(Self { item, avx2, streams: avx2 && bytes >= STREAMED_BYTES, buffer })
    }

    /// Copies the elements of `plane`.
    ///
    /// # Safety
    ///
    /// Every element that the plane visits can be read at the source and written at the target,
    /// nobody else writes or reads them meanwhile, and source and target do not overlap.
    pub(crate) unsafe fn copy(&mut self, plane: &Plane, ends: Ends) {
        let Plane { along_source, along_target } = *plane;
        if along_source.extent.min(along_target.extent) <= FEW {
            // SAFETY: the caller promises the same.
            unsafe { copy_few(*plane, self.item, ends) };
            return;
        }
        let width = (SOURCE_BYTES / self.item).max(1).min(along_source.extent);
        let broken_lines = self.streams && along_source.target % 64 != 0;
        let bytes = if broken_lines { UNALIGNED_TILE_BYTES } else { TILE_BYTES };
        // A whole number of the longest vectors, so that only the last tile has a remainder.
        let length = (bytes / self.item / width / 32 * 32).max(32);
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
                unsafe { self.copy_tile(&tile, here) };
            }
        }
        if self.streams {
            // Other threads that learn of this copy's end see its stores.
            finish_streams();
        }
    }

    /// Copies a tile by way of the buffer, where element `(column, row)` lies at
    /// `column * pitch + row * item`.
    ///
    /// # Safety
    ///
    /// As [`copy`](Self::copy); the rows of the tile, padded, fit the buffer.
    unsafe fn copy_tile(&mut self, tile: &Plane, ends: Ends) {
        let Plane { along_source, along_target } = *tile;
        let item = self.item;
        let run = along_target.extent * item;
        let pitch = run.next_multiple_of(64) + PADDING / 2;
        assert!(along_source.extent * pitch <= BUFFER_BYTES, "{tile:?} does not fit the buffer");
        let buffer = self.buffer.as_ptr();
        // SAFETY:
        // - The tile's elements can be read and written, the caller promises.
        // - Every element of the tile has a place of its own within the buffer, asserted above,
        //   which `self` owns; all of them are written before they are read.
        unsafe {
            self.fill(tile, ends.source, buffer, pitch);
            for column in 0..along_source.extent {
                let from = buffer.add(column * pitch).cast_const();
                let to = ends.target.wrapping_offset(column.cast_signed() * along_source.target);
                if along_target.target != item.cast_signed() {
                    let row = Axis { source: item.cast_signed(), ..along_target };
                    copy_row(row, item, Ends { source: from, target: to });
                    continue;
                }
                if self.streams && run >= STREAMED_RUN {
                    stream_run(from, to, run);
                } else {
                    copy_run(from, to, run);
                }
            }
        }
    }

    /// Writes the tile's elements to the buffer, transposed.
    ///
    /// # Safety
    ///
    /// As [`copy_tile`](Self::copy_tile).
    unsafe fn fill(&self, tile: &Plane, source: *const u8, buffer: *mut u8, pitch: usize) {
        let Plane { along_source, along_target } = *tile;
        let (columns, rows) = (along_source.extent, along_target.extent);
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
                    buffer,
                    pitch,
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

/// Copies a plane that is short along one axis, such as a picture's channels, a stretch of the long
/// axis at a time.
///
/// # Safety
///
/// As [`Transposer::copy`].
unsafe fn copy_few(plane: Plane, item: usize, ends: Ends) {
    let Plane { along_source: a, along_target: b } = plane;
    let (long, short) = if a.extent > b.extent { (a, b) } else { (b, a) };
    for piece in pieces(long.extent, FEW_RUN) {
        let first = piece.start.cast_signed();
        let here = ends.at(first * long.source, first * long.target);
        let run = Axis { extent: piece.len(), ..long };
        for step in 0..short.extent.cast_signed() {
            // SAFETY: the run at one step of the short axis visits elements of the plane.
            unsafe { copy_row(run, item, here.at(step * short.source, step * short.target)) };
        }
    }
}

/// Cuts `0..extent` into pieces of `size`, the last one shorter.
fn pieces(extent: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..extent).step_by(size).map(move |start| start..extent.min(start + size))
}
