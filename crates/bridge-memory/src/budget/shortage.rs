//! Why a budget refuses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Device, Error};

use crate::bytes::{Bytes, apart};

/// Why a budget has no room for a reservation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortage {
    /// More than there will ever be.
    #[error(
        "{} can never be had of {}, which has {} in all: work in smaller parts, or give it a larger \
         capacity",
        apart(*need, *capacity)[0], named(budget, *device), apart(*need, *capacity)[1]
    )]
    Never {
        /// The budget.
        budget: String,
        /// The device whose memory it counts; `None` where it counts every device's.
        device: Option<Device>,
        /// Bytes asked for.
        need: u64,
        /// Bytes it has in all.
        capacity: u64,
    },

    /// More than there is now.
    #[error(
        "{} has {} left, and {} are needed{}{}: wait, or let a holder give something back",
        named(budget, *device), apart(*have, *need)[0], apart(*have, *need)[1], after(*waited), held(holders)
    )]
    NotNow {
        /// The budget.
        budget: String,
        /// The device whose memory it counts; `None` where it counts every device's.
        device: Option<Device>,
        /// Bytes asked for.
        need: u64,
        /// Bytes it had left for this consumer.
        have: u64,
        /// How long it was waited for, where it was.
        waited: Option<Duration>,
        /// Who holds most of it, the largest first.
        holders: Vec<Holder>,
    },
}

impl Shortage {
    /// The shortage that a call ended with, where it was one: a conversion under
    /// [`Options::within`](bridge_core::Options::within) fails so.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::NotAdmitted(reason) => {
                let reason: &(dyn std::error::Error + 'static) = reason.as_ref();
                reason.downcast_ref()
            }
            _ => None,
        }
    }

    /// Whether waiting could help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NotNow { .. })
    }
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Self {
        Self::NotAdmitted(Arc::new(shortage))
    }
}

/// Who holds how much of a budget.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    /// The consumer's name.
    pub name: String,
    /// Bytes it has reserved.
    pub bytes: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, Bytes(self.bytes))
    }
}

/// The budget with its device, where it counts one device's memory and is not called like it.
fn named(budget: &str, device: Option<Device>) -> String {
    match device.map(|device| device.to_string()) {
        Some(device) if device != budget => format!("the budget \"{budget}\" of {device}"),
        _ => format!("the budget \"{budget}\""),
    }
}

fn after(waited: Option<Duration>) -> String {
    waited.map_or_else(String::new, |time| format!(" (waited {:.1} s)", time.as_secs_f64()))
}

fn held(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    let names: Vec<_> = holders.iter().map(ToString::to_string).collect();
    format!("; held by {}", names.join(", "))
}
