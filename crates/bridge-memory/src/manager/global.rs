//! The manager that all of the program shares.

use std::sync::OnceLock;

use bridge_core::Result;

use super::memory_manager::MemoryManager;
use super::stats::MemoryStats;
use crate::pool::Released;

/// The manager that all of the program shares, made with the defaults by the first call.
pub fn get_memory_manager() -> &'static MemoryManager {
    static GLOBAL: OnceLock<MemoryManager> = OnceLock::new();
    GLOBAL.get_or_init(MemoryManager::new)
}

/// [Clears the pool](MemoryManager::clear_pool) of the shared manager.
pub fn clear_memory_pool() -> Released {
    get_memory_manager().clear_pool()
}

/// The [numbers](MemoryManager::get_memory_stats) of the shared manager.
///
/// # Errors
///
/// As [`MemoryManager::get_memory_stats`].
pub fn get_memory_stats() -> Result<MemoryStats> {
    get_memory_manager().get_memory_stats()
}
