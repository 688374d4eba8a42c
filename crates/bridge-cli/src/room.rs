//! The memory that a conversion of a file may take: what `--memory-limit` allows.

use std::sync::{Mutex, PoisonError};

use arraybridge::memory::budget::{Budget, Consumer, Reservation};
use arraybridge::{Admission, Device, DeviceBytes, Error, Options, Permit, Report};

use crate::failure::Outcome;

/// The most bytes that a budget counts.
const MOST: u64 = i64::MAX as u64;

/// The memory that parts of arrays may take, as they are read and in every backend. Without a limit
/// nothing is asked and nothing counted.
#[derive(Debug)]
pub(crate) struct Room(Option<Budget>);

impl Room {
    /// Room for so many bytes, or for any number.
    pub(crate) fn new(limit: Option<u64>) -> Outcome<Self> {
        let budget = limit.map(|limit| Budget::new("--memory-limit", limit.min(MOST)));
        Ok(Self(budget.transpose()?))
    }

    /// Room for everything, which counts.
    pub(crate) fn counting() -> Outcome<Self> {
        Self::new(Some(MOST))
    }

    /// The most bytes that there is room for.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.0.as_ref().map(Budget::capacity)
    }

    /// The most bytes that were taken at any time, where they are counted.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.0.as_ref().map(|budget| budget.status().peak)
    }

    /// Takes room for a part of an array as it is read, until what is returned is dropped.
    pub(crate) fn take(&self, bytes: u64) -> Outcome<Option<Reservation>> {
        let reserve = |budget: &Budget| budget.consumer("elements as read").reserve(bytes);
        Ok(self.0.as_ref().map(reserve).transpose().map_err(Error::from)?)
    }

    /// What is asked by one conversion.
    pub(crate) fn asked(&self) -> Asked {
        Asked(self.0.as_ref().map(|budget| {
            let consumer = budget.consumer("conversions");
            let taken = Mutex::new(consumer.nothing());
            Taking { consumer, taken }
        }))
    }
}

/// Takes room for one conversion, and keeps it when the conversion is done.
#[derive(Debug)]
pub(crate) struct Asked(Option<Taking>);

#[derive(Debug)]
struct Taking {
    consumer: Consumer,
    taken: Mutex<Reservation>,
}

impl Asked {
    /// The options of a conversion that asks.
    pub(crate) fn options<'a>(&'a self, options: Options<'a>) -> Options<'a> {
        match &self.0 {
            Some(taking) => options.within(taking),
            None => options,
        }
    }

    /// What the conversion's result takes; the rest is given back. `None` where it took nothing: what it
    /// is made of is its memory then.
    pub(crate) fn kept(self, report: &Report) -> Option<Reservation> {
        let mut taken = self.0?.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let bytes = report.taken.map_or(0, |made| made.bytes);
        let given_back = taken.bytes().saturating_sub(bytes);
        let _ = taken.shrink(given_back);
        (taken.bytes() > 0).then_some(taken)
    }
}

impl Admission for Taking {
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Permit, Error> {
        let bytes = peaks.iter().fold(0_u64, |sum, peak| sum.saturating_add(peak.bytes));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.try_grow(bytes)?;
        Ok(Permit::unlimited())
    }

    fn recover(&self, device: Device, error: &Error, attempt: u32) -> bool {
        self.consumer.recover(device, error, attempt)
    }
}
