//! Copying element by element along two loops.

use crate::ends::Ends;
use crate::loop_nest::Axis;
use crate::runs::copy_run;

/// Copies the elements of `item` bytes that the loops `outer` and `inner` visit.
///
/// # Safety
///
/// Every element that the loops visit can be read at the source and written at the target, nobody
/// else writes or reads them meanwhile, and source and target do not overlap.
pub(crate) unsafe fn copy_plane(outer: Axis, inner: Axis, item: usize, ends: Ends) {
    let mut ends = ends;
    for _ in 0..outer.extent {
        // SAFETY: `inner` at one step of `outer` visits elements of the plane.
        unsafe { copy_row(inner, item, ends) };
        ends = ends.at(outer.source, outer.target);
    }
}

/// Copies the elements of `item` bytes that `axis` visits; requirements as [`copy_plane`].
///
/// # Safety
///
/// As [`copy_plane`].
#[inline]
pub(crate) unsafe fn copy_row(axis: Axis, item: usize, ends: Ends) {
    // SAFETY: every arm copies the elements of `axis` as the caller allows; the size given as a
    // constant is `item`.
    unsafe {
        match item {
            1 => copy_row_of::<1>(axis, ends),
            2 => copy_row_of::<2>(axis, ends),
            3 => copy_row_of::<3>(axis, ends),
            4 => copy_row_of::<4>(axis, ends),
            6 => copy_row_of::<6>(axis, ends),
            8 => copy_row_of::<8>(axis, ends),
            12 => copy_row_of::<12>(axis, ends),
            16 => copy_row_of::<16>(axis, ends),
            _ => copy_row_of_any(axis, item, ends),
        }
    }
}

/// One row of elements of `ITEM` bytes. The strides that occur most are constants in loops of
/// their own, which the compiler can vectorise.
///
/// # Safety
///
/// As [`copy_plane`].
unsafe fn copy_row_of<const ITEM: usize>(axis: Axis, ends: Ends) {
    let Axis { extent, source: from, target: to } = axis;
    let item = ITEM.cast_signed();
    // SAFETY: with or without constant strides, the loops visit the elements of `axis`.
    unsafe {
        match (from, to) {
            (from, to) if from == item && to == item => {
                copy_run(ends.source, ends.target, extent * ITEM);
            }
            (0, to) if to == item => fill_row::<ITEM>(extent, ends),
            (from, to) if from == -item && to == item => {
                copy_steps::<ITEM>(extent, -item, item, ends);
            }
            (from, to) if from == 2 * item && to == item => {
                copy_steps::<ITEM>(extent, 2 * item, item, ends);
            }
            (from, to) if to == item => copy_steps::<ITEM>(extent, from, item, ends),
            (from, to) if from == item => copy_steps::<ITEM>(extent, item, to, ends),
            _ => copy_steps::<ITEM>(extent, from, to, ends),
        }
    }
}

/// # Safety
///
/// As [`copy_plane`].
#[inline(always)]
unsafe fn copy_steps<const ITEM: usize>(count: usize, from: isize, to: isize, ends: Ends) {
    for step in 0..count.cast_signed() {
        // SAFETY: element `step` of the row is one of those the caller allows to copy; elements
        // do not overlap, and byte pointers are always aligned.
        unsafe {
            let element = ends.source.offset(step * from).cast::<[u8; ITEM]>().read();
            ends.target.offset(step * to).cast::<[u8; ITEM]>().write(element);
        }
    }
}

/// Writes the one source element `count` times, side by side.
///
/// # Safety
///
/// As [`copy_plane`], for a row whose source stride is zero.
unsafe fn fill_row<const ITEM: usize>(count: usize, ends: Ends) {
    // SAFETY: the source element can be read; `count` elements can be written from the target on.
    unsafe {
        let element = ends.source.cast::<[u8; ITEM]>().read();
        for step in 0..count {
            ends.target.add(step * ITEM).cast::<[u8; ITEM]>().write(element);
        }
    }
}

/// # Safety
///
/// As [`copy_plane`].
unsafe fn copy_row_of_any(axis: Axis, item: usize, ends: Ends) {
    for step in 0..axis.extent.cast_signed() {
        let Ends { source, target } = ends.at(step * axis.source, step * axis.target);
        // SAFETY: element `step` of the row is one of those the caller allows to copy.
        unsafe { copy_run(source, target, item) };
    }
}
