//! The room that a pool's memory has in a budget.

use std::fmt;
use std::sync::Weak;

use bridge_core::{Admission, Device, DeviceBytes, Permit, Result};

use super::stats::Released;
use super::store::{Kept, Store};
use crate::budget::{Budget, Consumer, Hook, Shortage};
use crate::recovery::{ReleaseHook, on_release};

/// Memory, and the room that it has in a budget as long as it is not freed, in use or not.
#[derive(Debug)]
pub(super) struct Block<M> {
    /// Freed before its room is given back.
    pub memory: M,
    _room: Option<Permit>,
}

impl<M> Block<M> {
    pub(super) fn new(memory: M, room: Option<Permit>) -> Self {
        Self { memory, _room: room }
    }
}

/// Who has a pool's blocks that are in no use.
pub(super) trait Keeper: Send + Sync + 'static {
    type Block: Send + 'static;

    fn store(&self) -> &Store<Self::Block>;
}

/// In which budget a pool reserves, and under which name.
#[derive(Debug, Clone)]
pub(super) struct Room {
    budget: Budget,
    consumer: Consumer,
}

impl Room {
    pub(super) fn new(budget: &Budget, name: &str) -> Self {
        Self { budget: budget.clone(), consumer: budget.consumer(name) }
    }

    /// Reserves room for a new block. What is kept and in no use is freed for it where there is none.
    pub(super) fn reserve<B>(
        &self,
        device: Device,
        size: usize,
        kept: &Store<B>,
    ) -> Result<Permit> {
        let peaks = [DeviceBytes { device, bytes: size as u64 }];
        loop {
            let refused = match self.consumer.admit(&peaks) {
                Ok(permit) => return Ok(permit),
                Err(refused) => refused,
            };
            // The budget has asked already, but others may have been faster to take what that gave.
            let passes = Shortage::of(&refused).is_some_and(Shortage::is_passing);
            if !passes || kept.release(|_, released| released.bytes < size as u64).count == 0 {
                return Err(refused);
            }
        }
    }

    /// As [`reserve`](Self::reserve), for a block of `size` bytes of which `bytes` were asked for; where there
    /// is no room for the whole, for those alone. Returns how large the block may be.
    pub(super) fn reserve_class<B>(
        &self,
        device: Device,
        (size, bytes): (usize, usize),
        kept: &Store<B>,
    ) -> Result<(Permit, usize)> {
        match self.reserve(device, size, kept) {
            Ok(permit) => Ok((permit, size)),
            Err(refused) if size > bytes && Shortage::of(&refused).is_some() => {
                Ok((self.reserve(device, bytes, kept)?, bytes))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Lets the budget free what is kept and in no use, as long as the keeper and the hook live.
    pub(super) fn relieved_by<K: Keeper>(&self, keeper: Weak<K>) -> Hook {
        self.budget.on_pressure(self.consumer.name(), move |missing| {
            let few = |_: Kept, released: Released| released.bytes < missing;
            keeper.upgrade().map_or(0, |keeper| keeper.store().release(few).bytes)
        })
    }
}

/// The two of a pool that has a budget.
pub(super) struct Budgeted {
    pub room: Room,
    /// None where the budget counts no memory of the pool's device: it has nothing of what is freed.
    hook: Option<Hook>,
}

impl Budgeted {
    pub(super) fn new<K: Keeper>(room: Room, keeper: &Weak<K>, device: Device) -> Self {
        let counts = room.budget.counts(device);
        let hook = counts.then(|| room.relieved_by(Weak::clone(keeper)));
        Self { room, hook }
    }

    /// Whether the budget counts the pool's memory.
    pub(super) fn counts(&self) -> bool {
        self.hook.is_some()
    }
}

/// Has what is kept and in no use freed when the caches of the device are released, as long as the keeper and
/// the hook live.
pub(super) fn released_by<K: Keeper>(
    keeper: Weak<K>,
    room: Option<&Room>,
    device: Device,
) -> ReleaseHook {
    let name = room.map_or("pool", |room| room.consumer.name());
    on_release(name, device, move || {
        keeper.upgrade().map_or(0, |keeper| keeper.store().release(|_, _| true).bytes)
    })
}

impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.room.fmt(f)
    }
}
