//! Whether something can run on this machine, and if not, why and what to do.

use std::borrow::Cow;
use std::fmt;

use bridge_tensor::Device;

/// Whether a backend can run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It can, on these devices.
    Ready {
        /// The devices, in the order of their ordinals.
        devices: Cow<'static, [Device]>,
    },
    /// It cannot.
    Unavailable(Unavailable),
}

/// Why something cannot run here, and what would make it run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Why not.
    pub reason: String,
    /// What would make it run.
    pub remedy: String,
}

impl Unavailable {
    /// Not available, for this reason, until this is done.
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.remedy)
    }
}

impl Availability {
    /// Ready on the host, which needs nothing.
    pub const HOST: Self = Self::Ready { devices: Cow::Borrowed(&[Device::CPU]) };

    /// Whether it can run.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}
