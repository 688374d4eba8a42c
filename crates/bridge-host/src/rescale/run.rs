//! Elements that lie side by side, and what is looked for among them.

use std::ops::Range;

use bridge_core::ManagedTensor;

use super::Rescaled;
use super::numbers::Real;
use crate::cast::map_wide;
use crate::ends::Ends;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::runs::has_avx2;

/// Some elements that lie side by side, and those to be made of them.
pub(super) struct Run {
    pub(super) ends: Ends,
    pub(super) count: usize,
    /// The index of the first.
    pub(super) place: usize,
}

impl Run {
    /// Elements that are only read.
    pub(super) fn of(source: &ManagedTensor, places: Range<usize>) -> Self {
        let item = source.data_type().size_in_bytes().unwrap_or(1);
        let first = source.first_element().wrapping_add(places.start * item);
        let ends = Ends { source: first, target: std::ptr::null_mut() };
        Self { ends, count: places.len(), place: places.start }
    }

    /// # Safety
    ///
    /// The source has `S`s, and `at` is below the count.
    #[inline(always)]
    unsafe fn value<S: Copy>(&self, at: usize) -> S {
        // SAFETY: the caller promises that it is there; the read needs no alignment.
        unsafe { self.ends.source.cast::<S>().add(at).read_unaligned() }
    }

    /// Makes a number of each.
    ///
    /// # Safety
    ///
    /// The run's `S`s can be read at the source, as many `T`s can be written at the target, and the two do
    /// not overlap.
    pub(super) unsafe fn make<S, T>(&self, make: impl Fn(S) -> T) {
        // SAFETY: the caller promises the same.
        unsafe { map_wide(self.ends.source, self.ends.target, self.count, make) };
    }

    /// Whether each is so.
    ///
    /// # Safety
    ///
    /// The run's `S`s can be read.
    pub(super) unsafe fn all_are<S: Copy>(&self, is: impl Fn(S) -> bool) -> bool {
        in_wide_registers(|| {
            // Without a way out the loop takes many at once.
            // SAFETY: the caller promises that they can be read.
            (0..self.count).fold(true, |all, at| all & is(unsafe { self.value(at) }))
        })
    }

    /// The smallest and the largest of at least one; none where one is not finite.
    ///
    /// # Safety
    ///
    /// The run's `F`s can be read.
    pub(super) unsafe fn ends<F: Real>(&self) -> Option<(F, F)> {
        // SAFETY: the caller promises the same.
        in_wide_registers(|| unsafe { self.ends_in_lanes() })
    }

    /// As [`ends`](Self::ends), where it is inlined.
    #[inline(always)]
    unsafe fn ends_in_lanes<F: Real>(&self) -> Option<(F, F)> {
        // SAFETY: the caller promises that they can be read, and there is one.
        let value = |at: usize| unsafe { self.value::<F>(at) };
        let (mut lanes, last) = (Lanes::of(value(0)), self.count - 1);
        let whole = self.count - self.count % LANES;
        for start in (0..whole).step_by(LANES) {
            lanes.take(std::array::from_fn(|lane| value(start + lane)));
        }
        if whole < self.count {
            lanes.take(std::array::from_fn(|lane| value((whole + lane).min(last))));
        }
        lanes.ends()
    }
}

/// Numbers that are looked at at once: so few that their ends stay in registers.
const LANES: usize = 16;

/// The ends of the numbers at every sixteenth place.
struct Lanes<F> {
    low: [F; LANES],
    high: [F; LANES],
    /// NaN from the first number on that is not finite, and else zero.
    zeros: [F; LANES],
}

impl<F: Real> Lanes<F> {
    #[inline(always)]
    fn of(one: F) -> Self {
        Self { low: [one; LANES], high: [one; LANES], zeros: [F::ZERO; LANES] }
    }

    #[inline(always)]
    fn take(&mut self, values: [F; LANES]) {
        for (low, value) in self.low.iter_mut().zip(values) {
            *low = if value < *low { value } else { *low };
        }
        for (high, value) in self.high.iter_mut().zip(values) {
            *high = if value > *high { value } else { *high };
        }
        for (zero, value) in self.zeros.iter_mut().zip(values) {
            *zero = zero.plus(value.times_zero());
        }
    }

    #[inline(always)]
    fn ends(self) -> Option<(F, F)> {
        let finite = self.zeros.into_iter().all(F::is_finite);
        let all = self.low.into_iter().zip(self.high);
        finite.then(|| all.fold((self.low[0], self.high[0]), wider))
    }
}

/// Runs a loop in the widest registers that the processor has.
#[inline(always)]
fn in_wide_registers<R>(run: impl FnOnce() -> R) -> R {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if has_avx2() {
        /// # Safety
        ///
        /// The processor has AVX2.
        #[target_feature(enable = "avx2")]
        unsafe fn avx2<R>(run: impl FnOnce() -> R) -> R {
            run()
        }
        // SAFETY: it has been found to have AVX2.
        return unsafe { avx2(run) };
    }
    run()
}

/// The ends of two pairs of ends.
pub(super) fn wider<F: Real>((low, high): (F, F), (other_low, other_high): (F, F)) -> (F, F) {
    let low = if other_low < low { other_low } else { low };
    (low, if other_high > high { other_high } else { high })
}

/// The first value from `from` on that is so.
#[cold]
pub(super) fn first<F: Real>(
    source: &ManagedTensor,
    from: usize,
    is: impl Fn(F) -> bool,
) -> Rescaled {
    let run = Run::of(source, from..source.layout().element_count());
    // SAFETY: the source has `F`s, and the run is within its elements.
    let mut values = (0..run.count).map(|at| unsafe { run.value::<F>(at) });
    let found = values.position(is).unwrap_or(0);
    // SAFETY: as above; where others write meanwhile, any element will do.
    let value = unsafe { run.value::<F>(found) };
    Rescaled::Undefined { value: value.wide(), place: from + found }
}
