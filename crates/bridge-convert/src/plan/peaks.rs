//! The most memory that the copies of a plan take at any time.

use bridge_core::{
    Accepts, DataType, Description, Device, DeviceBytes, Layout, LayoutRule, Options, Overflow,
    Registry, Result,
};
use smallvec::SmallVec;

use super::pooling::{Made, Pooling};
use super::step::Step;
use crate::landing::Landing;

/// The most memory that a conversion takes at any time, on each device that it takes any on.
pub type Peaks = SmallVec<[DeviceBytes; 2]>;

/// Who takes the steps of a plan, and what they are told.
#[derive(Clone, Copy)]
pub(crate) struct Workers<'a> {
    /// Where they are looked up; without one, nothing is known of them.
    registry: Option<&'a Registry>,
    /// What the target takes.
    accepts: &'a Accepts,
    overflow: Overflow,
    pooling: Option<Pooling<'a>>,
}

impl<'a> Workers<'a> {
    pub(crate) fn of(
        options: &Options<'a>,
        accepts: &'a Accepts,
        registry: Option<&'a Registry>,
    ) -> Self {
        let pooling = Pooling::of(options, accepts, registry);
        Self { registry, accepts, overflow: options.overflow_rule(), pooling }
    }

    /// The layout of what a step makes, of elements of this type and shape.
    fn layout(&self, data_type: DataType, shape: &[usize]) -> Result<Layout> {
        let rule = self.accepts.layout_rule();
        let is_packed = data_type.size_in_bytes().is_none();
        Ok(if is_packed { Layout::row_major(shape)? } else { rule.compact(shape)? })
    }

    /// What a step takes beside its result.
    fn beside(&self, step: &Step, at: &Description, made: &Description) -> Result<Peaks> {
        let Some(registry) = self.registry else { return Ok(Peaks::new()) };
        let Some(on) = step.worker(at.device) else {
            let Ok(tools) = registry.host_tools() else { return Ok(Peaks::new()) };
            let ends = ((at.data_type, &at.layout), (made.data_type, &made.layout));
            let bytes = tools.working_memory(ends.0, ends.1);
            return Ok(told([DeviceBytes { device: Device::CPU, bytes }]));
        };
        let Ok(runtime) = registry.runtime(on) else { return Ok(Peaks::new()) };
        // Runtimes make what is row-major, of axes that are turned before and after where the target takes
        // column-major ones.
        let is_packed = at.data_type.size_in_bytes().is_none();
        let turned = match self.accepts.layout_rule() {
            LayoutRule::ColumnMajor if !is_packed => {
                let reversed: SmallVec<[usize; 8]> = (0..at.layout.rank()).rev().collect();
                Some(Description { layout: at.layout.permuted(&reversed)?, ..at.clone() })
            }
            _ => None,
        };
        let found = turned.as_ref().unwrap_or(at);
        let taken = runtime.working_memory(found, made.data_type, made.device, self.overflow);
        Ok(told(taken))
    }

    /// Whether what a step downloads for the target may be copied once more.
    fn may_copy_again(&self, step: &Step, made: Made) -> bool {
        let Step::Download { from } = *step else { return false };
        let runtime = self.registry.and_then(|registry| registry.runtime(from).ok());
        let landing = |runtime| Landing::of(self.accepts, runtime, made.data_type, from);
        made.is_last
            && !made.is_empty
            && self.pooling.is_none_or(|pooling| pooling.source_for(step, made).is_none())
            && runtime.map(landing) == Some(Landing::CopiedOnceMore)
    }
}

/// What these steps take: each writes to new memory while that of the step before is still there;
/// the source is its owner's. With them, what the last step makes. What a pool reserves itself is not counted.
pub(super) fn peaks(
    found: &Description,
    steps: &[Step],
    workers: &Workers<'_>,
) -> Result<(Peaks, Option<DeviceBytes>)> {
    let mut peaks = Peaks::new();
    let mut before: Option<DeviceBytes> = None;
    let mut at = found.clone();
    let mut copying = steps.iter().filter(|step| step.copies()).peekable();
    while let Some(step) = copying.next() {
        let (data_type, device) = step.makes(at.data_type, at.device);
        let (is_last, is_empty) = (copying.peek().is_none(), at.layout.is_empty());
        let made = Made { data_type, from: at.device, to: device, is_empty, is_last };
        let layout = workers.layout(data_type, at.layout.shape())?;
        let result = Description { data_type, device, layout, ..at.clone() };
        let reserved = workers.pooling.is_some_and(|pooling| pooling.reserves(step, made));
        let bytes = result.layout.compact_bytes(data_type)? as u64;
        let new = (!reserved).then_some(DeviceBytes { device, bytes });
        let beside = workers.beside(step, &at, &result)?;
        let mut live = told(beside.into_iter().chain(new).chain(before));
        if workers.may_copy_again(step, made) {
            let both = told(new.into_iter().chain(new));
            both.into_iter().for_each(|part| add(&mut live, part, u64::max));
        }
        for part in live {
            add(&mut peaks, part, u64::max);
        }
        (at, before) = (result, new);
    }
    Ok((peaks, before))
}

/// What somebody says of each device, each device once.
pub(super) fn told(parts: impl IntoIterator<Item = DeviceBytes>) -> Peaks {
    let mut peaks = Peaks::new();
    for part in parts {
        add(&mut peaks, part, u64::saturating_add);
    }
    peaks
}

/// Adds to what is there of the same device.
fn add(all: &mut Peaks, part: DeviceBytes, together: fn(u64, u64) -> u64) {
    if part.bytes == 0 {
        return;
    }
    match all.iter_mut().find(|one| one.device == part.device) {
        Some(one) => one.bytes = together(one.bytes, part.bytes),
        None => all.push(part),
    }
}
