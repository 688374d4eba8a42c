//! Streams.

use std::ffi::{c_int, c_void};

use super::super::arguments::Out;
use super::super::code::{Code, Outcome};
use super::super::handle::StreamId;
use super::super::scheduler::Queued;
use super::super::simulation::{Origin, Simulation};
use super::super::work::Work;

export! {
    fn cuStreamCreate(cuda, stream: Out<usize>, flags: u32) {
        create(cuda, &stream, flags, 0)
    }

    fn cuStreamCreateWithPriority(cuda, stream: Out<usize>, flags: u32, priority: c_int) {
        create(cuda, &stream, flags, priority.clamp(-5, 0))
    }

    fn cuStreamDestroy_v2(cuda, stream: usize) {
        if stream <= 2 {
            return Err(Code::INVALID_HANDLE);
        }
        let id = cuda.stream_or_broken(stream)?;
        let context = cuda.streams[&id].context;
        let idle = cuda.streams[&id].queue.is_empty();
        if idle {
            cuda.streams.remove(&id);
        } else if let Some(stream) = cuda.streams.get_mut(&id) {
            stream.origin = Origin::Destroyed; // its work still runs
        }
        cuda.healthy(context)
    }

    fn cuStreamSynchronize(cuda, stream: usize) {
        let id = cuda.stream(stream)?;
        let (context, clock) = (cuda.streams[&id].context, cuda.tail(id));
        cuda.synchronize(context, &clock)
    }

    fn cuStreamQuery(cuda, stream: usize) {
        let id = cuda.stream(stream)?;
        cuda.let_time_pass();
        let (context, clock) = (cuda.streams[&id].context, cuda.tail(id));
        cuda.healthy(context)?;
        if !cuda.has_happened(&clock) {
            return Err(Code::NOT_READY);
        }
        cuda.host.join(&clock);
        Ok(())
    }

    fn cuStreamWaitEvent(cuda, stream: usize, event: usize, flags: u32) {
        if flags > 1 {
            return Err(Code::INVALID_VALUE);
        }
        let (stream, event) = (cuda.stream(stream)?, cuda.event(event)?);
        cuda.counters.event_waits += 1;
        if let Some(record) = cuda.events[&event].record.clone() {
            cuda.enqueue(stream, Queued { after: Some(record.clock), ..Queued::of(Work::Nothing) });
        }
        Ok(())
    }

    fn cuStreamGetCtx(cuda, stream: usize, context: Out<usize>) {
        let id = cuda.stream(stream)?;
        context.set(cuda.streams[&id].context.to_raw())
    }

    fn cuStreamGetDevice(cuda, stream: usize, device: Out<c_int>) {
        let id = cuda.stream(stream)?;
        device.set(cuda.streams[&id].device as c_int)
    }

    fn cuStreamGetId(cuda, stream: usize, number: Out<u64>) {
        let id = cuda.stream(stream)?;
        number.set(id.number())
    }

    fn cuStreamGetFlags(cuda, stream: usize, flags: Out<u32>) {
        let id = cuda.stream(stream)?;
        let non_blocking = matches!(cuda.streams[&id].origin, Origin::Created { non_blocking: true, .. });
        flags.set(u32::from(non_blocking))
    }

    fn cuStreamGetPriority(cuda, stream: usize, priority: Out<c_int>) {
        let id = cuda.stream(stream)?;
        priority.set(match cuda.streams[&id].origin {
            Origin::Created { priority, .. } => priority,
            _ => 0,
        })
    }

    fn cuStreamIsCapturing(cuda, stream: usize, status: Out<c_int>) {
        cuda.stream(stream)?;
        status.set(0)
    }

    fn cuStreamBeginCapture_v2(cuda, stream: usize, mode: c_int) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuStreamEndCapture(cuda, stream: usize, graph: Out<usize>) {
        Err(Code::NOT_SUPPORTED)
    }

    fn cuStreamAttachMemAsync(cuda, stream: usize, address: u64, bytes: usize, flags: u32) {
        let stream = cuda.stream(stream)?;
        cuda.known(address, bytes as u64)?;
        cuda.enqueue(stream, Queued::of(Work::Nothing));
        Ok(())
    }

    fn cuLaunchHostFunc(cuda, stream: usize, function: Option<unsafe extern "C" fn(*mut c_void)>, user: *mut c_void) {
        let stream = cuda.stream(stream)?;
        let function = function.ok_or(Code::INVALID_VALUE)?;
        let work = Work::HostFunction { function, user: user.expose_provenance() };
        cuda.enqueue(stream, Queued::of(work));
        Ok(())
    }
}

fn create(cuda: &mut Simulation, stream: &Out<usize>, flags: u32, priority: c_int) -> Outcome {
    let context = cuda.current()?;
    if stream.is_null() || flags > 1 {
        return Err(Code::INVALID_VALUE);
    }
    let origin = Origin::Created { non_blocking: flags == 1, priority };
    let device = cuda.device_of(context);
    let id: StreamId = cuda.new_stream(context, device, origin);
    stream.set(id.to_raw())
}
