//! How much this process has in memory, asked no more often than it has to be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::Result;

use crate::Clock;

/// Measures the bytes that this process has in memory.
pub(super) type ResidentBytes = Box<dyn Fn() -> Result<u64> + Send + Sync>;

/// The last answer, as long as it lives.
pub(super) struct Resident {
    measure: ResidentBytes,
    clock: Arc<dyn Clock>,
    lives: Duration,
    last: Mutex<Option<(Duration, u64)>>,
}

impl Resident {
    pub(super) fn new(measure: ResidentBytes, clock: Arc<dyn Clock>, lives: Duration) -> Self {
        Self { measure, clock, lives, last: Mutex::new(None) }
    }

    /// The bytes; measured now where the last answer is too old, the clock went back, or `fresh`.
    pub(super) fn bytes(&self, fresh: bool) -> Result<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if let Some((at, bytes)) = *last
            && !fresh
            && now.checked_sub(at).is_some_and(|age| age < self.lives)
        {
            return Ok(bytes);
        }
        *last = None;
        let bytes = (self.measure)()?;
        *last = Some((now, bytes));
        Ok(bytes)
    }
}
