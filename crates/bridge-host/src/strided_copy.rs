//! Copying between any two layouts: choosing how.

use bridge_core::{DataType, Layout};

use crate::ends::Ends;
use crate::loop_nest::{Axis, LoopNest, for_each_offset};
use crate::processor::Processor;
use crate::runs::{STREAMED_RUN, copy_run, finish_streams, stream_run};
use crate::strided_rows::{copy_plane, copy_row};
use crate::threads::{run_parts, threads_for};
use crate::transpose::{self, Plane, Transposer};

/// Bytes of a copy from which stores go around the caches. Smaller targets stay in them, for whoever
/// reads next.
const STREAMED_BYTES: usize = 16 << 20;

/// What is known of a copy's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A block that was allocated just now and is written for the first time.
    New,
    /// Any other memory.
    InUse,
}

impl Target {
    /// Whether `bytes` bytes that are copied to it go around the caches.
    pub(crate) fn is_streamed(self, bytes: usize) -> bool {
        let in_caches = self == Self::New && Processor::get().keeps_new_memory();
        bytes >= STREAMED_BYTES && !in_caches
    }
}

/// Bytes from which an element is copied as a run.
const LONG_ITEM: usize = 64;

/// Planes with fewer elements are copied element by element: a tile would cost more than it saves.
const SMALLEST_PLANE: usize = 64;

/// Copies every element of one layout to the element of the same indices of another.
///
/// For device backends that have pointers and layouts but no tensors. Both pointers point to the
/// element with all indices zero: the layouts' byte offsets are not added. Pointers need not be
/// aligned. Large copies use several threads, see [`set_max_threads`](crate::set_max_threads).
///
/// Strides count elements. Elements packed below a byte (4-bit and 6-bit floats) are copied as
/// the whole bytes of a row-major tensor. Unlike [`copy`](crate::copy), this does not check that
/// booleans are 0 or 1.
///
/// # Safety
///
/// - The shapes are equal, and [`Layout::span`] succeeds for both layouts and `data_type`.
/// - Every element of `source_layout` can be read at `source`, and nobody writes it meanwhile.
/// - Every element of `target_layout` can be written at `target`, nobody else reads or writes it
///   meanwhile, no two index tuples lead to the same one, and none overlaps the source.
pub unsafe fn copy_strided(
    source: *const u8,
    source_layout: &Layout,
    target: *mut u8,
    target_layout: &Layout,
    data_type: DataType,
) {
    let ends = Ends { source, target };
    // SAFETY: the caller promises the same.
    unsafe { copy_layouts(ends, source_layout, target_layout, data_type, Target::InUse) };
}

/// As [`copy_strided`], to a target of which something is known.
///
/// # Safety
///
/// As [`copy_strided`].
#[inline]
pub(crate) unsafe fn copy_layouts(
    ends: Ends,
    source_layout: &Layout,
    target_layout: &Layout,
    data_type: DataType,
    target: Target,
) {
    debug_assert_eq!(source_layout.shape(), target_layout.shape());
    if source_layout.is_empty() {
        return;
    }
    if let Some(bytes) = side_by_side(source_layout, target_layout, data_type) {
        // SAFETY: the elements of both lie side by side, in the same order.
        unsafe { copy_run(ends.source, ends.target, bytes) };
        return;
    }
    // SAFETY: the caller promises the same.
    unsafe { copy_loops(ends, source_layout, target_layout, data_type, target) };
}

/// The bytes of the elements, where they are few and lie side by side in both: such a copy takes no
/// longer than its bytes do.
#[inline]
pub(crate) fn side_by_side(
    source_layout: &Layout,
    target_layout: &Layout,
    data_type: DataType,
) -> Option<usize> {
    let is_compact = source_layout.is_row_major() && target_layout.is_row_major();
    if !is_compact || source_layout.is_empty() {
        return None;
    }
    let bytes = data_type.bytes_for(source_layout.element_count())?;
    (bytes < Processor::get().compact_bytes_to_share().min(STREAMED_BYTES)).then_some(bytes)
}

/// What a copy does.
struct Work {
    nest: LoopNest,
    /// Bytes of an element.
    item: usize,
    /// How many threads pay off.
    threads: usize,
}

impl Work {
    /// Of at least one element.
    fn of(source_layout: &Layout, target_layout: &Layout, data_type: DataType) -> Self {
        let (nest, item) = match data_type.size_in_bytes() {
            Some(item) => (LoopNest::new(source_layout, item, target_layout, item), item),
            None => {
                // Row-major, or `span` would have failed: one run of bytes.
                let bytes = data_type.bytes_for(source_layout.element_count()).unwrap_or(0);
                let run = Axis { extent: bytes, source: 1, target: 1 };
                (LoopNest { axes: vec![run], source_start: 0, target_start: 0 }, 1)
            }
        };
        let bytes = nest.count() * item;
        let is_compact = source_layout.is_row_major() && target_layout.is_row_major();
        let threads = match is_compact && bytes < Processor::get().compact_bytes_to_share() {
            true => 1,
            false => threads_for(bytes),
        };
        Self { nest, item, threads }
    }
}

/// Bytes of the buffers that a copy from one layout to another takes on all its threads.
pub(crate) fn copy_buffers(
    source_layout: &Layout,
    target_layout: &Layout,
    data_type: DataType,
) -> usize {
    if source_layout.is_empty() || (source_layout.is_row_major() && target_layout.is_row_major()) {
        return 0;
    }
    let Work { nest, item, threads } = Work::of(source_layout, target_layout, data_type);
    nest.sum_of_parts(threads, |part| {
        let (axes, item) = of_larger_elements(&part.axes, item);
        transposed_plane(axes, item).map_or(0, |(plane, _)| Transposer::buffer_bytes(item, plane))
    })
}

/// As [`copy_layouts`], of at least one element.
///
/// # Safety
///
/// As [`copy_strided`].
unsafe fn copy_loops(
    ends: Ends,
    source_layout: &Layout,
    target_layout: &Layout,
    data_type: DataType,
    target: Target,
) {
    let Work { nest, item, threads } = Work::of(source_layout, target_layout, data_type);
    let streams = target.is_streamed(nest.count() * item);
    match nest.axis_to_share(threads) {
        Some((axis, parts)) if parts > 1 => run_parts(parts, parts, |part| {
            // SAFETY: the caller's promises hold for every part, and the parts of a nest visit
            // different elements of the target, which repeats none.
            unsafe { copy_nest(&nest.part(axis, part, parts), item, ends, streams) };
        }),
        // SAFETY: the nest visits exactly the elements of the two layouts, of which the caller
        // promises what `copy_nest` asks.
        _ => unsafe { copy_nest(&nest, item, ends, streams) },
    }
}

/// Copies elements of `item` bytes along the loops of `nest` on the calling thread, around the caches
/// where `streams`.
///
/// # Safety
///
/// Every element that the loops visit can be read at the source and written at the target, nobody
/// else writes or reads them meanwhile, and source and target do not overlap.
pub(crate) unsafe fn copy_nest(nest: &LoopNest, item: usize, ends: Ends, streams: bool) {
    let ends = ends.at(nest.source_start, nest.target_start);
    let bytes = nest.count() * item;
    let (axes, item) = of_larger_elements(&nest.axes, item);
    if item >= STREAMED_RUN && streams {
        for_each_offset(axes, |source, target| {
            let Ends { source, target } = ends.at(source, target);
            // SAFETY: `item` bytes from here on are neighbouring elements that the nest visits.
            unsafe { stream_run(source, target, item) };
        });
        finish_streams();
        return;
    }
    if item >= LONG_ITEM {
        for_each_offset(axes, |source, target| {
            let Ends { source, target } = ends.at(source, target);
            // SAFETY: `item` bytes from here on are neighbouring elements that the nest visits.
            unsafe { copy_run(source, target, item) };
        });
        return;
    }
    // Without memory for the transposer's buffer, the elements are copied in the target's order:
    // slower, but a copy has no need to fail.
    if let Some((plane, others)) = transposed_plane(axes, item)
        && let Ok(mut transposer) = Transposer::new(item, plane, bytes)
    {
        // The rows are too far apart to be in the caches anyway when they are written.
        let streams = bytes >= transpose::LARGE;
        let copy = |row, ends| {
            // SAFETY: `while_each_row` gives rows to read and write, of elements of the nest.
            unsafe { copy_transposed_row(row, item, ends, streams) };
            true
        };
        for_each_offset(&others, |source, target| {
            // SAFETY: the plane and the other loops together are the loops of the nest.
            unsafe { transposer.while_each_row(ends.at(source, target), copy) };
        });
        if streams {
            finish_streams();
        }
        return;
    }
    let point = Axis { extent: 1, source: 0, target: 0 };
    let (others, outer, inner) = match axes {
        [] => (&[][..], point, point),
        [inner] => (&[][..], point, *inner),
        [others @ .., outer, inner] => (others, *outer, *inner),
    };
    for_each_offset(others, |source, target| {
        // SAFETY: the two inner loops and the others together are the loops of the nest.
        unsafe { copy_plane(outer, inner, item, ends.at(source, target)) };
    });
}

/// Copies a row of a transposed plane, around the caches where `streams` and where that pays.
///
/// # Safety
///
/// As [`copy_row`].
unsafe fn copy_transposed_row(row: Axis, item: usize, ends: Ends, streams: bool) {
    let bytes = row.extent * item;
    let is_run = (row.source, row.target) == (item.cast_signed(), item.cast_signed());
    // SAFETY: the caller promises the same; a run's elements lie side by side in both.
    unsafe {
        if !is_run {
            copy_row(row, item, ends);
        } else if streams && bytes >= STREAMED_RUN {
            stream_run(ends.source, ends.target, bytes);
        } else {
            copy_run(ends.source, ends.target, bytes);
        }
    }
}

/// The loops of the same copy and the bytes of its elements, where those that lie side by side in both are one.
fn of_larger_elements(axes: &[Axis], item: usize) -> (&[Axis], usize) {
    match axes.split_last() {
        Some((last, outer))
            if (last.source, last.target) == (item.cast_signed(), item.cast_signed()) =>
        {
            (outer, item * last.extent)
        }
        _ => (axes, item),
    }
}

/// As [`plane_to_transpose`], where a copy transposes it.
fn transposed_plane(axes: &[Axis], item: usize) -> Option<(Plane, Vec<Axis>)> {
    if item < LONG_ITEM { plane_to_transpose(axes) } else { None }
}

/// The two loops to transpose and the rest, where the target's densest axis is not the source's.
pub(crate) fn plane_to_transpose(axes: &[Axis]) -> Option<(Plane, Vec<Axis>)> {
    let (&along_target, outer) = axes.split_last()?;
    let densest = (0..outer.len())
        .filter(|&axis| outer[axis].source != 0)
        .min_by_key(|&axis| outer[axis].source.unsigned_abs())?;
    let along_source = outer[densest];
    let pays = along_target.source.unsigned_abs() > along_source.source.unsigned_abs()
        && along_source.extent * along_target.extent >= SMALLEST_PLANE;
    if !pays {
        return None;
    }
    let mut others = outer.to_vec();
    others.remove(densest);
    Some((Plane { along_source, along_target }, others))
}
