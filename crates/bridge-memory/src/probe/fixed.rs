//! A probe that says what it is told: for tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bridge_core::{Error, Result};

use super::measured::{Measured, Source};
use super::memory_probe::MemoryProbe;

/// Answers what was set, and counts how often it is asked: for tests, and for a program that knows
/// its memory better than any probe.
///
/// ```
/// use bridge_memory::probe::{FixedProbe, MemoryProbe as _};
///
/// let probe = FixedProbe::new(8 << 30, 3 << 30);
/// assert_eq!(probe.measure()?.available, 3 << 30);
/// probe.set(8 << 30, 1 << 30);
/// assert_eq!(probe.measure()?.available, 1 << 30);
/// assert_eq!(probe.asked(), 2);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug)]
pub struct FixedProbe {
    answer: Mutex<Result<Measured>>,
    asked: AtomicU64,
    own: Mutex<Option<u64>>,
}

impl FixedProbe {
    /// A probe of so many bytes.
    pub fn new(total: u64, available: u64) -> Self {
        let answer = Mutex::new(Ok(Measured::new(total, available, Source::Fixed)));
        Self { answer, asked: AtomicU64::new(0), own: Mutex::default() }
    }

    /// Sets what it answers from now on.
    pub fn set(&self, total: u64, available: u64) {
        self.answer(Ok(Measured::new(total, available, Source::Fixed)));
    }

    /// Sets what it says this process has taken itself.
    pub fn set_own(&self, bytes: u64) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
    }

    /// Lets it fail from now on.
    pub fn fail(&self, error: Error) {
        self.answer(Err(error));
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self, answer: Result<Measured>) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl MemoryProbe for FixedProbe {
    fn measure(&self) -> Result<Measured> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own(&self) -> Option<u64> {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
