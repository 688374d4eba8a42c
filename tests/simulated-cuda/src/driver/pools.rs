//! Memory pools: what is in use, and what is kept for the next allocation.

use std::collections::BTreeMap;

use super::code::{Code, Outcome};
use super::handle::PoolId;
use super::simulation::Simulation;

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) device: usize,
    /// Bytes to keep when the host synchronizes.
    pub(crate) threshold: u64,
    pub(crate) used: u64,
    pub(crate) reserved: u64,
    pub(crate) used_high: u64,
    pub(crate) reserved_high: u64,
    /// The three switches for reuse; the simulation never reuses addresses, so it only keeps them.
    pub(crate) reuse: [u32; 3],
    /// What other devices may do with its memory.
    pub(crate) access: BTreeMap<usize, Access>,
}

/// What a device may do with the memory of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    #[default]
    None,
    Read,
    ReadWrite,
}

impl Pool {
    pub(crate) fn of(device: usize) -> Self {
        Self {
            device,
            threshold: 0,
            used: 0,
            reserved: 0,
            used_high: 0,
            reserved_high: 0,
            reuse: [1; 3],
            access: BTreeMap::new(),
        }
    }

    /// Gives back what is not in use, down to `keep` bytes.
    pub(crate) fn trim(&mut self, keep: u64) {
        self.reserved = self.reserved.min(self.used.max(keep));
    }

    pub(crate) fn access_of(&self, device: usize) -> Access {
        let own = if device == self.device { Access::ReadWrite } else { Access::None };
        self.access.get(&device).copied().unwrap_or(own)
    }

    pub(crate) fn charge(&mut self, bytes: u64) {
        self.used += bytes;
        self.reserved = self.reserved.max(self.used);
        self.used_high = self.used_high.max(self.used);
        self.reserved_high = self.reserved_high.max(self.reserved);
    }
}

impl Simulation {
    pub(crate) fn pool(&mut self, raw: usize) -> Outcome<PoolId> {
        let pool = PoolId::from_raw(raw).filter(|pool| self.pools.contains_key(pool));
        pool.ok_or_else(|| self.invalid_handle("a memory pool", raw))
    }

    pub(crate) fn pools_of(&mut self, device: usize) -> impl Iterator<Item = &mut Pool> {
        self.pools.values_mut().filter(move |pool| pool.device == device)
    }

    /// What pools do when the host synchronizes with a device.
    pub(crate) fn release_pooled(&mut self, device: usize) {
        self.pools_of(device).for_each(|pool| pool.trim(pool.threshold));
    }

    pub(crate) fn create_pool(&mut self, device: usize) -> Outcome<PoolId> {
        if !self.config.memory_pools {
            return Err(Code::NOT_SUPPORTED);
        }
        let id = PoolId::numbered(self.number());
        self.pools.insert(id, Pool::of(device));
        Ok(id)
    }

    /// Lets a device access the memory of a pool, or forbids it. A pool's own device cannot be shut out.
    pub(crate) fn set_access(&mut self, pool: PoolId, device: usize, access: Access) -> Outcome {
        let peers = self.config.peer_access;
        let Some(pool) = self.pools.get_mut(&pool) else { return Err(Code::INVALID_VALUE) };
        if device == pool.device && access != Access::ReadWrite {
            return Err(Code::INVALID_VALUE);
        }
        if device != pool.device && access != Access::None && !peers {
            return Err(Code::INVALID_DEVICE);
        }
        pool.access.insert(device, access);
        Ok(())
    }

    /// Ends a pool; one that is in use or a default cannot end.
    pub(crate) fn destroy_pool(&mut self, id: PoolId) -> Outcome {
        let Some(pool) = self.pools.get(&id) else { return Err(Code::INVALID_VALUE) };
        let device = &mut self.devices[pool.device];
        if device.default_pool == id || pool.used > 0 {
            return Err(Code::INVALID_VALUE);
        }
        if device.current_pool == id {
            device.current_pool = device.default_pool;
        }
        self.pools.remove(&id);
        Ok(())
    }
}
