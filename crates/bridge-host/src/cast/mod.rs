//! Casting between element types, in any two layouts.

mod check;
mod describe;
mod half_kernels;
mod kernels;
mod map;
#[cfg(target_arch = "x86_64")]
mod native_avx2;
mod number;
mod part;
mod pipeline;
mod rule;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge_core::{DataType, Device, Error, Layout, Result, TensorError, TypeCode};

use self::describe::describe;
pub(crate) use self::kernels::map_wide;
use self::part::Numbers;
use self::pipeline::{Pipeline, Scratch};
pub(crate) use self::rule::Rule;
use crate::ends::Ends;
use crate::loop_nest::{Axis, LoopNest, while_each_offset};
use crate::runs::finish_streams;
use crate::small_floats::unpack_codes;
use crate::strided_copy::plane_to_transpose;
use crate::threads::{PARTS_PER_THREAD, run_parts, threads_for};
use crate::transpose::Transposer;

/// Casts every element of one layout to the element of the same indices of another.
///
/// # Errors
///
/// [`Error::NoCast`] where no cast leads from one type to the other,
/// [`Error::ValueOutOfRange`] under [`Overflow::Refuse`](bridge_core::Overflow::Refuse), [`TensorError::OutOfMemory`] where there is none
/// for packed elements to be unpacked or for axes in another order to be turned: [`cast_buffers`] says how much.
///
/// # Safety
///
/// - The shapes are equal, and [`Layout::span`] succeeds for both layouts and their types.
/// - Every element of the source can be read and every element of the target written, from the
///   elements with all indices zero at `ends` on. Nobody else writes or reads them meanwhile, no
///   two index tuples lead to the same target element, and none overlaps the source.
pub(crate) unsafe fn cast_strided(
    ends: Ends,
    (from, source): (DataType, &Layout),
    (to, target): (DataType, &Layout),
    rule: Rule,
) -> Result<()> {
    let (source_numbers, target_numbers) = numbers(from, to)?;
    if source.is_empty() {
        return Ok(());
    }
    let pipeline =
        Pipeline::new(source_numbers, target_numbers, rule).for_count(source.element_count());
    if from.size_in_bytes().is_some() {
        // SAFETY: the caller promises the same.
        return unsafe { run(&pipeline, ends, (from, source), (to, target)) };
    }
    // SAFETY: packed elements are row-major, or `span` would have failed: these bytes hold them.
    let packed = unsafe {
        let bytes = from.bytes_for(source.element_count()).unwrap_or(0);
        std::slice::from_raw_parts(ends.source, bytes)
    };
    let mut codes = Vec::new();
    codes.try_reserve_exact(source.element_count()).map_err(|_| {
        Error::Tensor(TensorError::OutOfMemory {
            device: Device::CPU,
            requested: source.element_count() as u64,
        })
    })?;
    unpack_codes(packed, u32::from(from.bits()), &mut codes, source.element_count());
    let unpacked = Layout::row_major(source.shape())?;
    let ends = Ends { source: codes.as_ptr(), ..ends };
    // SAFETY: `codes` has the elements in row-major order, one a byte, and is nobody else's; of
    // the target the caller promises the same.
    unsafe { run(&pipeline, ends, (from, &unpacked), (to, target)) }
}

/// Bytes that a cast between two layouts takes on all its threads: for the numbers of packed elements, and to turn axes
/// that are in another order.
pub(crate) fn cast_buffers(
    (from, source): (DataType, &Layout),
    (to, target): (DataType, &Layout),
) -> usize {
    if source.is_empty() {
        return 0;
    }
    // Packed elements are row-major.
    let unpacked = if from.size_in_bytes().is_some() { 0 } else { source.element_count() };
    if source.is_row_major() && target.is_row_major() {
        return unpacked;
    }
    let sizes = (from.size_in_bytes().unwrap_or(1), to.size_in_bytes().unwrap_or(1));
    let (nest, threads) = shared_work(sizes, source, target);
    let turned = nest.sum_of_parts(threads, |part| {
        let plane = plane_to_transpose(&part.axes);
        plane.map_or(0, |(plane, _)| Transposer::buffer_bytes(sizes.0, plane))
    });
    unpacked + turned
}

/// The loops over elements of so many bytes, and how many threads pay off.
fn shared_work(
    (source_size, target_size): (usize, usize),
    source: &Layout,
    target: &Layout,
) -> (LoopNest, usize) {
    let nest = LoopNest::new(source, source_size, target, target_size);
    let threads = threads_for(nest.count() * source_size.max(target_size));
    (nest, threads)
}

/// Runs the pipeline over all elements, on several threads where that pays.
///
/// # Safety
///
/// As [`cast_strided`]; the pipeline goes from the source's type to the target's.
unsafe fn run(
    pipeline: &Pipeline,
    ends: Ends,
    (from, source): (DataType, &Layout),
    (to, target): (DataType, &Layout),
) -> Result<()> {
    let (source_size, target_size) = pipeline.sizes();
    let (nest, threads) = shared_work((source_size, target_size), source, target);
    // Where axes change, each part has a buffer of its own, and a thread has one part.
    let has_buffers = !(source.is_row_major() && target.is_row_major());
    let parts = if threads == 1 || has_buffers { threads } else { threads * PARTS_PER_THREAD };
    let (axis, parts) = nest.axis_to_share(parts).unwrap_or((0, 1));
    let all_fit = if parts > 1 {
        let all_fit = AtomicBool::new(true);
        let failure = OnceLock::new();
        run_parts(threads, parts, |part| {
            // SAFETY: the parts of the nest visit elements of the layouts, each of the target's
            // in one part only.
            match unsafe { cast_nest(pipeline, &nest.part(axis, part, parts), ends) } {
                Ok(true) => {}
                Ok(false) => all_fit.store(false, Ordering::Relaxed),
                // One failure is enough to tell.
                Err(error) => drop(failure.set(error)),
            }
        });
        failure.into_inner().map_or(Ok(all_fit.into_inner()), Err)
    } else {
        // SAFETY: the nest visits the elements of the layouts.
        unsafe { cast_nest(pipeline, &nest, ends) }
    };
    if all_fit? {
        return Ok(());
    }
    let in_order = LoopNest::in_index_order(source, source_size, target, target_size);
    // SAFETY: the loops visit the elements of the layouts.
    let (index, value) = unsafe { first_misfit(pipeline, &in_order, ends, from) };
    Err(Error::ValueOutOfRange { index, value, from, to })
}

/// Casts along the loops of `nest` on the calling thread; whether all elements fit.
///
/// # Errors
///
/// [`TensorError::OutOfMemory`], before anything is written.
///
/// # Safety
///
/// Every element that the loops visit can be read at the source and written at the target, nobody
/// else writes or reads them meanwhile, and source and target do not overlap.
unsafe fn cast_nest(pipeline: &Pipeline, nest: &LoopNest, ends: Ends) -> Result<bool> {
    let ends = ends.at(nest.source_start, nest.target_start);
    let scratch = Scratch::new();
    if let Some((plane, others)) = plane_to_transpose(&nest.axes) {
        let (item, _) = pipeline.sizes();
        let mut transposer = Transposer::new(item, plane, nest.count() * item)?;
        let cast = |row, ends| {
            // SAFETY: `while_each_row` gives rows to read and write, of elements of the nest.
            unsafe { pipeline.cast_row(row, ends, &scratch) }.is_none()
        };
        let all_fit = while_each_offset(&others, |source, target| {
            // SAFETY: the plane and the other loops together are the loops of the nest.
            unsafe { transposer.while_each_row(ends.at(source, target), cast) }
        });
        finish_streams();
        return Ok(all_fit);
    }
    let (inner, outer) = innermost(&nest.axes, pipeline);
    let all_fit = while_each_offset(outer, |source, target| {
        // SAFETY: the inner loop and the outer ones together are the loops of the nest.
        unsafe { pipeline.cast_row(inner, ends.at(source, target), &scratch) }.is_none()
    });
    finish_streams();
    Ok(all_fit)
}

/// The innermost loop and those around it; a single element is a loop of one.
fn innermost<'a>(axes: &'a [Axis], pipeline: &Pipeline) -> (Axis, &'a [Axis]) {
    let (source, target) = pipeline.sizes();
    let one = Axis { extent: 1, source: source.cast_signed(), target: target.cast_signed() };
    axes.split_last().map_or((one, &[]), |(&inner, outer)| (inner, outer))
}

/// The row-major index and the text of the first element that does not fit, of which there is one.
///
/// # Safety
///
/// As [`cast_nest`].
unsafe fn first_misfit(
    pipeline: &Pipeline,
    in_order: &LoopNest,
    ends: Ends,
    from: DataType,
) -> (usize, String) {
    let (inner, outer) = innermost(&in_order.axes, pipeline);
    let scratch = Scratch::new();
    let mut index = 0;
    let mut value = String::new();
    while_each_offset(outer, |source, target| {
        let here = ends.at(source, target);
        // SAFETY: the inner loop and the outer ones together are the loops of the nest.
        match unsafe { pipeline.cast_row(inner, here, &scratch) } {
            None => {
                index += inner.extent;
                true
            }
            Some(place) => {
                index += place;
                let misfit = here.at(place.cast_signed() * inner.source, 0).source;
                if let Some(numbers) = Numbers::of(from) {
                    // SAFETY: the element can be read.
                    value = unsafe { describe(misfit, numbers) };
                }
                false
            }
        }
    });
    finish_streams();
    (index, value)
}

/// What numbers the two types are made of.
fn numbers(from: DataType, to: DataType) -> Result<(Numbers, Numbers)> {
    let no_cast = |reason: &str| Err(Error::NoCast { from, to, reason: reason.to_owned() });
    let no_number = |data_type: DataType| match data_type.code() {
        TypeCode::Opaque => format!("{data_type} is a handle, not a number; copy it"),
        _ if data_type.lanes() != 1 => format!(
            "elements of several lanes ({}) cannot be cast; make the lanes an axis of the shape first",
            data_type.lanes()
        ),
        _ => format!("{data_type} has a width that casts do not support; copy it"),
    };
    let Some(source) = Numbers::of(from) else {
        return no_cast(&no_number(from));
    };
    let Some(target) = Numbers::of(to) else {
        return no_cast(&no_number(to));
    };
    if source.complex && !target.complex {
        return no_cast(
            "the imaginary part would be lost; view the elements as pairs of real numbers and take \
             the part you need",
        );
    }
    if to.size_in_bytes().is_none() {
        return no_cast(
            "casts to 4-bit and 6-bit floats are not supported; cast to an 8-bit float instead",
        );
    }
    Ok((source, target))
}
