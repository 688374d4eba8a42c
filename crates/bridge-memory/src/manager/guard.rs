//! Memory that a piece of work was promised.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::memory_manager::MemoryManager;
use crate::budget::Reservation;

/// Bytes that are reserved for a piece of work, until it is dropped: on any thread, also while it
/// panics. The manager then records by how much the process grew, and clears its pool where more of
/// the memory than the threshold is in use.
#[must_use = "dropping a guard gives its bytes back"]
pub struct MemoryGuard {
    pub(super) manager: MemoryManager,
    pub(super) reservation: Reservation,
    /// What the process had in memory when it began.
    pub(super) resident: u64,
}

impl MemoryGuard {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.reservation.bytes()
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        // The manager measures, by what may be the caller's own probe: a panic in it must not end a program
        // that is unwinding already. The bytes are given back all the same.
        let ended = || self.manager.guard_ended(self.bytes(), self.resident);
        let _ = catch_unwind(AssertUnwindSafe(ended));
    }
}

impl fmt::Debug for MemoryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryGuard({:?})", self.reservation)
    }
}
