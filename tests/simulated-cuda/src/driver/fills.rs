//! Memory sets: checked when they are called, carried out when their turn comes.

use super::code::{Code, Outcome};
use super::copies::Claim;
use super::handle::StreamId;
use super::scheduler::Queued;
use super::simulation::Simulation;
use super::work::{Actor, Extent, Fill, Place, Work};

impl Simulation {
    /// Checks a fill and queues it.
    pub(crate) fn fill(
        &mut self,
        stream: StreamId,
        to: Place,
        extent: Extent,
        pattern: Vec<u8>,
    ) -> Outcome {
        if extent.is_empty() {
            return Ok(());
        }
        if !to.start.is_multiple_of(pattern.len() as u64) {
            return Err(Code::INVALID_VALUE);
        }
        let side = self.side(to, Claim::Device, extent)?;
        let fails = self.faults.copy()?;
        let work = Work::Fill(Fill { to, extent, pattern });
        let uses = side.block.into_iter().collect();
        self.enqueue(stream, Queued { uses, fails, ..Queued::of(work) });
        Ok(())
    }

    pub(crate) fn run_fill(&mut self, actor: &Actor, fill: &Fill) -> Outcome {
        let Fill { to, extent, ref pattern } = *fill;
        self.reach_from(actor, to.start, "sets", true)?;
        for (start, bytes) in to.ranges(extent) {
            let target = self.touch(actor, start, bytes, true)?;
            // SAFETY: `touch` checked that so many bytes are there; nothing else runs now.
            let target = unsafe { std::slice::from_raw_parts_mut(target, bytes as usize) };
            target
                .chunks_mut(pattern.len())
                .for_each(|chunk| chunk.copy_from_slice(&pattern[..chunk.len()]));
        }
        self.time += extent.bytes().unwrap_or(0) / 100;
        self.counters.fills += 1;
        Ok(())
    }
}
