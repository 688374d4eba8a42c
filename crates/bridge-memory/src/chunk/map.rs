//! Running over an array chunk by chunk.

use std::fmt;

use bridge_core::{
    Array, ManagedTensor, NativeType, Options, Permit, Refused, Registry, Result, SharedTensor,
};

use super::overlap::{Map, Overlap};
use super::plan::ChunkPlan;
use super::progress::Progress;
use super::result::ChunkResult;
use super::source::ChunkSource;
use crate::budget::Consumer;
use crate::pool::Pool;

/// Calls `map` with every chunk of an array along `axis`, as an array of the backend `target`, and puts what
/// it returns together along the same axis, in host memory.
///
/// It is [`ChunkMap`] in one call.
///
/// # Errors
///
/// As [`ChunkMap::run`].
pub fn map_chunks<'a>(
    registry: &'a Registry,
    array: Array,
    axis: usize,
    plan: &ChunkPlan,
    target: &'a str,
    options: Options<'a>,
    map: impl FnMut(Array) -> Result<Array>,
) -> Result<Mapped, Refused<Array>> {
    ChunkMap::new(registry, plan).along(axis).to(target).options(options).run(array, map)
}

/// Runs over an array chunk by chunk, so that no more than two chunks of it and two results are elsewhere at a
/// time.
///
/// Where the chunks are on a device, three are at work at a time: while the function works on a chunk, on the
/// caller's thread, a thread of its own uploads the next one, if they have to be, and another
/// downloads the last result to its place. So the memory holds at most the chunk that is worked on and
/// the next one, the result that is made and the last one; a function that returns the chunk itself
/// makes it three chunks. In a [budget](Self::within), a chunk has its room until its result has been
/// written: with room for three chunks all three work, with room for two the next chunk waits for the
/// last result, and with room for one all is done one after the other. So it is where the device itself
/// has no memory for a chunk more.
///
/// Elsewhere chunks share the memory of the array, read-only, where the target can take such a part, and all is
/// done on the caller's thread.
///
/// ```
/// # use bridge_core::{Array, ManagedTensor, Registration, Registry};
/// use bridge_memory::chunk::{ChunkMap, ChunkPlan};
/// # let registry = Registry::new([Registration::host_tools(&bridge_host::HostKernels)]);
///
/// let array = Array::new(ManagedTensor::from_vec(vec![1_i32, 2, 3, 4, 5], &[5])?);
/// let plan = ChunkPlan::of_size(5, 2)?;
/// let mapped = ChunkMap::new(&registry, &plan).run(array, |chunk| {
///     let chunk = chunk.downcast::<ManagedTensor>()?;
///     let doubled: Vec<_> = chunk.as_slice::<i32>()?.iter().map(|n| n * 2).collect();
///     Ok(Array::new(ManagedTensor::from_vec(doubled, chunk.shape())?))
/// })?;
/// assert_eq!(mapped.result.as_slice::<i32>()?, [2, 4, 6, 8, 10]);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct ChunkMap<'a> {
    source: ChunkSource<'a>,
    pool: Option<&'a Pool>,
    overlapped: bool,
    told: Option<Told<'a>>,
}

/// Who is told what is done.
type Told<'a> = Box<dyn FnMut(&Progress) + 'a>;

/// What a [`ChunkMap`] made.
#[derive(Debug)]
pub struct Mapped {
    /// What the function returned, put together: row-major, in host memory.
    pub result: ManagedTensor,
    /// The array; where the function kept a chunk of it, as a read-only tensor.
    pub array: Array,
    /// The room that the result has in a budget, where one was asked: to be kept as long as it.
    pub room: Option<Permit>,
}

impl<'a> ChunkMap<'a> {
    /// Chunks along the first axis, which stay where the array is, as [`ManagedTensor`]s.
    pub fn new(registry: &'a Registry, plan: &ChunkPlan) -> Self {
        let (target, options, consumer) = (None, Options::default(), None);
        let source = ChunkSource { registry, plan: *plan, axis: 0, target, options, consumer };
        Self { source, pool: None, overlapped: true, told: None }
    }

    /// Divides another axis.
    #[must_use]
    pub fn along(mut self, axis: usize) -> Self {
        self.source.axis = axis;
        self
    }

    /// Converts each chunk to the backend of this name.
    #[must_use]
    pub fn to(mut self, target: &'a str) -> Self {
        self.source.target = Some(target);
        self
    }

    /// How each chunk is converted: to which device, within which budget. The budget is asked for the
    /// result too. Chunks have room there while they are converted only; see [`within`](Self::within).
    #[must_use]
    pub fn options(mut self, options: Options<'a>) -> Self {
        self.source.options = options;
        self
    }

    /// Reserves in a budget: for each chunk, as long as the function works on it, and for the result,
    /// whose room is [handed over](Mapped::room) with it. It is asked instead of the budget of the
    /// options.
    #[must_use]
    pub fn within(mut self, consumer: &'a Consumer) -> Self {
        self.source.consumer = Some(consumer);
        self
    }

    /// Takes the result's memory from a pool, where it goes back to when the result is dropped; so, unless the
    /// options name [another](Options::pool), what the chunks and their results take on their way.
    #[must_use]
    pub fn pool(mut self, pool: &'a Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Does all on this thread, one after the other: a chunk is uploaded when the result of the one before
    /// has been written.
    #[must_use]
    pub fn one_at_a_time(mut self) -> Self {
        self.overlapped = false;
        self
    }

    /// Calls `told`, on the caller's thread, once for each chunk whose result has been written, with what is
    /// done. Where results are written by another thread, that is after the function was called with
    /// the next chunk, or later.
    #[must_use]
    pub fn on_progress(mut self, told: impl FnMut(&Progress) + 'a) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// Calls `map` with each chunk, in order, on this thread, and puts together what it returns. That
    /// has as many items along the axis as the chunk; the other axes and the element type are the
    /// same for all chunks.
    ///
    /// # Errors
    ///
    /// [`TensorError::InvalidArgument`](bridge_core::TensorError::InvalidArgument) where there is no
    /// such axis, the plan is for another number of items, or `map` returns another number than it was
    /// given, [`Error::Mismatch`](bridge_core::Error::Mismatch) where else what it returns differs, what `map` returns itself, as
    /// [`ConvertByName::convert`](bridge_convert::ConvertByName::convert), and out of memory. The error of the earliest chunk ends the run, and
    /// the array comes back; where `map` kept a chunk, as a read-only tensor. Of a result that cannot be
    /// written, `map` may have been called with the next chunk already, and is with none after.
    pub fn run(
        mut self,
        array: Array,
        mut map: impl FnMut(Array) -> Result<Array>,
    ) -> Result<Mapped, Refused<Array>> {
        let native = array.native_type();
        let whole = array.export()?.into_shared();
        let told = self.told.take();
        match self.result(&whole, &mut map, told) {
            Ok((result, room)) => Ok(Mapped { result, array: restored(whole, native), room }),
            Err(error) => Err(Refused::new(restored(whole, native), error)),
        }
    }

    fn result(
        &self,
        whole: &SharedTensor,
        map: &mut Map<'_>,
        mut told: Option<Told<'a>>,
    ) -> Result<(ManagedTensor, Option<Permit>)> {
        let mut source = self.source;
        if let (None, Some(pool)) = (source.options.memory_source(), self.pool) {
            source.options = source.options.pool(pool);
        }
        let plan = source.plan;
        source.check(whole)?;
        let mut result = ChunkResult::new(source.registry, source.axis, &plan, self.pool)
            .within(source.admission());
        let mut progress = Progress::new(plan.items() as u64);
        let mut done = |index| {
            progress.advance(plan.range(index).map_or(0, |range| range.len() as u64));
            if let Some(told) = &mut told {
                told(&progress);
            }
        };
        let first = source.chunk(whole, 0)?;
        let device = first.array.describe()?.device;
        if self.overlapped && plan.is_chunked() && !device.kind().is_host_accessible() {
            let brings = device != whole.device();
            Overlap { source, whole, brings }.run(first, map, &mut result, &mut done)?;
        } else {
            let mut next = Some(first);
            for index in 0..plan.count() {
                let chunk = match next.take() {
                    Some(first) => first,
                    None => source.chunk(whole, index)?,
                };
                result.write(index, &map(chunk.array)?.export()?)?;
                drop(chunk.room);
                done(index);
            }
        }
        result.finish()
    }
}

/// The array again; where somebody kept a chunk, which is read-only, a read-only tensor of it.
fn restored(whole: SharedTensor, native: &'static NativeType) -> Array {
    match whole.try_unwrap() {
        Ok(tensor) => Array::restored(tensor, native),
        Err(shared) => Array::new(ManagedTensor::alias(&shared)),
    }
}

impl fmt::Debug for ChunkMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkMap")
            .field("plan", &self.source.plan)
            .field("axis", &self.source.axis)
            .field("target", &self.source.target)
            .finish_non_exhaustive()
    }
}
