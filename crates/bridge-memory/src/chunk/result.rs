//! What a function makes of the chunks, put together.

use bridge_core::{
    Admission, DataType, Device, DeviceBytes, Error, ManagedTensor, MemorySource, Overflow, Permit,
    Registry, Result, Runtime, Shape, SharedTensor, TensorSpec,
};

use super::plan::ChunkPlan;
use crate::arguments::invalid;
use crate::pool::Pool;

/// The results of all chunks, side by side along an axis, in host memory that is allocated when the
/// first one comes.
pub(super) struct ChunkResult<'a> {
    registry: &'a Registry,
    axis: usize,
    plan: ChunkPlan,
    pool: Option<&'a Pool>,
    admission: Option<&'a dyn Admission>,
    made: Option<Made>,
}

struct Made {
    whole: SharedTensor,
    /// What was admitted for it.
    room: Option<Permit>,
}

impl<'a> ChunkResult<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        axis: usize,
        plan: &ChunkPlan,
        pool: Option<&'a Pool>,
    ) -> Self {
        Self { registry, axis, plan: *plan, pool, admission: None, made: None }
    }

    /// Asks a budget for the memory.
    pub(super) fn within(self, admission: Option<&'a dyn Admission>) -> Self {
        Self { admission, ..self }
    }

    /// Copies the result of a chunk to its place.
    pub(super) fn write(&mut self, index: usize, part: &ManagedTensor) -> Result<()> {
        let range = self.plan.range(index).unwrap_or_default();
        if part.shape().get(self.axis) != Some(&range.len()) {
            let found = format!("{:?} for chunk {index}", part.shape());
            let expected = format!("axis {} must have {} items", self.axis, range.len());
            return Err(invalid("the shape that the function returned", &found, &expected));
        }
        let whole = match &self.made {
            Some(made) => &made.whole,
            None => {
                let made = self.make(part)?;
                &self.made.insert(made).whole
            }
        };
        if whole.data_type() != part.data_type() {
            let (expected, found) = (whole.data_type(), part.data_type());
            return Err(mismatch(index, "data type", expected.to_string(), found.to_string()));
        }
        // SAFETY: nothing else reaches the elements: the whole is given out when this part has
        // been dropped, and no other part lives.
        let mut place = unsafe { ManagedTensor::range_of(whole, self.axis, range) }?;
        if place.shape() != part.shape() {
            let (expected, found) = (place.shape(), part.shape());
            return Err(mismatch(index, "shape", format!("{expected:?}"), format!("{found:?}")));
        }
        let (device, data_type) = (part.device(), part.data_type());
        if device.kind().is_host_accessible() {
            return self.copy(part, &mut place);
        }
        let runtime = self.registry.runtime(device)?;
        // Bytes that become booleans are looked at on the way.
        let is_plain = data_type != DataType::BOOL && place.layout().is_row_major();
        if is_plain && runtime.writes(data_type, device, Device::CPU) {
            let _room = self.room_for_download(runtime, part, false)?;
            return runtime.write_to_host(part, place).map(drop);
        }
        let _room = self.room_for_download(runtime, part, true)?;
        let pool = self.pool.map(|pool| pool as &dyn MemorySource);
        let on_host = runtime.transfer_into(pool, data_type.alignment(), part, Device::CPU)?;
        self.copy(&on_host, &mut place)
    }

    /// Room for what a download takes: its result too, where that `is_new` memory.
    fn room_for_download(
        &self,
        runtime: &dyn Runtime,
        part: &ManagedTensor,
        is_new: bool,
    ) -> Result<Option<Permit>> {
        let Some(admission) = self.admission else { return Ok(None) };
        let (found, to) = (part.describe(), Device::CPU);
        let mut peaks = runtime.working_memory(&found, found.data_type, to, Overflow::Refuse);
        if is_new && !self.pool.is_some_and(Pool::is_budgeted) {
            let bytes = found.layout.compact_bytes(found.data_type)? as u64;
            peaks.push(DeviceBytes { device: to, bytes });
        }
        (!peaks.is_empty()).then(|| admission.admit(&peaks)).transpose()
    }

    /// A copy on the host, with room for the buffers that it takes.
    fn copy(&self, part: &ManagedTensor, place: &mut ManagedTensor) -> Result<()> {
        let tools = self.registry.host_tools()?;
        let ends = [part, &*place].map(|one| (one.data_type(), one.layout()));
        let room =
            self.admission.map(|admission| (admission, tools.working_memory(ends[0], ends[1])));
        let _room = match room {
            Some((admission, bytes @ 1..)) => {
                Some(admission.admit(&[DeviceBytes { device: Device::CPU, bytes }])?)
            }
            _ => None,
        };
        tools.copy(part, place)
    }

    /// Memory for results like this one.
    fn make(&self, part: &ManagedTensor) -> Result<Made> {
        let mut shape = Shape::from_slice(part.shape());
        shape[self.axis] = self.plan.items();
        let spec = TensorSpec::row_major(part.data_type(), &shape)?;
        let bytes = spec.layout.compact_bytes(spec.data_type)?;
        let peaks = [DeviceBytes { device: Device::CPU, bytes: bytes as u64 }];
        // A pool with a budget asks it itself.
        let asked = self.admission.filter(|_| !self.pool.is_some_and(Pool::is_budgeted));
        let room = asked.map(|admission| admission.admit(&peaks)).transpose()?;
        let whole = match self.pool {
            Some(pool) => pool.zeroed::<u8>(bytes)?.into_tensor_as(spec)?,
            None => bridge_host::zeroed(&spec, spec.data_type.alignment())?,
        };
        Ok(Made { whole: whole.into_shared(), room })
    }

    /// The whole, of which every chunk has been written, and the room it has in a budget.
    pub(super) fn finish(self) -> Result<(ManagedTensor, Option<Permit>)> {
        let no_chunks = || invalid("the number of chunks", &0, "one or more");
        let Made { whole, room } = self.made.ok_or_else(no_chunks)?;
        let whole = whole.try_unwrap().unwrap_or_else(|_| unreachable!("every part was dropped"));
        Ok((whole, room))
    }
}

fn mismatch(index: usize, what: &'static str, expected: String, found: String) -> Error {
    let remedy = match what {
        "shape" => "the function must return one shape for all chunks, but for the axis",
        _ => "the function must return one element type for all chunks",
    };
    Error::Mismatch { index, what, expected, found, remedy }
}
