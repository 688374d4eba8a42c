//! Events.

use super::super::arguments::Out;
use super::super::code::{Code, Outcome};
use super::super::handle::EventId;
use super::super::simulation::{Event, Simulation};

use crate::interface::violation::ViolationKind;

export! {
    fn cuEventCreate(cuda, event: Out<usize>, flags: u32) {
        let context = cuda.current()?;
        if event.is_null() || flags > 7 {
            return Err(Code::INVALID_VALUE);
        }
        let sequence = cuda.number();
        let id = EventId::numbered(sequence);
        cuda.events.insert(id, Event { context, timed: flags & 2 == 0, sequence, record: None });
        event.set(id.to_raw())
    }

    fn cuEventDestroy_v2(cuda, event: usize) {
        let id = cuda.event(event)?;
        let context = cuda.events[&id].context;
        cuda.events.remove(&id); // who waits for it has its clock
        cuda.healthy(context)
    }

    fn cuEventRecord(cuda, event: usize, stream: usize) {
        record(cuda, event, stream)
    }

    fn cuEventRecordWithFlags(cuda, event: usize, stream: usize, flags: u32) {
        record(cuda, event, stream)
    }

    fn cuEventQuery(cuda, event: usize) {
        let id = cuda.event(event)?;
        cuda.let_time_pass();
        cuda.healthy(cuda.events[&id].context)?;
        let Some(record) = cuda.events[&id].record.clone() else { return Ok(()) };
        if !cuda.has_happened(&record.clock) {
            return Err(Code::NOT_READY);
        }
        cuda.host.join(&record.clock);
        Ok(())
    }

    fn cuEventSynchronize(cuda, event: usize) {
        let id = cuda.event(event)?;
        let context = cuda.events[&id].context;
        cuda.healthy(context)?;
        let record = cuda.events[&id].record.clone();
        let clock = record.map(|record| record.clock).unwrap_or_default();
        cuda.synchronize(context, &clock)
    }

    fn cuEventElapsedTime(cuda, milliseconds: Out<f32>, start: usize, end: usize) {
        elapsed(cuda, &milliseconds, start, end)
    }

    fn cuEventElapsedTime_v2(cuda, milliseconds: Out<f32>, start: usize, end: usize) {
        elapsed(cuda, &milliseconds, start, end)
    }
}

fn record(cuda: &mut Simulation, event: usize, stream: usize) -> Outcome {
    let (event, stream) = (cuda.event(event)?, cuda.stream(stream)?);
    if cuda.events[&event].context != cuda.streams[&stream].context {
        let message = "the event and the stream are of different contexts";
        cuda.violation(ViolationKind::WrongContext, message);
        return Err(Code::INVALID_HANDLE);
    }
    cuda.record_event(event, stream);
    Ok(())
}

fn elapsed(cuda: &mut Simulation, milliseconds: &Out<f32>, start: usize, end: usize) -> Outcome {
    let times = [start, end].map(|event| {
        let event = &cuda.events[&cuda.event(event)?];
        let record = event.record.as_ref().filter(|_| event.timed).ok_or(Code::INVALID_HANDLE)?;
        record.time.ok_or(Code::NOT_READY)
    });
    let (start, end) = (times[0]?, times[1]?);
    milliseconds.set((end as f32 - start as f32) / 1e6)
}
