//! A cast as a short row of steps, and running them over blocks that stay in the cache.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use bridge_core::Overflow;

use super::check::Check;
use super::half_kernels::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use super::kernels::{
    Kernel, converting, encode_scales, encode_small, finite_f64_to_f32, hold_between, look_up,
    low_bits, make_complex, round_f64_to_odd, round_to_odd, truth, with_native,
};
use super::part::{Native, Numbers, Part};
use super::rule::Rule;
use crate::ends::Ends;
use crate::first_touch::LargePages;
use crate::loop_nest::Axis;
use crate::processor::Processor;
use crate::runs::{STREAMED_RUN, ask_ahead, stream_run};
use crate::small_floats::{Encoder, Table};
use crate::strided_rows::copy_row;

/// Elements of a block; the results of one step are in the first-level cache for the next.
const BLOCK: usize = 512;
/// Bytes of the largest element.
const LARGEST: usize = 16;

#[derive(Clone, Copy)]
enum Step {
    Map(Kernel),
    LookUp(&'static Table),
    Encode(Encoder),
    EncodeScale(Overflow),
    /// Finite numbers beyond these ends become the nearer one.
    Hold((f32, f32)),
    /// Moves nothing: fails where a number does not fit.
    Check(Check),
}

/// The steps from one element type to another.
pub(super) struct Pipeline {
    steps: Vec<Step>,
    /// Steps that are not checks.
    maps: usize,
    source: Numbers,
    target: Numbers,
    /// Whether what is written goes around the caches, where it lies side by side.
    streams: bool,
}

/// Bytes of a cast's target from which it may be written around the caches.
const STREAMED_BYTES: usize = 16 << 20;

/// Bytes of an area of the scratch memory.
const AREA: usize = BLOCK * LARGEST;
/// Areas of the scratch memory.
const AREAS: usize = 4;

/// Memory for what lies between two steps, of one thread: `AREAS` areas that do not overlap. It lies on the
/// thread's stack, so that a cast allocates nothing.
#[repr(align(64))]
pub(super) struct Scratch(UnsafeCell<[MaybeUninit<u8>; AREAS * AREA]>);

impl Scratch {
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new([const { MaybeUninit::uninit() }; AREAS * AREA]))
    }

    /// The first byte of an area; what lies there is uninitialized until a step writes it.
    fn area(&self, area: usize) -> *mut u8 {
        assert!(area < AREAS, "there is no area {area}");
        self.0.get().cast::<u8>().wrapping_add(area * AREA)
    }
}

/// Areas of the scratch memory: elements packed from a strided source, elements on their way to a
/// strided target. The other two take turns between steps.
const PACKED: usize = 2;
const TO_UNPACK: usize = 3;

impl Pipeline {
    /// The steps from `source` to `target`, which is complex where the source is.
    pub(super) fn new(source: Numbers, target: Numbers, rule: Rule) -> Self {
        let overflow = rule.overflow(target.part);
        let mut steps = Vec::new();
        match source.part {
            Part::Native(_) => {}
            Part::Bool => steps.push(Step::Map(truth::<u8>)),
            Part::F16 => steps.push(Step::Map(f16_to_f32)),
            Part::BF16 => steps.push(Step::Map(bf16_to_f32)),
            Part::Small(_, table) | Part::Scale(table) => steps.push(Step::LookUp(table)),
        }
        let native = source.part.native();
        match target.part {
            Part::Bool => steps.push(Step::Map(with_native!(native, T => truth::<T>))),
            Part::Native(to) => steps.extend(between_natives(native, to, rule)),
            Part::F16 | Part::BF16 | Part::Small(..) | Part::Scale(_) => {
                if native != Native::F32 {
                    steps.push(Step::Map(match native {
                        Native::F64 => round_f64_to_odd,
                        _ => with_native!(native, T => round_to_odd::<T>),
                    }));
                }
                // Integers of a byte fit all but the smallest formats.
                let fits = native.size() == 1 && matches!(target.part, Part::F16 | Part::BF16);
                if !fits {
                    steps.extend(misfits(Native::F32, target.part, rule));
                }
                steps.push(match target.part {
                    Part::F16 => Step::Map(f32_to_f16),
                    Part::Small(format, _) => Step::Encode(format.encoder(overflow)),
                    Part::Scale(_) => Step::EncodeScale(overflow),
                    _ => Step::Map(f32_to_bf16),
                });
            }
        }
        if target.complex && !source.complex {
            steps.push(Step::Map(match target.part.size() {
                2 => make_complex::<u16>,
                4 => make_complex::<u32>,
                _ => make_complex::<u64>,
            }));
        }
        let maps = steps.iter().filter(|step| !matches!(step, Step::Check(_))).count();
        Self { steps, maps, source, target, streams: false }
    }

    /// The same, for `count` elements in all: many are written around the caches where the processor writes
    /// them faster so. [`finish_streams`](crate::runs::finish_streams) must follow
    /// before another thread may read them.
    pub(super) fn for_count(self, count: usize) -> Self {
        let (source, target) = self.sizes();
        let is_much = count * target >= STREAMED_BYTES;
        let streams = is_much && Processor::get().streams_casts(count, source, target);
        Self { streams, ..self }
    }

    /// Bytes of a source and of a target element.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.source.size(), self.target.size())
    }

    /// Casts the elements along one axis. Returns the place of the first that does not fit; the
    /// elements from its block on are not written then.
    ///
    /// # Safety
    ///
    /// The elements of `axis` can be read at the source and written at the target, nobody else
    /// writes or reads them meanwhile, and they do not overlap.
    pub(super) unsafe fn cast_row(
        &self,
        axis: Axis,
        ends: Ends,
        scratch: &Scratch,
    ) -> Option<usize> {
        let (source_size, target_size) = self.sizes();
        let packed = axis.source == source_size.cast_signed();
        let to_packed = axis.target == target_size.cast_signed();
        let streams = self.streams && to_packed && axis.extent * target_size >= STREAMED_RUN;
        let single = packed && to_packed && self.steps.len() == 1 && !streams;
        let block = if single { axis.extent } else { BLOCK };
        let mut pages = LargePages::under(ends.target, axis.extent * target_size);
        for start in (0..axis.extent).step_by(block) {
            let count = block.min(axis.extent - start);
            let place = start.cast_signed();
            let here = ends.at(place * axis.source, place * axis.target);
            let source = if packed { here.source } else { scratch.area(PACKED).cast_const() };
            let in_place = to_packed && !streams;
            let target = if in_place { here.target } else { scratch.area(TO_UNPACK) };
            if streams && packed {
                ask_ahead(source, count * source_size);
            }
            if streams {
                // SAFETY: here the elements of the axis lie side by side at the target, and can be written.
                unsafe { pages.enter(here.target) };
            }
            // SAFETY:
            // - The block's elements are among those of the axis. Where they do not lie side by
            //   side, they are copied to or from an area that has room for `BLOCK` elements of
            //   any size.
            // - The areas are different from each other and from source and target.
            unsafe {
                if !packed {
                    let gather = Axis {
                        extent: count,
                        source: axis.source,
                        target: source_size.cast_signed(),
                    };
                    let target = scratch.area(PACKED);
                    copy_row(gather, source_size, Ends { source: here.source, target });
                }
                if let Some(misfit) = self.cast_block(source, target, count, scratch) {
                    return Some(start + misfit);
                }
                if streams {
                    stream_run(target, here.target, count * target_size);
                } else if !to_packed {
                    let scatter = Axis {
                        extent: count,
                        source: target_size.cast_signed(),
                        target: axis.target,
                    };
                    let source = scratch.area(TO_UNPACK).cast_const();
                    copy_row(scatter, target_size, Ends { source, target: here.target });
                }
            }
        }
        None
    }

    /// Casts `count` elements that lie side by side; at most `BLOCK` where there are several
    /// steps. Returns the place of the first that does not fit.
    ///
    /// # Safety
    ///
    /// The elements can be read at `source` and written at `target`; these, and the areas of
    /// `scratch` that steps take turns in, do not overlap.
    unsafe fn cast_block(
        &self,
        source: *const u8,
        target: *mut u8,
        count: usize,
        scratch: &Scratch,
    ) -> Option<usize> {
        let numbers = count * self.source.parts();
        let mut current = source;
        let mut maps_left = self.maps;
        for step in &self.steps {
            if let Step::Check(check) = step {
                // SAFETY: the numbers before this step are of the type it checks.
                if let Some(misfit) = unsafe { check.first_misfit(current, numbers) } {
                    return Some(misfit / self.source.parts());
                }
                continue;
            }
            maps_left -= 1;
            let next = if maps_left == 0 { target } else { scratch.area(maps_left % 2) };
            // SAFETY:
            // - Kernels that need numbers in range follow the check of them.
            // - `new` joins steps so that each reads what the one before it wrote; the first reads
            //   the source's numbers, the last writes the target's.
            // - An area holds `BLOCK` elements of the largest size, which is more than a block of
            //   any step's numbers; steps that follow each other use different areas.
            unsafe {
                match step {
                    Step::Map(kernel) => kernel(current, next, numbers),
                    Step::LookUp(table) => look_up(current, next, numbers, table),
                    Step::Encode(encoder) => encode_small(current, next, numbers, encoder),
                    Step::EncodeScale(overflow) => encode_scales(current, next, numbers, *overflow),
                    Step::Hold(ends) => hold_between(current, next, numbers, *ends),
                    Step::Check(_) => {}
                }
            }
            current = next.cast_const();
        }
        None
    }
}

/// The steps between two numbers that the processor computes with.
fn between_natives(from: Native, to: Native, rule: Rule) -> Vec<Step> {
    let overflow = rule.overflow(Part::Native(to));
    let mut steps = Vec::new();
    if from == to {
        return steps;
    }
    if let (Rule::KeepFinite, Native::F64, Native::F32) = (rule, from, to) {
        steps.push(Step::Map(finite_f64_to_f32));
        return steps;
    }
    steps.extend(misfits(from, Part::Native(to), rule));
    let wraps = overflow == Overflow::Wrap && from.is_float() && !to.is_float();
    if wraps {
        steps.push(Step::Map(match from {
            Native::F32 => low_bits::<f32>,
            _ => low_bits::<f64>,
        }));
        if to.size() < 8 {
            steps.push(Step::Map(converting(Native::I64, to, overflow)));
        }
    } else {
        // Under `Refuse`, floats that become integers have just been checked to be in range.
        steps.push(Step::Map(converting(from, to, overflow)));
    }
    steps
}

/// What is done about numbers that do not fit, before they are converted.
fn misfits(from: Native, to: Part, rule: Rule) -> Option<Step> {
    match rule {
        Rule::Of(Overflow::Refuse) => Check::of(from, to).map(Step::Check),
        Rule::Of(Overflow::Saturate | Overflow::Wrap) => None,
        Rule::KeepFinite if from == Native::F32 && to.is_float() => {
            Some(Step::Hold(Check::of(from, to)?.finite_ends()?))
        }
        Rule::KeepFinite => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::finish_streams;
    use bridge_core::DataType;

    /// On every processor, whichever of the two it prefers: whole blocks, parts of one, and targets
    /// that begin anywhere in a cache line.
    #[test]
    fn around_the_caches_the_same_is_written() {
        const COUNT: usize = 2000;
        let numbers = |data_type| Numbers::of(data_type).unwrap();
        // No NaN, whose other bits may be any.
        let codes: Vec<u16> = (0..COUNT as u16).map(|at| at % 1000 * 31).collect();
        let cast = |streams, count, before: usize| {
            let pipeline = Pipeline::new(
                numbers(DataType::BF16),
                numbers(DataType::F64),
                Overflow::Refuse.into(),
            );
            let pipeline = Pipeline { streams, ..pipeline };
            let mut target = vec![-1.0_f64; COUNT + 16];
            let row = Axis { extent: count, source: 2, target: 8 };
            let (source, first) = (codes.as_ptr().cast(), target[before..].as_mut_ptr().cast());
            let scratch = Scratch::new();
            // SAFETY: `count` codes can be read and as many numbers written.
            let misfit =
                unsafe { pipeline.cast_row(row, Ends { source, target: first }, &scratch) };
            finish_streams();
            assert_eq!(misfit, None);
            target.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        for count in [1, 63, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1, COUNT] {
            for before in 0..9 {
                assert_eq!(cast(true, count, before), cast(false, count, before), "{count}");
            }
        }
    }
}
