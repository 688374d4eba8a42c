//! What a launch of a kernel takes: the number of threads, and the arguments.

use std::ffi::c_void;
use std::marker::PhantomData;

/// Threads of a block, as in `kernels.cu`.
const THREADS: u64 = 256;
/// As many blocks keep the largest GPUs of today busy; beyond that, each thread does more.
const BUSY: u64 = 2_048;
/// The most blocks; kernels loop where there is more to do.
const MOST_BLOCKS: u64 = 16_384;
/// Accesses that a thread has in flight at a time, as in `kernels.h`.
const AT_ONCE: u64 = 4;

/// How many threads a kernel runs in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: u32,
    pub(crate) block: (u32, u32),
}

impl Grid {
    /// For so many accesses: one per thread, or several where there are enough threads.
    pub(crate) fn lines(count: u64) -> Self {
        let most = count.div_ceil(THREADS);
        Self::of(most.min(BUSY).max(most.div_ceil(AT_ONCE)), (THREADS as u32, 1))
    }

    /// One block per tile.
    pub(crate) fn tiles(count: u64) -> Self {
        Self::of(count, (32, 8))
    }

    fn of(blocks: u64, block: (u32, u32)) -> Self {
        Self { blocks: u32::try_from(blocks.clamp(1, MOST_BLOCKS)).unwrap_or(1), block }
    }
}

/// An argument of a kernel: the driver copies it when the kernel is launched.
#[derive(Clone, Copy)]
pub(crate) struct Argument<'a>(pub(crate) *mut c_void, PhantomData<&'a ()>);

impl<'a> Argument<'a> {
    pub(crate) fn of<T>(value: &'a T) -> Self {
        Self((&raw const *value).cast_mut().cast(), PhantomData)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_elements_have_a_thread_each_and_many_share_one() {
        assert_eq!(Grid::lines(1).blocks, 1);
        assert_eq!(Grid::lines(256 * 2_000).blocks, 2_000);
        assert_eq!(Grid::lines(256 * 4_000).blocks, 2_048);
        assert_eq!(Grid::lines(256 * 40_000).blocks, 10_000);
        assert_eq!(Grid::lines(1 << 30).blocks, 16_384);
    }
}
