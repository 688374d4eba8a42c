//! Copies: checked when they are called, carried out when their turn comes.

use crate::interface::violation::ViolationKind;

use super::access::report;
use super::code::{Code, Outcome};
use super::handle::StreamId;
use super::host_bytes::{check_sum, packed};
use super::mapping::address;
use super::memory::{Kind, Life};
use super::scheduler::Queued;
use super::simulation::Simulation;
use super::work::{Actor, Copy, Direction, End, Extent, Place, Work};

/// What a call says that one end of a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Host,
    Device,
    /// The driver finds it out.
    Any,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostWaits {
    /// The call comes back when the copy is done, unless it stays on the device.
    Unless,
    /// The call comes back at once where it can.
    No,
}

/// What one end of a copy is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    place: Place,
    /// The block's first address; `None` for pageable memory.
    pub(super) block: Option<u64>,
    /// The device whose memory it is.
    device: Option<usize>,
    managed: bool,
}

impl Side {
    fn is_pageable(self) -> bool {
        self.block.is_none()
    }

    fn is_on_device(self) -> bool {
        self.device.is_some() || self.managed
    }
}

impl Simulation {
    /// Checks a copy and queues it.
    pub(crate) fn copy(
        &mut self,
        stream: StreamId,
        (to, to_claim): (Place, Claim),
        (from, from_claim): (Place, Claim),
        extent: Extent,
        waits: HostWaits,
        between_devices: bool,
    ) -> Outcome {
        if extent.is_empty() {
            return Ok(());
        }
        let to = self.side(to, to_claim, extent)?;
        let from = self.side(from, from_claim, extent)?;
        let apart = matches!((to.device, from.device), (Some(a), Some(b)) if a != b);
        if apart && !between_devices {
            let device = self.streams[&stream].device;
            let reached = self.reaches(device, to.place.start, true)
                && self.reaches(device, from.place.start, false);
            if !reached {
                let message =
                    format!("device {device} has no access to both ends: use cuMemcpyPeer");
                self.violation(ViolationKind::WrongContext, message);
                return Err(Code::INVALID_VALUE);
            }
        }
        let fails = self.faults.copy()?;
        let direction = direction(to, from);
        let waits = match waits {
            HostWaits::Unless => !(to.is_on_device() && from.is_on_device()),
            HostWaits::No => to.is_pageable(),
        };
        let source = match from.block {
            Some(start) if !from.is_on_device() && !waits => {
                self.source_mark(start, from.place, extent)
            }
            _ => None,
        };
        if let (Some(start), false, false) = (to.block, to.is_on_device(), waits)
            && to.block != from.block
        {
            self.scribble(start, to.place, extent);
        }
        let from_end = match (from.is_pageable(), waits) {
            (false, _) => End::Known(from.place),
            (true, true) => End::Pageable(from.place),
            (true, false) => End::Staged(packed(from.place, extent)),
        };
        let to_end = if to.is_pageable() { End::Pageable(to.place) } else { End::Known(to.place) };
        let work = Work::Copy(Copy { to: to_end, from: from_end, extent, direction, source });
        let uses = [to.block, from.block].into_iter().flatten().collect();
        let delay = self.faults.copy_delay();
        self.enqueue(stream, Queued { uses, fails, delay, ..Queued::of(work) });
        if waits {
            let (context, done) = (self.streams[&stream].context, self.tail(stream));
            self.wait_for(&done);
            self.healthy(context)?;
        }
        Ok(())
    }

    /// Finds out what an end is, and that it is what the call says.
    pub(super) fn side(&mut self, place: Place, claim: Claim, extent: Extent) -> Outcome<Side> {
        let span = place.span(extent).ok_or(Code::INVALID_VALUE)?;
        if place.start == 0 || place.start.checked_add(span).is_none() {
            return Err(Code::INVALID_VALUE);
        }
        let (devices, _, end) = self.memory().addresses();
        let ours = (devices..end).contains(&place.start);
        if claim != Claim::Device && !ours && self.memory().find(place.start).is_none() {
            return Ok(Side { place, block: None, device: None, managed: false });
        }
        let block = self.known(place.start, span)?;
        let (start, kind, device) = (block.start, block.kind, block.device);
        if claim == Claim::Host && kind == Kind::Device {
            let message =
                format!("{:#x} is memory of device {device}, not of the host", place.start);
            self.violation(ViolationKind::UnknownPointer, message);
            return Err(Code::INVALID_VALUE);
        }
        let device = (kind == Kind::Device).then_some(device);
        Ok(Side { place, block: Some(start), device, managed: kind == Kind::Managed })
    }

    /// What the source holds at the call, where only the host could change it before the copy runs.
    fn source_mark(&mut self, block: u64, place: Place, extent: Extent) -> Option<(u64, u64)> {
        let block = self.memory().at(block)?;
        (block.pending == 0).then(|| (check_sum(place, extent), block.writes))
    }

    /// Spoils a pinned target that nothing else uses, so that whoever reads it too early notices.
    fn scribble(&mut self, block: u64, place: Place, extent: Extent) {
        let Some(block) = self.memory().at(block) else { return };
        if block.pending == 0 {
            for (start, bytes) in place.ranges(extent) {
                // SAFETY: `side` checked that the range is in this block, which is alive and the host's; its contents are undefined until the copy is done.
                unsafe { block.host(start).write_bytes(0xdb, bytes as usize) };
            }
        }
    }

    pub(crate) fn run_copy(&mut self, actor: &Actor, copy: Copy) -> Outcome {
        let Copy { to, from, extent, direction, source } = copy;
        if let (Some((sum, writes)), End::Known(place)) = (source, &from) {
            let block = self.memory().find(place.start);
            let ours =
                block.is_some_and(|block| block.life != Life::Freed && block.writes == writes);
            if ours && check_sum(*place, extent) != sum {
                report(
                    ViolationKind::HostWroteToBusyMemory,
                    actor,
                    "reads pinned memory that the host has changed since the call",
                );
            }
        }
        let (from_start, from_row, from_plane) = self.reach(actor, &from, extent, false)?;
        let (to_start, to_row, to_plane) = self.reach(actor, &to, extent, true)?;
        for z in 0..extent.depth {
            for y in 0..extent.height {
                let source = from_start.wrapping_add((z * from_plane + y * from_row) as usize);
                let target = to_start.wrapping_add((z * to_plane + y * to_row) as usize);
                // SAFETY: `reach` checked that both boxes lie in memory that is alive; pageable memory is the caller's, who promised it for the call and is still in it, or our own copy.
                unsafe { target.copy_from(source, extent.width as usize) };
            }
        }
        let bytes = extent.bytes().unwrap_or(u64::MAX);
        self.time += bytes / 10;
        self.count(direction, bytes);
        Ok(())
    }

    /// Where an end is in the host's memory, checked, with its strides.
    fn reach(
        &mut self,
        actor: &Actor,
        end: &End,
        extent: Extent,
        write: bool,
    ) -> Outcome<(*mut u8, u64, u64)> {
        match end {
            End::Known(place) => {
                let mut first = None;
                for (start, bytes) in place.ranges(extent) {
                    let reached = self.touch(actor, start, bytes, write)?;
                    first.get_or_insert(reached);
                }
                first.map(|start| (start, place.row, place.plane)).ok_or(Code::INVALID_VALUE)
            }
            End::Pageable(place) => Ok((address(place.start), place.row, place.plane)),
            End::Staged(bytes) => {
                let rows = extent.width * extent.height;
                Ok((bytes.as_ptr().cast_mut(), extent.width, rows))
            }
        }
    }

    fn count(&mut self, direction: Direction, bytes: u64) {
        let counters = &mut self.counters;
        let (copies, total) = match direction {
            Direction::Upload { pinned: true } => {
                (&mut counters.pinned_uploads, &mut counters.pinned_upload_bytes)
            }
            Direction::Upload { pinned: false } => {
                (&mut counters.pageable_uploads, &mut counters.pageable_upload_bytes)
            }
            Direction::Download { pinned: true } => {
                (&mut counters.pinned_downloads, &mut counters.pinned_download_bytes)
            }
            Direction::Download { pinned: false } => {
                (&mut counters.pageable_downloads, &mut counters.pageable_download_bytes)
            }
            Direction::Device => (&mut counters.device_copies, &mut counters.device_copy_bytes),
            Direction::Peer => (&mut counters.peer_copies, &mut counters.peer_copy_bytes),
            Direction::Host => {
                counters.host_copies += 1;
                return;
            }
        };
        *copies += 1;
        *total += bytes;
    }
}

fn direction(to: Side, from: Side) -> Direction {
    match (to.is_on_device(), from.is_on_device()) {
        (true, false) => Direction::Upload { pinned: !from.is_pageable() },
        (false, true) => Direction::Download { pinned: !to.is_pageable() },
        (false, false) => Direction::Host,
        (true, true) => match (to.device, from.device) {
            (Some(a), Some(b)) if a != b => Direction::Peer,
            _ => Direction::Device,
        },
    }
}
