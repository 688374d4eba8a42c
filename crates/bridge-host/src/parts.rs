//! Copying many tensors into parts of one new block: what a stack is made of.

use std::ops::Range;

use bridge_core::{ManagedTensor, Result};

use crate::booleans;
use crate::ends::Ends;
use crate::first_touch::LargePages;
use crate::host_kernels::{copy_to, is_plain};
use crate::processor::Processor;
use crate::runs::{STREAMED_RUN, copy_run, finish_streams, stream_run_within};
use crate::strided_copy::Target;
use crate::threads::{run_parts, threads_for};

/// Copies each source to its target. The targets are parts of one block that was allocated just now.
///
/// # Errors
///
/// As [`copy`](crate::copy), of the first that fails; targets before it have been written then.
pub(crate) fn copy_parts(parts: &mut [(&ManagedTensor, ManagedTensor)]) -> Result<()> {
    let runs: Option<Vec<Run>> = parts.iter().map(Run::of).collect();
    let Some(runs) = runs else {
        let mut each = parts.iter_mut();
        return each.try_for_each(|(source, target)| copy_to(source, target, Target::New));
    };
    let bytes = runs.iter().map(|run| run.bytes).sum();
    let streams = Target::New.is_streamed(bytes);
    let threads = match bytes < Processor::get().compact_bytes_to_share() {
        true => 1,
        false => threads_for(bytes).min(runs.len()),
    };
    run_parts(threads, threads, |thread| {
        let share = runs.len() * thread / threads..runs.len() * (thread + 1) / threads;
        // SAFETY: the runs of the two tensors of each part, as `Run::of` says; the targets are borrowed mutably, and
        // each is one thread's.
        unsafe { copy_runs(&runs, share, streams) };
    });
    Ok(())
}

/// The bytes of a source and of its target, which lie side by side in both.
struct Run {
    ends: Ends,
    bytes: usize,
}

impl Run {
    /// None where they do not, or where a copy has more to look at.
    fn of((source, target): &(&ManagedTensor, ManagedTensor)) -> Option<Self> {
        let data_type = source.data_type();
        let is_run = data_type == target.data_type()
            && is_plain(source, target)
            && source.layout().is_row_major()
            && !booleans::needs_check(data_type);
        let bytes = data_type.bytes_for(source.layout().element_count()).filter(|_| is_run)?;
        let ends = Ends { source: source.first_element(), target: target.first_element() };
        Some(Self { ends, bytes })
    }

    fn target_end(&self) -> *mut u8 {
        self.ends.target.wrapping_add(self.bytes)
    }
}

/// Copies runs one after the other; those that follow each other at the target are one there.
///
/// # Safety
///
/// Of each run the bytes can be read at the source and written at the target, where nobody else reads or writes
/// them, and the two do not overlap.
unsafe fn copy_runs(runs: &[Run], share: Range<usize>, streams: bool) {
    let mut pages = LargePages::under(std::ptr::null_mut(), 0);
    for index in share.clone() {
        let run = &runs[index];
        let follows = index > share.start && runs[index - 1].target_end() == run.ends.target;
        if !follows {
            let after = runs[index..share.end].windows(2);
            let joined = after.take_while(|two| two[0].target_end() == two[1].ends.target).count();
            let last = &runs[index + joined];
            let bytes = last.target_end().addr() - run.ends.target.addr();
            pages = LargePages::under(run.ends.target, bytes);
        }
        let Ends { source, target } = run.ends;
        // SAFETY: the caller promises both ends of this run, and the targets of those that follow it.
        unsafe {
            if streams && run.bytes >= STREAMED_RUN {
                stream_run_within(&mut pages, source, target, run.bytes);
            } else {
                copy_run(source, target, run.bytes);
            }
        }
    }
    finish_streams();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources as parts of one vector, of which `order` says which goes where.
    fn copied(sources: &[ManagedTensor], order: &[usize]) -> Vec<u32> {
        let each = sources[0].layout().element_count();
        let whole = vec![u32::MAX; sources.len() * each];
        let whole =
            ManagedTensor::from_vec(whole, &[&[sources.len()], sources[0].shape()].concat());
        let whole = whole.unwrap().into_shared();
        // SAFETY: each index is there once, and the parts are dropped before the whole is used.
        let part = |index| unsafe { ManagedTensor::slice_of(&whole, 0, index) }.unwrap();
        let mut parts: Vec<_> = sources.iter().zip(order.iter().map(|&at| part(at))).collect();
        copy_parts(&mut parts).unwrap();
        drop(parts);
        whole.try_unwrap().unwrap().into_vec::<u32>().unwrap().0
    }

    fn numbers(first: usize, count: usize) -> Vec<u32> {
        (first..first + count).map(|number| number as u32).collect()
    }

    #[test]
    fn parts_arrive_in_their_places_in_any_order_and_of_any_size() {
        // The last are more than is shared among threads and written around the caches.
        let large = [(5, 1 << 20), (17, 300_001)];
        let sizes = [(1, 1), (3, 0), (4, 7), (9, 129), (70, 1000)];
        for (count, each) in sizes.into_iter().chain(large.into_iter().filter(|_| !cfg!(miri))) {
            let source = |at: usize| ManagedTensor::from_vec(numbers(at * each, each), &[each]);
            let sources: Vec<_> = (0..count).map(|at| source(at).unwrap()).collect();
            let forwards: Vec<_> = (0..count).collect();
            assert!(copied(&sources, &forwards) == numbers(0, count * each), "{count} {each}");
            let backwards: Vec<_> = (0..count).rev().collect();
            let expected: Vec<_> =
                backwards.iter().flat_map(|at| numbers(at * each, each)).collect();
            assert!(copied(&sources, &backwards) == expected, "{count} {each}, backwards");
        }
    }

    #[test]
    fn parts_of_other_layouts_are_copied_one_by_one() {
        let square = |at: u32| {
            let square = ManagedTensor::from_vec(vec![at, at + 1, at + 2, at + 3], &[2, 2]);
            square.unwrap().permuted(&[1, 0]).unwrap()
        };
        assert_eq!(copied(&[square(0), square(10)], &[0, 1]), [0, 2, 1, 3, 10, 12, 11, 13]);
    }
}
