//! What a budget looks like at one moment.

use std::fmt;

use super::shortage::Holder;
use crate::bytes::Bytes;

/// What a budget has, and who holds how much of it, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BudgetStatus {
    /// The budget's name.
    pub name: String,
    /// The device whose memory it counts; `None` where it counts every device's.
    pub device: Option<String>,
    /// Bytes that can be reserved in all.
    pub capacity: u64,
    /// Bytes that are reserved.
    pub reserved: u64,
    /// Bytes that are not.
    pub available: u64,
    /// Bytes in use on the device that nobody has reserved; `None` where nothing is measured.
    pub unmanaged: Option<u64>,
    /// What could not be measured, and why.
    pub problems: Vec<String>,
    /// The most bytes that were reserved at any time.
    pub peak: u64,
    /// How many calls wait for room.
    pub waiting: usize,
    /// Who holds something, the largest first.
    pub holders: Vec<Holder>,
}

impl fmt::Display for BudgetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, capacity, reserved, holders, .. } = self;
        write!(f, "{name}: {} of {} reserved", Bytes(*reserved), Bytes(*capacity))?;
        for holder in holders {
            write!(f, ", {holder}")?;
        }
        if let Some(unmanaged) = self.unmanaged {
            write!(f, "; {} in use by others", Bytes(unmanaged))?;
        }
        Ok(())
    }
}
