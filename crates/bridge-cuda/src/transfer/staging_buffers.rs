//! The staging buffers of one copy: two, so that the CPU fills or empties one while the device copies
//! the other.

use std::collections::VecDeque;

use bridge_core::{DataType, Result};
use cudarc::driver::CudaStream;

use crate::gpu::Opened;
use crate::streams::home::wait_for;
use crate::transfer::staging::Staging;

/// Bytes of a piece of a large copy: long enough that the bus is busy, short enough that packing
/// the first one does not keep it waiting.
pub(crate) fn chunk_for(bytes: usize) -> usize {
    (bytes / 8).next_power_of_two().clamp(1 << 20, 16 << 20)
}

/// Bytes of the largest piece: an element of many lanes may be more than a chunk.
pub(crate) fn piece_bytes(data_type: DataType, chunk: usize, bytes: usize) -> usize {
    chunk.min(bytes).max(data_type.size_in_bytes().unwrap_or(1))
}

/// The buffers of one copy, used in turns. There is only one where other threads have the rest.
pub(crate) struct Buffers {
    gpu: &'static Opened,
    bytes: usize,
    idle: VecDeque<Staging>,
    taken: usize,
}

impl Buffers {
    /// Buffers of `bytes`, those of the largest piece.
    pub(crate) fn new(gpu: &'static Opened, bytes: usize) -> Result<Self> {
        let first = Staging::take(gpu, bytes)?;
        Ok(Self { gpu, bytes, idle: VecDeque::from([first]), taken: 1 })
    }

    /// A buffer that no device uses, where there is one without waiting: threads that hold a buffer and
    /// wait for each other would deadlock.
    pub(crate) fn at_once(&mut self) -> Option<Staging> {
        if self.idle.front().is_some_and(|buffer| !buffer.is_used()) {
            return self.idle.pop_front();
        }
        if self.taken < 2
            && let Ok(Some(second)) = Staging::try_take(self.gpu, self.bytes)
        {
            self.taken += 1;
            return Some(second);
        }
        None
    }

    /// A buffer that no device uses; where both are in use, the one that was given back first, once
    /// the device is done with it.
    pub(crate) fn next(&mut self) -> Result<Staging> {
        if let Some(buffer) = self.at_once() {
            return Ok(buffer);
        }
        match self.idle.pop_front() {
            Some(mut buffer) => {
                buffer.wait()?;
                Ok(buffer)
            }
            None => unreachable!("each copy gives a buffer back before it asks for the next"),
        }
    }

    /// Gives a buffer back for later pieces.
    pub(crate) fn give(&mut self, buffer: Staging) {
        self.idle.push_back(buffer);
    }
}

/// Notes that the device uses the buffer until what was just submitted to `stream` is done. Where that
/// cannot be noted, or not all was submitted, waits for what was.
pub(crate) fn buffer_used(
    gpu: &'static Opened,
    stream: &CudaStream,
    buffer: &mut Staging,
    given: Result<()>,
) -> Result<()> {
    // SAFETY: the stream is the GPU's.
    let noted = given.and_then(|()| unsafe { gpu.events.record(stream.cu_stream()) });
    match noted {
        Ok(event) => {
            buffer.used_until(event);
            Ok(())
        }
        Err(error) => {
            let _ = wait_for(gpu, stream);
            Err(error)
        }
    }
}
