//! Taking samples: who is asked, and when.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::recording::{Recording, SeriesKind};
use super::usage::Usage;
use crate::budget::Budget;
use crate::clock::Clock;

/// A value and what it is of.
pub type Reading = (String, u64);

/// Why a sample could not be taken.
pub type SampleError = Box<dyn Error + Send + Sync>;

/// What is asked for a sample.
pub(super) type Sampler = Box<dyn FnMut() -> Result<Vec<Reading>, SampleError> + Send>;

/// What a [`Usage`] is as readings: the process, and of each device what each backend holds, or what
/// is taken of it where nobody counts.
pub fn readings(usage: &Usage) -> Vec<Reading> {
    let mut readings = Vec::new();
    readings.extend(usage.resident.map(|bytes| ("process".to_owned(), bytes)));
    for device in &usage.devices {
        let name = device.device;
        let mut counted = false;
        for holder in &device.holders {
            if let Some(in_use) = holder.in_use {
                counted = true;
                let held = in_use.saturating_add(holder.cached.unwrap_or(0));
                readings.push((format!("{} on {name}", holder.backend), held));
            }
        }
        if !counted {
            readings.extend(device.used().map(|used| (format!("used on {name}"), used)));
        }
    }
    readings
}

/// A budget that is watched, and what its two series are called.
pub(super) struct Watched {
    budget: Budget,
    reserved: String,
    capacity: String,
}

impl Watched {
    /// Adds a budget to others. One of the same name gets a number.
    pub(super) fn add(all: &mut Vec<Self>, budget: Budget) {
        if all.iter().any(|one| one.budget.is_same(&budget)) {
            return;
        }
        let namesakes = all.iter().filter(|one| one.budget.name() == budget.name()).count();
        let name = match namesakes {
            0 => budget.name().to_owned(),
            _ => format!("{} ({})", budget.name(), namesakes + 1),
        };
        let (reserved, capacity) = (format!("reserved in {name}"), format!("capacity of {name}"));
        all.push(Self { budget, reserved, capacity });
    }

    fn readings(&self) -> impl Iterator<Item = (&str, SeriesKind, u64)> {
        let reserved = (&*self.reserved, SeriesKind::Reserved, self.budget.reserved());
        let capacity =
            self.budget.limit().map(|limit| (&*self.capacity, SeriesKind::Capacity, limit));
        std::iter::once(reserved).chain(capacity)
    }
}

/// Takes samples and keeps them. Nothing here waits.
pub(super) struct Recorder {
    clock: Arc<dyn Clock>,
    start: Duration,
    sampler: Mutex<Sampler>,
    watched: Vec<Watched>,
    kept: Mutex<Kept>,
}

struct Kept {
    recording: Recording,
    latest: Duration,
}

impl Recorder {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        sampler: Sampler,
        watched: Vec<Watched>,
        room: usize,
    ) -> Self {
        let recording = Recording::with_room(room);
        Self {
            start: clock.now(),
            clock,
            sampler: Mutex::new(sampler),
            watched,
            kept: Mutex::new(Kept { recording, latest: Duration::ZERO }),
        }
    }

    /// Takes one sample. The recording can be read and marked meanwhile.
    pub(super) fn sample(&self) {
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let readings = catch_unwind(AssertUnwindSafe(&mut *sampler));
        let (readings, failure) = match readings {
            Ok(Ok(readings)) => (readings, None),
            Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
            Err(_) => (Vec::new(), Some("the sampler panicked".to_owned())),
        };
        let sampled = readings.iter().map(|(label, bytes)| (&**label, SeriesKind::Memory, *bytes));
        let (mut kept, at) = self.now();
        let watched = self.watched.iter().flat_map(Watched::readings);
        kept.recording.add(at, sampled.chain(watched), failure);
    }

    pub(super) fn mark(&self, what: String) {
        let (mut kept, at) = self.now();
        kept.recording.mark(at, what);
    }

    /// What was recorded so far.
    pub(super) fn recording(&self) -> Recording {
        self.kept().recording.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, which never goes back: where the clock does, no time has passed.
    fn now(&self) -> (MutexGuard<'_, Kept>, Duration) {
        let mut kept = self.kept();
        kept.latest = kept.latest.max(self.clock.now().saturating_sub(self.start));
        let at = kept.latest;
        (kept, at)
    }
}
