//! Floats on the range of another type: from their smallest to their largest value, or from two given ones.
//!
//! Elements are read by pointers, as copies and casts read them: others may hold the memory too.

mod numbers;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bridge_core::{
    DataType, Error, Interrupt, ManagedTensor, Overflow, PIECE_BYTES, Result, TensorSpec,
};

use self::numbers::{Real, Span, Stretch, Whole, spread as spread_one};
use crate::cast::map_wide;
use crate::ends::Ends;
use crate::first_touch::LargePages;
use crate::new_tensor::{allocate, to_data_type_unless};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::runs::has_avx2;
use crate::threads::{run_parts, threads_for};

/// What became of a tensor's values.
#[derive(Debug)]
pub enum Rescaled {
    /// The new tensor, in row-major host memory.
    Made(ManagedTensor),
    /// There are no two different values to stretch between.
    Level,
    /// The rule does not say what becomes of a value: of the first such, in row-major order.
    Undefined {
        /// The value.
        value: f64,
        /// Its index in row-major order.
        place: usize,
    },
}

/// Elements that a thread works on at once: they stay in the first-level cache from one loop to the next.
const BLOCK: usize = 2048;

/// What `$body` gives for the integer type that is `$to`, where it is one.
macro_rules! with_whole {
    ($to:expr, $T:ident => $body:expr) => {
        with_whole!(@ $to, $T, $body; U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,)
    };
    (@ $to:expr, $T:ident, $body:expr; $($name:ident = $type:ty,)*) => {
        match $to {
            $(DataType::$name => { type $T = $type; Some($body) })*
            _ => None,
        }
    };
}

/// Stretches the floats of a host tensor over the integer type `to`: the smallest becomes its smallest, the
/// largest its largest, and fractions are cut off.
///
/// It computes in `f64` where the tensor has these and in `f32` else. Signed types end 128 below their
/// largest value; `i8`, `i64` and `u64` get 0 and 1. `interrupt` is asked after every 64 MiB or so.
///
/// # Errors
///
/// [`Error::NoCast`] where the tensor has no floats or `to` is no integer type, what `interrupt` says, and as
/// [`to_data_type`](crate::to_data_type). Values that are not finite, and all equal values, are answers of
/// their own.
pub fn stretch(
    source: &ManagedTensor,
    to: DataType,
    interrupt: Option<&dyn Interrupt>,
) -> Result<Rescaled> {
    let from = source.data_type();
    if !from.is_float() || !to.is_integer() {
        let reason = "only floats are stretched, and only over integers: cast it".to_owned();
        return Err(Error::NoCast { from, to, reason });
    }
    match from {
        DataType::F64 => {
            as_floats(source, from, interrupt, |read| stretched::<f64>(read, to, interrupt))
        }
        _ => as_floats(source, DataType::F32, interrupt, |read| {
            stretched::<f32>(read, to, interrupt)
        }),
    }
}

/// Puts the numbers from `low` to `high` on the whole range of the integer type `to`, to the nearest, or from 0 to 1
/// where `to` is a float; what lies outside becomes the nearer end. It computes in `f64`. NaN stays in a float.
///
/// `low` and `high` are finite and `low < high`. `interrupt` is asked after every 64 MiB or so.
///
/// # Errors
///
/// [`Error::NoCast`] for complex numbers and where `to` is neither an integer nor a float type, what `interrupt` says,
/// and as [`to_data_type`](crate::to_data_type). NaN for an integer is an answer of its own.
pub fn spread(
    source: &ManagedTensor,
    to: DataType,
    (low, high): (f64, f64),
    interrupt: Option<&dyn Interrupt>,
) -> Result<Rescaled> {
    let from = source.data_type();
    if !(to.is_integer() || to.is_float()) || from.is_complex() {
        let reason = "a range has real numbers at both ends: rescale real numbers".to_owned();
        return Err(Error::NoCast { from, to, reason });
    }
    let span = f64::span(low, high);
    match from {
        // They widen one by one: as a tensor they would take twice the memory.
        DataType::F32 => {
            as_floats(source, from, interrupt, |read| spread_from::<f32>(read, to, span, interrupt))
        }
        _ => as_floats(source, DataType::F64, interrupt, |read| {
            spread_from::<f64>(read, to, span, interrupt)
        }),
    }
}

/// Whether [`stretch`] and [`spread`] read a tensor's elements where they lie when they compute in `data_type`; else
/// they cast them into new memory first.
pub fn is_read_in_place(source: &ManagedTensor, data_type: DataType) -> bool {
    source.data_type() == data_type && source.layout().is_row_major()
}

/// What `read` makes of the elements as floats of `data_type`, in row-major order. Floats that are narrower widen, which
/// is exact.
fn as_floats(
    source: &ManagedTensor,
    data_type: DataType,
    interrupt: Option<&dyn Interrupt>,
    read: impl FnOnce(&ManagedTensor) -> Result<Rescaled>,
) -> Result<Rescaled> {
    source.require_host()?;
    if is_read_in_place(source, data_type) {
        return read(source);
    }
    read(&to_data_type_unless(interrupt, source, data_type, Overflow::Saturate)?)
}

fn stretched<F: Real>(
    source: &ManagedTensor,
    to: DataType,
    interrupt: Option<&dyn Interrupt>,
) -> Result<Rescaled> {
    let (low, high) = match ends::<F>(source, interrupt)? {
        Ok(Some((low, high))) if low < high => (low, high),
        Ok(_) => return Ok(Rescaled::Level),
        Err(undefined) => return Ok(undefined),
    };
    let made = with_whole!(to, T => {
        let stretch = Stretch::<F, T>::onto(low, high);
        new_tensor(source, to, interrupt, |run| {
            // A copy that no pointer leads to: the loop need not read it again after each store.
            let own = stretch;
            // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `T`.
            unsafe { run.make(move |value: F| value.stretched(&own)) };
        })?
    });
    Ok(made.map_or(Rescaled::Level, Rescaled::Made))
}

fn spread_from<F: Real>(
    source: &ManagedTensor,
    to: DataType,
    span: Span<f64>,
    interrupt: Option<&dyn Interrupt>,
) -> Result<Rescaled> {
    if let Some(made) = with_whole!(to, T => spread_over::<F, T>(source, to, span, interrupt)) {
        return made;
    }
    let places = new_tensor(source, DataType::F64, interrupt, |run| {
        // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `f64`.
        unsafe { run.make(move |value: F| span.place_of(value.wide())) };
    })?;
    Ok(Rescaled::Made(match to {
        DataType::F64 => places,
        _ => to_data_type_unless(interrupt, &places, to, Overflow::Saturate)?,
    }))
}

fn spread_over<F: Real, T: Whole>(
    source: &ManagedTensor,
    to: DataType,
    span: Span<f64>,
    interrupt: Option<&dyn Interrupt>,
) -> Result<Rescaled> {
    let missing = AtomicUsize::new(usize::MAX);
    let made = new_tensor(source, to, interrupt, |run| {
        // SAFETY: `new_tensor` gives runs of as many numbers, of `F` and of `T`.
        let has_all = unsafe {
            run.make(move |value: F| spread_one::<T>(span.place_of(value.wide())));
            run.all_are::<F>(|value| !value.is_nan())
        };
        if !has_all {
            missing.fetch_min(run.place, Ordering::Relaxed);
        }
    })?;
    match missing.into_inner() {
        usize::MAX => Ok(Rescaled::Made(made)),
        block => Ok(first(source, block, F::is_nan)),
    }
}

/// The smallest and the largest value; none where there is no value; or the first that is not finite.
///
/// # Errors
///
/// What `interrupt` says.
fn ends<F: Real>(
    source: &ManagedTensor,
    interrupt: Option<&dyn Interrupt>,
) -> Result<Result<Option<(F, F)>, Rescaled>> {
    let count = source.layout().element_count();
    if count == 0 {
        return Ok(Ok(None));
    }
    let found = Mutex::new(None::<(F, F)>);
    let broken = AtomicUsize::new(usize::MAX);
    in_parts(count, size_of::<F>(), interrupt, |part| {
        let mut mine = None::<(F, F)>;
        for start in part.clone().step_by(BLOCK) {
            let run = Run::of(source, start..part.end.min(start + BLOCK));
            // SAFETY: the source has `F`s, and the run is within its elements.
            let Some((low, high)) = (unsafe { run.ends::<F>() }) else {
                broken.fetch_min(start, Ordering::Relaxed);
                return;
            };
            mine = Some(mine.map_or((low, high), |ends| wider(ends, (low, high))));
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = match (*found, mine) {
            (Some(one), Some(other)) => Some(wider(one, other)),
            (one, other) => one.or(other),
        };
    })?;
    Ok(match broken.into_inner() {
        usize::MAX => Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner)),
        block => Err(first::<F>(source, block, |value| !value.is_finite())),
    })
}

fn wider<F: Real>((low, high): (F, F), (other_low, other_high): (F, F)) -> (F, F) {
    let low = if other_low < low { other_low } else { low };
    (low, if other_high > high { other_high } else { high })
}

/// The first value from `from` on that is so.
#[cold]
fn first<F: Real>(source: &ManagedTensor, from: usize, is: impl Fn(F) -> bool) -> Rescaled {
    let run = Run::of(source, from..source.layout().element_count());
    // SAFETY: the source has `F`s, and the run is within its elements.
    let mut values = (0..run.count).map(|at| unsafe { run.value::<F>(at) });
    let found = values.position(is).unwrap_or(0);
    // SAFETY: as above; where others write meanwhile, any element will do.
    let value = unsafe { run.value::<F>(found) };
    Rescaled::Undefined { value: value.wide(), place: from + found }
}

/// A new tensor of the shape of `source`, with elements of type `to`, which `make` writes run by run.
fn new_tensor(
    source: &ManagedTensor,
    to: DataType,
    interrupt: Option<&dyn Interrupt>,
    make: impl Fn(Run) + Sync,
) -> Result<ManagedTensor> {
    let spec = TensorSpec::row_major(to, source.shape())?;
    // SAFETY: every element is written below, or nothing is returned: the callers' `make` writes the whole run.
    let made = unsafe { allocate(&spec, to.alignment()) }?;
    let (count, item) = (source.layout().element_count(), to.size_in_bytes().unwrap_or(1));
    let first = Ends { source: source.first_element(), target: made.first_element() };
    let read = source.data_type().size_in_bytes().unwrap_or(1);
    in_parts(count, item + read, interrupt, |part| {
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
/// `interrupt` after every piece of about 64 MiB.
///
/// # Errors
///
/// What `interrupt` says.
fn in_parts(
    count: usize,
    bytes: usize,
    interrupt: Option<&dyn Interrupt>,
    work: impl Fn(Range<usize>) + Sync,
) -> Result<()> {
    let piece = interrupt.map_or(count, |_| PIECE_BYTES / bytes).max(BLOCK);
    for start in (0..count).step_by(piece) {
        if start > 0 {
            interrupt.map_or(Ok(()), Interrupt::check)?;
        }
        let count = piece.min(count - start);
        let parts = threads_for(count * bytes).min(count.div_ceil(BLOCK)).max(1);
        run_parts(parts, |part| {
            let border = |part: usize| match part {
                _ if part == parts => start + count,
                part => start + count / parts * part,
            };
            work(border(part)..border(part + 1));
        });
    }
    Ok(())
}

/// Some elements that lie side by side, and those to be made of them.
struct Run {
    ends: Ends,
    count: usize,
    /// The index of the first.
    place: usize,
}

impl Run {
    /// Elements that are only read.
    fn of(source: &ManagedTensor, places: Range<usize>) -> Self {
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
    unsafe fn make<S, T>(&self, make: impl Fn(S) -> T) {
        // SAFETY: the caller promises the same.
        unsafe { map_wide(self.ends.source, self.ends.target, self.count, make) };
    }

    /// Whether each is so.
    ///
    /// # Safety
    ///
    /// The run's `S`s can be read.
    unsafe fn all_are<S: Copy>(&self, is: impl Fn(S) -> bool) -> bool {
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
    unsafe fn ends<F: Real>(&self) -> Option<(F, F)> {
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

#[cfg(test)]
mod tests {
    use bridge_core::Element;

    use super::*;

    fn tensor<T: Element>(values: Vec<T>) -> ManagedTensor {
        let shape = [values.len()];
        ManagedTensor::from_vec(values, &shape).unwrap()
    }

    fn made<T: Element>(rescaled: Result<Rescaled>) -> Vec<T> {
        match rescaled.unwrap() {
            Rescaled::Made(tensor) => tensor.as_slice::<T>().unwrap().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// More elements than a block and than one thread takes, with the ends anywhere.
    #[test]
    fn the_ends_are_found_wherever_they_are() {
        let count = if cfg!(miri) { 70 } else { 3 * BLOCK + 7 };
        for (least, most) in [(0, count - 1), (count - 1, 0), (31, 32), (count / 2, count - 2)] {
            let mut values = vec![0.25_f32; count];
            (values[least], values[most]) = (-1.0, 1.0);
            let stretched = made::<u8>(stretch(&tensor(values), DataType::U8, None));
            assert_eq!((stretched[least], stretched[most]), (0, 255));
            let between = stretched.iter().filter(|&&one| one == 159).count();
            assert_eq!(between, count - 2, "{least} {most}");
        }
    }

    #[test]
    fn many_elements_are_rescaled_as_few_are() {
        let count = if cfg!(miri) { 300 } else { (3 << 20) + 5 };
        let values: Vec<f64> = (0..count).map(|at| ((at * 7919) % 1021) as f64).collect();
        let few: Vec<u16> =
            made(stretch(&tensor(values[..1021.min(count)].to_vec()), DataType::U16, None));
        let many: Vec<u16> = made(stretch(&tensor(values.clone()), DataType::U16, None));
        assert!(many.iter().enumerate().all(|(at, &one)| one == few[at % few.len()]));
        let over = |values: &[f64]| {
            made::<i32>(spread(&tensor(values.to_vec()), DataType::I32, (0.0, 1020.0), None))
        };
        let (few, many) = (over(&values[..1021.min(count)]), over(&values));
        assert!(many.iter().enumerate().all(|(at, &one)| one == few[at % few.len()]));
    }

    #[test]
    fn the_first_value_that_has_no_place_is_told_wherever_it_is() {
        let count = if cfg!(miri) { 100 } else { (1 << 20) + 3 };
        let told = |rescaled: Result<Rescaled>| match rescaled.unwrap() {
            Rescaled::Undefined { value, place } => (value.to_bits(), place),
            other => panic!("{other:?}"),
        };
        for place in [0, 1, count / 2, count - 2] {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let mut values = vec![1.0_f64; count];
                (values[count - 1], values[place]) = (f64::NAN, value);
                let values = tensor(values);
                let undefined = (value.to_bits(), place);
                assert_eq!(told(stretch(&values, DataType::I16, None)), undefined);
                // A range has a place for infinities.
                let missing = if value.is_nan() { place } else { count - 1 };
                let undefined = (f64::NAN.to_bits(), missing);
                assert_eq!(told(spread(&values, DataType::I16, (0.0, 1.0), None)), undefined);
            }
        }
    }

    /// The memory of one is half of the other's, and what is made is the same.
    #[test]
    fn single_precision_is_spread_as_the_double_of_the_same_values() {
        let count = if cfg!(miri) { 100 } else { 2 * BLOCK + 9 };
        let singles: Vec<f32> = (0..count).map(|at| at as f32 * 0.37 - 300.0).collect();
        let doubles = tensor(singles.iter().map(|&one| f64::from(one)).collect());
        let mut singles = tensor(singles);
        for to in [DataType::U8, DataType::I32, DataType::U64, DataType::F32, DataType::F64] {
            let bytes = |tensor: &ManagedTensor| {
                let Rescaled::Made(made) = spread(tensor, to, (-100.0, 800.0), None).unwrap()
                else {
                    panic!("all are numbers")
                };
                made.require_host().unwrap();
                let bytes = made.layout().compact_bytes(to).unwrap();
                // SAFETY: it is row-major host memory of so many bytes, all written.
                unsafe { std::slice::from_raw_parts(made.first_element(), bytes) }.to_vec()
            };
            assert_eq!(bytes(&singles), bytes(&doubles), "{to:?}");
        }
        singles.as_mut_slice::<f32>().unwrap()[5] = f32::NAN;
        let missing = spread(&singles, DataType::U8, (0.0, 1.0), None).unwrap();
        assert!(matches!(missing, Rescaled::Undefined { value, place: 5 } if value.is_nan()));
    }

    /// Counts how often it is asked, and stops at the last of so many times.
    struct Asked {
        times: AtomicUsize,
        last: usize,
    }

    impl Interrupt for Asked {
        fn check(&self) -> Result<()> {
            match self.times.fetch_add(1, Ordering::Relaxed) + 1 {
                time if time < self.last => Ok(()),
                _ => Err(Error::Unsupported { what: "going on".into(), remedy: "stop".into() }),
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "100 MB are too many")]
    fn who_may_interrupt_is_asked_after_every_piece_and_stops_what_comes_after() {
        // Two pieces of 64 MiB and a rest, of what is read and written; bytes, halves and numbers in places.
        let wide = tensor(vec![1.5_f32; (130 << 20) / 4]);
        let narrow = tensor(vec![1_u8; 24 << 20]);
        let asked = |last, work: &dyn Fn(&dyn Interrupt) -> Result<Rescaled>| {
            let asked = Asked { times: AtomicUsize::new(0), last };
            let stopped = work(&asked).is_err();
            (asked.times.into_inner(), stopped)
        };
        let stretched = |asked: &dyn Interrupt| stretch(&wide, DataType::U8, Some(asked));
        assert_eq!(asked(9, &stretched), (2, false), "the ends; then all are equal");
        assert_eq!(asked(2, &stretched), (2, true));
        let spread_wide =
            |asked: &dyn Interrupt| spread(&wide, DataType::U8, (0.0, 2.0), Some(asked));
        assert_eq!(asked(9, &spread_wide), (2, false), "162 MiB");
        assert_eq!(asked(1, &spread_wide), (1, true));
        let spread_narrow =
            |asked: &dyn Interrupt| spread(&narrow, DataType::U8, (0.0, 2.0), Some(asked));
        assert_eq!(
            asked(99, &spread_narrow),
            (2 + 3, false),
            "192 MiB of doubles, then read again"
        );
        assert_eq!(asked(2, &spread_narrow), (2, true));
    }

    #[test]
    fn what_has_no_spread_is_level_and_what_are_no_floats_is_refused() {
        for values in [vec![], vec![2.0_f32], vec![0.5; 100]] {
            assert!(matches!(stretch(&tensor(values), DataType::U8, None), Ok(Rescaled::Level)));
        }
        assert!(matches!(
            stretch(&tensor(vec![1_u8]), DataType::U8, None),
            Err(Error::NoCast { .. })
        ));
        assert!(matches!(
            stretch(&tensor(vec![1.0_f32]), DataType::F64, None),
            Err(Error::NoCast { .. })
        ));
    }
}
