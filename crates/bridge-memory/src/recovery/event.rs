//! What an observer of recovery is told.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bridge_core::Device;

use super::caches::Released;
use crate::bytes::Bytes;

/// One step of a recovery, in the order in which they happen. Tries are counted from 1.
///
/// With `{}` it is a few words, as for a log or a mark in a picture.
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
    /// A budget that had no room asked who keeps something to give it back. Only
    /// [`on_event`](super::on_event) is told: there is no policy.
    Relieved {
        /// The budget.
        budget: &'e str,
        /// How many bytes were missing.
        missing: u64,
        /// How many bytes those who were asked say that they gave back.
        given: u64,
    },
    /// A batch is done again in two halves.
    Split {
        /// How many items it had.
        from: usize,
        /// How many the next one has, and all later ones at most.
        to: usize,
    },
    /// Another backend, or the host, is gone to.
    FellBack {
        /// The backend that did not do.
        from: &'e str,
        /// The one that is tried next.
        to: &'e str,
        /// Its device, where one was asked for: the host's after [`convert_or_host`](super::convert_or_host).
        device: Option<Device>,
        /// What the first one said.
        error: &'e (dyn StdError + 'static),
    },
    /// Nothing helped: the first error is given back; by a conversion within a budget, the last.
    GaveUp {
        /// How many tries there were.
        attempts: u32,
        /// What the last one said, which may be another error than the first.
        error: &'e (dyn StdError + 'static),
    },
}

impl fmt::Display for RecoveryEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { devices, .. } => {
                f.write_str("out of memory")?;
                for (number, device) in devices.iter().enumerate() {
                    write!(f, "{} {device}", if number == 0 { " on" } else { "," })?;
                }
                Ok(())
            }
            Self::Waited { wait, alone } => {
                write!(f, "waited {wait:?}{}", if *alone { ", alone now" } else { "" })
            }
            Self::Released { released } => {
                for (number, one) in released.iter().enumerate() {
                    let (bytes, device) = (Bytes(one.bytes()), one.device);
                    write!(
                        f,
                        "{}{bytes} of {device} given back",
                        if number == 0 { "" } else { "; " }
                    )?;
                }
                Ok(())
            }
            Self::Recovered { attempt } => write!(f, "try {attempt} succeeded"),
            Self::Relieved { budget, given, .. } => {
                write!(f, "{} given back to \"{budget}\"", Bytes(*given))
            }
            Self::Split { from, to } => write!(f, "batches of {to}, not {from}"),
            Self::FellBack { from, to, device: Some(device), .. } => {
                write!(f, "fell back from {from} to {to} on {device}")
            }
            Self::FellBack { from, to, device: None, .. } => {
                write!(f, "fell back from {from} to {to}")
            }
            Self::GaveUp { attempts: 1, .. } => f.write_str("gave up after 1 try"),
            Self::GaveUp { attempts, .. } => write!(f, "gave up after {attempts} tries"),
        }
    }
}
