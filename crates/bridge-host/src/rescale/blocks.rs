//! Blocks of elements, shared among threads.

use std::ops::Range;

use bridge_core::{DataType, Interrupt, ManagedTensor, Options, PIECE_BYTES, Result, TensorSpec};

use super::BLOCK;
use super::run::Run;
use crate::ends::Ends;
use crate::first_touch::LargePages;
use crate::new_tensor::allocate_in;
use crate::threads::{PARTS_PER_THREAD, run_parts, threads_for};

/// A new tensor of the shape of `source`, with elements of type `to`, which `make` writes run by run.
pub(super) fn new_tensor(
    source: &ManagedTensor,
    to: DataType,
    options: &Options<'_>,
    make: impl Fn(Run) + Sync,
) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(to, source.shape())?;
    // SAFETY: every element is written below, or nothing is returned: the callers' `make` writes the whole run.
    let made = unsafe { allocate_in(options.memory_source(), &spec) }?;
    let (count, item) = (source.layout().element_count(), to.size_in_bytes().unwrap_or(1));
    let first = Ends { source: source.first_element(), target: made.first_element() };
    let read = source.data_type().size_in_bytes().unwrap_or(1);
    in_parts(count, item + read, options, |part| {
        let ends = |at: usize| first.at((at * read).cast_signed(), (at * item).cast_signed());
        let mut pages = LargePages::under(ends(part.start).target, part.len() * item);
        for start in part.clone().step_by(BLOCK) {
            let ends = ends(start);
            // SAFETY: the target is new, and this part of it is this thread's.
            unsafe { pages.enter(ends.target) };
            make(Run { ends, count: BLOCK.min(part.end - start), place: start });
        }
    })?;
    Ok(made)
}

/// Runs `work` on parts of `count` elements, each of which moves so many bytes, on as many threads as pay off, and asks
/// the interrupt after every piece of about 64 MiB.
///
/// # Errors
///
/// What the interrupt says.
pub(super) fn in_parts(
    count: usize,
    bytes: usize,
    options: &Options<'_>,
    work: impl Fn(Range<usize>) + Sync,
) -> Result<()> {
    let interrupt = options.interrupt();
    let piece = interrupt.map_or(count, |_| PIECE_BYTES / bytes).max(BLOCK);
    for start in (0..count).step_by(piece) {
        if start > 0 {
            interrupt.map_or(Ok(()), Interrupt::check)?;
        }
        let count = piece.min(count - start);
        let threads = threads_for(count * bytes);
        let parts = if threads > 1 { threads * PARTS_PER_THREAD } else { 1 };
        let parts = parts.min(count.div_ceil(BLOCK)).max(1);
        run_parts(threads, parts, |part| {
            let border = |part: usize| match part {
                _ if part == parts => start + count,
                part => start + count / parts * part,
            };
            work(border(part)..border(part + 1));
        });
    }
    Ok(())
}
