//! Checks every access to memory: is it there, may it be touched from here, and is it ordered.

use crate::interface::violation::ViolationKind;

use super::code::{Code, Outcome};
use super::memory::{Block, Kind, Life, Touch};
use super::pools::Access;
use super::simulation::Simulation;
use super::work::Actor;

/// How many accesses a block remembers before those that nothing can race with are forgotten.
const REMEMBERED: usize = 256;

impl Simulation {
    /// The block that a whole range lies in, at the time of a call.
    pub(crate) fn known(&mut self, start: u64, bytes: u64) -> Outcome<&Block> {
        let problem = match self.memory().find(start) {
            None => Some((
                ViolationKind::UnknownPointer,
                format!("the driver does not know the memory at {start:#x}"),
            )),
            Some(block) if block.life != Life::Alive => Some((
                ViolationKind::UseAfterFree,
                format!("{start:#x} is in {}, which was freed", block.describe()),
            )),
            Some(block) if bytes > block.end() - start => Some((
                ViolationKind::OutOfBounds,
                format!("{bytes} bytes at {start:#x} reach beyond {}", block.describe()),
            )),
            Some(_) => None,
        };
        if let Some((kind, message)) = problem {
            self.violation(kind, message);
            return Err(Code::INVALID_VALUE);
        }
        self.memory().find(start).ok_or(Code::INVALID_VALUE)
    }

    /// An access by an operation that runs: checks it, remembers it, and gives the place in host memory.
    pub(crate) fn touch(
        &mut self,
        actor: &Actor,
        start: u64,
        bytes: u64,
        write: bool,
    ) -> Outcome<*mut u8> {
        let Some(block) = self.memory().find(start) else {
            return Err(report(
                ViolationKind::UnknownPointer,
                actor,
                &format!("touches {start:#x}, which the driver does not know"),
            ));
        };
        let what = block.describe();
        let too_late = matches!(block.life, Life::Freeing { ticket } if ticket < actor.ticket);
        if too_late || block.life == Life::Freed {
            return Err(report(
                ViolationKind::UseAfterFree,
                actor,
                &format!("touches {what}, which was freed"),
            ));
        }
        if bytes > block.end() - start {
            return Err(report(
                ViolationKind::OutOfBounds,
                actor,
                &format!("touches {bytes} bytes at {start:#x}, beyond {what}"),
            ));
        }
        let to = start + bytes;
        let clash = block.touches.iter().find(|touch| {
            (write || touch.write)
                && touch.from < to
                && start < touch.to
                && touch.stream != actor.stream
                && actor.clock.of(touch.stream) < touch.number
        });
        if let Some(clash) = clash {
            let (verb, other) = (
                if write { "writes" } else { "reads" },
                if clash.write { "written" } else { "read" },
            );
            report(
                ViolationKind::Race,
                actor,
                &format!(
                    "{verb} {what}, and nothing orders it after {} of stream {:#x}, by which it was {other}",
                    clash.label,
                    clash.stream.to_raw()
                ),
            );
        }
        self.remember(actor, start, to, write)
    }

    /// Refuses memory that a device has no access to. Copies by `cuMemcpyPeer` and to the host need none.
    pub(crate) fn reach_from(
        &mut self,
        actor: &Actor,
        start: u64,
        verb: &str,
        write: bool,
    ) -> Outcome {
        if self.reaches(actor.device, start, write) {
            return Ok(());
        }
        let what = self.memory().find(start).map(Block::describe).unwrap_or_default();
        let message = format!("{verb} {what} without access to it");
        Err(report(ViolationKind::WrongContext, actor, &message))
    }

    /// Whether a device has access to memory: its own, that of a pool that allows it, or other memory of a device
    /// whose access was enabled. What nobody knows is for other checks.
    pub(crate) fn reaches(&mut self, device: usize, start: u64, write: bool) -> bool {
        let block = self.memory().find(start).filter(|block| block.kind == Kind::Device);
        let Some((owner, pool)) = block.map(|block| (block.device, block.pool)) else {
            return true;
        };
        let needed = if write { Access::ReadWrite } else { Access::Read };
        match pool.and_then(|pool| self.pools.get(&pool)) {
            Some(pool) => pool.access_of(device) >= needed,
            None => owner == device || self.has_peer(device, owner),
        }
    }

    /// Whether a context of one device has enabled access to the other.
    fn has_peer(&self, from: usize, to: usize) -> bool {
        let mut contexts = self.contexts.values().filter(|context| context.device == from);
        contexts.any(|context| context.peers.iter().any(|peer| self.device_of(*peer) == to))
    }

    fn remember(&mut self, actor: &Actor, from: u64, to: u64, write: bool) -> Outcome<*mut u8> {
        let host = self.host.clone();
        let block = self.memory().find(from).map(|block| block.start);
        let Some(block) = block.and_then(|start| self.memory().at_mut(start)) else {
            return Err(Code::ILLEGAL_ADDRESS);
        };
        // What lies within this access and happened before it cannot race with anything that this access does not race with.
        block.touches.retain(|touch| {
            let covered = from <= touch.from && touch.to <= to && (write || !touch.write);
            !(covered
                && (touch.stream == actor.stream || actor.clock.of(touch.stream) >= touch.number))
        });
        if block.touches.len() > REMEMBERED && block.pending <= 1 {
            block.touches.retain(|touch| host.of(touch.stream) < touch.number);
        }
        let Actor { stream, number, ref label, .. } = *actor;
        block.touches.push(Touch { from, to, write, stream, number, label: label.clone() });
        block.writes += u64::from(write);
        Ok(block.host(from))
    }
}

/// Records what an operation did, and gives the error that breaks its context.
pub(crate) fn report(kind: ViolationKind, actor: &Actor, message: &str) -> Code {
    let Actor { label, stream, device, .. } = actor;
    super::violations::record(
        kind,
        format!("{label} of stream {:#x} on device {device} {message}", stream.to_raw()),
    );
    Code::ILLEGAL_ADDRESS
}
