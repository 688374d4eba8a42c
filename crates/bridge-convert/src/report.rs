//! Reports: what a conversion did.

use std::fmt;

use bridge_core::{DataType, Declined, DeviceBytes, Shape};

use crate::plan::{Plan, Steps};

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The backend converted from.
    pub source: &'static str,
    /// The backend converted to.
    pub target: &'static str,
    /// The steps taken, in order.
    pub steps: Steps,
    /// Bytes that all copying steps wrote together.
    pub bytes_copied: u64,
    /// The ways without a copy that were not taken.
    pub declined: Vec<Declined>,
    /// The memory that was taken for the result, and that it keeps; `None` where it took none, or took it
    /// from a pool that reserves it itself.
    pub taken: Option<DeviceBytes>,
    /// The element type of the result.
    pub data_type: DataType,
    /// The shape of the result.
    pub shape: Shape,
}

impl Report {
    pub(crate) fn of(plan: Plan, data_type: DataType, shape: &[usize]) -> Self {
        Self {
            source: plan.source,
            target: plan.target,
            steps: plan.steps,
            bytes_copied: plan.bytes_copied,
            declined: plan.declined,
            taken: plan.taken,
            data_type,
            shape: Shape::from_slice(shape),
        }
    }

    /// Whether the result shares its memory with the source, or took it over.
    pub fn is_zero_copy(&self) -> bool {
        !self.steps.iter().any(crate::plan::Step::copies)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {} {:?}", self.source, self.target, self.data_type, self.shape)?;
        for step in &self.steps {
            write!(f, ", {step}")?;
        }
        match self.bytes_copied {
            0 => f.write_str(" (zero-copy)"),
            bytes => write!(f, " ({bytes} bytes copied)"),
        }
    }
}
