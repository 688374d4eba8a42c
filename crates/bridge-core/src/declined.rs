//! Why a way was not taken.

use std::fmt;

use bridge_tensor::{DataType, Device};

use crate::layout_rule::LayoutRule;

/// Why a way without a copy was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The caller asked for a copy.
    CopyAsked,
    /// The element type changes.
    DataType {
        /// Before.
        from: DataType,
        /// After.
        to: DataType,
    },
    /// The device changes.
    Device {
        /// Before.
        from: Device,
        /// After.
        to: Device,
    },
    /// The target cannot represent the strides.
    Layout {
        /// What the target can represent.
        rule: LayoutRule,
    },
    /// The data pointer is not aligned enough.
    Alignment {
        /// Bytes needed.
        needed: usize,
        /// Bytes found.
        found: usize,
    },
    /// The target can only own Rust vectors, and this memory has another owner.
    NotAVector,
    /// The array is read-only and the target would ignore that.
    ReadOnly,
    /// The devices share memory, but not this.
    NotMappable {
        /// What the device's backend said.
        message: String,
    },
    /// The backend refused when it was tried.
    Refused {
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopyAsked => f.write_str("a copy was asked for (CopyPolicy::Always)"),
            Self::DataType { from, to } => write!(f, "{from} has to be cast to {to}"),
            Self::Device { from, to } => write!(f, "the memory is on {from}, not on {to}"),
            Self::Layout { rule } => {
                write!(f, "the target needs {rule}, which this array does not have")
            }
            Self::Alignment { needed, found } => write!(
                f,
                "the target needs data aligned to {needed} bytes, and it is aligned to {found}"
            ),
            Self::NotAVector => f.write_str(
                "the target can only own Rust vectors, and this memory has another owner",
            ),
            Self::ReadOnly => f.write_str(
                "the array is read-only, or others hold its memory too, and the target would let it \
                 be written",
            ),
            Self::NotMappable { message } => {
                write!(f, "the device cannot use the memory in place: {message}")
            }
            Self::Refused { message } => write!(f, "the target refused it: {message}"),
        }
    }
}

/// A way that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The way: "share", "move" or "map", as a plan's steps are called.
    pub way: &'static str,
    /// Why it was not taken.
    pub reason: Reason,
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}: {}", self.way, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_tells_what_was_needed_and_what_was_found() {
        let message = || "it is full".to_owned();
        let (from, to) = (DataType::F32, DataType::I64);
        let devices = (Device::cuda(1), Device::CPU);
        for (reason, told) in [
            (Reason::CopyAsked, "a copy was asked for"),
            (Reason::DataType { from, to }, "float32 has to be cast to int64"),
            (Reason::Device { from: devices.0, to: devices.1 }, "on cuda:1, not on cpu"),
            (Reason::Layout { rule: LayoutRule::RowMajor }, "needs a row-major layout"),
            (Reason::Alignment { needed: 64, found: 8 }, "to 64 bytes, and it is aligned to 8"),
            (Reason::NotAVector, "only own Rust vectors"),
            (Reason::ReadOnly, "read-only"),
            (Reason::NotMappable { message: message() }, "in place: it is full"),
            (Reason::Refused { message: message() }, "refused it: it is full"),
        ] {
            let declined = Declined { way: "share", reason };
            let text = declined.to_string();
            assert!(text.starts_with("no share: ") && text.contains(told), "{text}");
        }
    }
}
