//! Allocation and freeing, and what they count for.

use crate::interface::violation::ViolationKind;

use super::code::{Code, Outcome};
use super::handle::{ContextId, PoolId, StreamId};
use super::memory::{Block, Kind, Life};
use super::scheduler::Queued;
use super::simulation::Simulation;
use super::work::Work;

/// Device memory is given out in multiples of this.
const GRANULE: u64 = 512;

impl Simulation {
    /// Bytes of a device that nobody has.
    pub(crate) fn available(&self, device: usize) -> u64 {
        let pools = self.pools.values().filter(|pool| pool.device == device);
        let reserved: u64 = pools.map(|pool| pool.reserved).sum();
        self.config.memory.saturating_sub(self.devices[device].used).saturating_sub(reserved)
    }

    /// Memory of a device, from a pool or outside of pools.
    pub(crate) fn allocate_device(
        &mut self,
        context: ContextId,
        device: usize,
        pool: Option<PoolId>,
        bytes: u64,
    ) -> Outcome<u64> {
        if bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        self.faults.allocation()?;
        let charged = bytes.checked_next_multiple_of(GRANULE).ok_or(Code::OUT_OF_MEMORY)?;
        self.make_room(device, pool, charged)?;
        let (start, storage) =
            self.memory().place_on_device(device, bytes).ok_or(Code::OUT_OF_MEMORY)?;
        match pool.and_then(|pool| self.pools.get_mut(&pool)) {
            Some(pool) => {
                pool.charge(charged);
                self.counters.pool_allocations += 1;
            }
            None => self.devices[device].used += charged,
        }
        self.counters.allocations += 1;
        let block = self.block(start, bytes, Kind::Device, context);
        self.memory().insert(Block { device, pool, charged, storage: Some(storage), ..block });
        Ok(start)
    }

    /// Makes sure that the bytes are there: gives back what pools keep, then waits for queued frees.
    fn make_room(&mut self, device: usize, pool: Option<PoolId>, bytes: u64) -> Outcome {
        let fits = |this: &Self| {
            let kept = pool.and_then(|pool| this.pools.get(&pool));
            let kept = kept.map_or(0, |pool| pool.reserved - pool.used);
            bytes <= this.available(device).saturating_add(kept)
        };
        if !fits(self) {
            self.pools_of(device).for_each(|pool| pool.trim(0));
        }
        if !fits(self) {
            self.drain_where(|stream| stream.device == device);
            self.pools_of(device).for_each(|pool| pool.trim(0));
        }
        if fits(self) { Ok(()) } else { Err(Code::OUT_OF_MEMORY) }
    }

    /// Stream-ordered memory: it is there when the stream has come so far.
    pub(crate) fn allocate_async(
        &mut self,
        stream: StreamId,
        pool: Option<PoolId>,
        bytes: u64,
    ) -> Outcome<u64> {
        if !self.config.memory_pools {
            return Err(Code::NOT_SUPPORTED);
        }
        let (context, device) = (self.streams[&stream].context, self.streams[&stream].device);
        let pool = pool.unwrap_or(self.devices[device].current_pool);
        let device = self.pools.get(&pool).map_or(device, |pool| pool.device);
        let start = self.allocate_device(context, device, Some(pool), bytes)?;
        let birth = Queued { uses: vec![start], ..Queued::of(Work::Birth(start)) };
        self.enqueue(stream, birth);
        Ok(start)
    }

    /// Memory that host and devices share, or pinned memory.
    pub(crate) fn allocate_host(
        &mut self,
        context: ContextId,
        kind: Kind,
        bytes: u64,
    ) -> Outcome<u64> {
        if bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        if kind == Kind::Managed {
            self.faults.allocation()?;
            self.counters.allocations += 1;
        } else {
            self.faults.pinning()?;
            self.counters.pinnings += 1;
        }
        let start = self.memory().place_on_host(bytes).ok_or(Code::OUT_OF_MEMORY)?;
        let block = self.block(start, bytes, kind, context);
        self.memory().insert(block);
        Ok(start)
    }

    pub(crate) fn register(
        &mut self,
        context: ContextId,
        start: u64,
        bytes: u64,
        flags: u32,
    ) -> Outcome {
        if start == 0 || bytes == 0 || start.checked_add(bytes).is_none() {
            return Err(Code::INVALID_VALUE);
        }
        if self.memory().overlapping(start, bytes).is_some() {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
        }
        self.faults.pinning()?;
        self.counters.pinnings += 1;
        let block = self.block(start, bytes, Kind::Registered { flags }, context);
        self.memory().insert(block);
        Ok(())
    }

    fn block(&mut self, start: u64, bytes: u64, kind: Kind, context: ContextId) -> Block {
        Block {
            start,
            bytes,
            kind,
            device: self.device_of(context),
            context,
            pool: None,
            charged: 0,
            storage: None,
            life: Life::Alive,
            sequence: self.number(),
            touches: Vec::new(),
            pending: 0,
            writes: 0,
        }
    }

    /// The block that a free means: it has to begin at the address and be alive.
    fn block_to_free(
        &mut self,
        start: u64,
        fits: impl Fn(Kind) -> bool,
    ) -> Outcome<(Life, u64, ContextId)> {
        let problem = match self.memory().find(start) {
            Some(block) if block.life != Life::Alive => {
                (ViolationKind::DoubleFree, format!("{} was freed before", block.describe()))
            }
            Some(block) if block.start == start && fits(block.kind) => {
                return Ok((block.life, block.pending, block.context));
            }
            Some(block) => (
                ViolationKind::UnknownPointer,
                format!("{start:#x} is in {}, which this call does not free", block.describe()),
            ),
            None => (ViolationKind::UnknownPointer, format!("nothing was allocated at {start:#x}")),
        };
        self.violation(problem.0, problem.1);
        Err(Code::INVALID_VALUE)
    }

    /// Frees device or managed memory, after all work of its device.
    pub(crate) fn free(&mut self, start: u64) -> Outcome {
        let (_, _, context) =
            self.block_to_free(start, |kind| matches!(kind, Kind::Device | Kind::Managed))?;
        let device = self.memory().at(start).map_or(0, |block| block.device);
        self.drain_where(|stream| stream.device == device);
        self.end_block(start);
        self.healthy(context)
    }

    /// Frees device memory in the order of a stream.
    pub(crate) fn free_async(&mut self, start: u64, stream: StreamId) -> Outcome {
        let context = self.streams[&stream].context;
        self.block_to_free(start, |kind| matches!(kind, Kind::Device | Kind::Managed))?;
        self.enqueue(stream, Queued { uses: vec![start], ..Queued::of(Work::Free(start)) });
        let ticket = self.last_number();
        if let Some(block) = self.memory().at_mut(start) {
            block.life = Life::Freeing { ticket };
        }
        self.healthy(context)
    }

    /// Ends pinned memory; work that still uses it was not waited for.
    pub(crate) fn unpin(&mut self, start: u64, registered: bool) -> Outcome {
        let fits = |kind| match kind {
            Kind::Pinned { .. } => !registered,
            Kind::Registered { .. } => registered,
            Kind::Device | Kind::Managed => false,
        };
        let (_, pending, context) = match self.block_to_free(start, fits) {
            Err(_) if registered => return Err(Code::HOST_MEMORY_NOT_REGISTERED),
            other => other?,
        };
        if pending > 0 {
            let what = self.memory().at(start).map(Block::describe).unwrap_or_default();
            self.violation(
                ViolationKind::FreedWhileInUse,
                format!("{pending} queued operations use {what}"),
            );
            self.drain_where(|_| true);
        }
        self.end_block(start);
        self.healthy(context)
    }

    /// Ends a block, and gives back what it counted for.
    pub(crate) fn end_block(&mut self, start: u64) {
        let Some(block) = self.memory().at(start) else { return };
        if block.life == Life::Freed {
            return;
        }
        let (charged, device, pool) = (block.charged, block.device, block.pool);
        match pool {
            Some(pool) => {
                if let Some(pool) = self.pools.get_mut(&pool) {
                    pool.used -= charged;
                }
            }
            None => self.devices[device].used -= charged,
        }
        self.memory().bury(start);
    }
}
