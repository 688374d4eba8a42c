//! What an observer of recovery is told.

use std::error::Error as StdError;
use std::time::Duration;

use bridge_core::Device;

use super::caches::Released;

/// One step of a recovery, in the order in which they happen. Tries are counted from 1.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecoveryEvent<'e> {
    /// A try ran out of memory.
    OutOfMemory {
        /// Which try.
        attempt: u32,
        /// The devices whose memory it is taken to be.
        devices: &'e [Device],
        /// What it said.
        error: &'e (dyn StdError + 'static),
    },
    /// The next try comes after this wait.
    Waited {
        /// How long it was.
        wait: Duration,
        /// Whether no other thread retries on these devices meanwhile.
        alone: bool,
    },
    /// Caches were released.
    Released {
        /// What was given back, for each device.
        released: &'e [Released],
    },
    /// A try succeeded.
    Recovered {
        /// Which one.
        attempt: u32,
    },
    /// A batch is done again in two halves.
    Split {
        /// How many items it had.
        from: usize,
        /// How many the next one has, and all later ones at most.
        to: usize,
    },
    /// Nothing helped: the first error is given back.
    GaveUp {
        /// How many tries there were.
        attempts: u32,
        /// What the last one said, which may be another error than the first.
        error: &'e (dyn StdError + 'static),
    },
}
