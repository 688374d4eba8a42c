//! The steps a conversion is made of.

use std::fmt;

use bridge_core::{DataType, Device};

/// One step of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The array already is what was asked for.
    Stay,
    /// A registered converter does the whole conversion.
    Shortcut {
        /// What the converter says it does.
        name: &'static str,
    },
    /// The allocation changes its owner; nothing is copied.
    Move,
    /// The target uses the memory and keeps its owner alive; nothing is copied.
    Share,
    /// Another device uses the memory where it lies; nothing is copied.
    Map {
        /// The device before.
        from: Device,
        /// The device after.
        to: Device,
    },
    /// The CPU copies the elements into new host memory.
    Copy,
    /// The elements are converted into new memory.
    Cast {
        /// The element type before.
        from: DataType,
        /// The element type after.
        to: DataType,
    },
    /// From host memory to a device.
    Upload {
        /// The device.
        to: Device,
    },
    /// From a device to host memory.
    Download {
        /// The device.
        from: Device,
    },
    /// A copy within one device.
    DeviceCopy {
        /// The device.
        on: Device,
    },
    /// A copy between two devices.
    PeerCopy {
        /// The device copied from.
        from: Device,
        /// The device copied to.
        to: Device,
    },
}

impl Step {
    /// The step's name in one word, as in `matrix --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stay => "stay",
            Self::Shortcut { .. } => "shortcut",
            Self::Move => "move",
            Self::Share => "share",
            Self::Map { .. } => "map",
            Self::Copy => "copy",
            Self::Cast { .. } => "cast",
            Self::Upload { .. } => "upload",
            Self::Download { .. } => "download",
            Self::DeviceCopy { .. } => "device-copy",
            Self::PeerCopy { .. } => "peer-copy",
        }
    }

    /// Whether the step writes the elements to other memory.
    pub fn copies(&self) -> bool {
        !matches!(
            self,
            Self::Stay | Self::Shortcut { .. } | Self::Move | Self::Share | Self::Map { .. }
        )
    }

    /// The device whose runtime takes a step that copies, where it is not the host's tools. The elements are
    /// on device `at`.
    pub(crate) fn worker(&self, at: Device) -> Option<Device> {
        match *self {
            Self::Cast { .. } if at.kind().is_host_accessible() => None,
            Self::Cast { .. } => Some(at),
            Self::DeviceCopy { on } => Some(on),
            Self::Upload { to } | Self::PeerCopy { to, .. } => Some(to),
            Self::Download { from } => Some(from),
            Self::Copy
            | Self::Stay
            | Self::Shortcut { .. }
            | Self::Move
            | Self::Share
            | Self::Map { .. } => None,
        }
    }

    /// The element type and the device of what a step writes, of elements of `data_type` on device `at`.
    pub(crate) fn makes(&self, data_type: DataType, at: Device) -> (DataType, Device) {
        let on_host = at.kind().is_host_accessible();
        match *self {
            Self::Cast { to, .. } => (to, if on_host { Device::CPU } else { at }),
            Self::Upload { to } | Self::PeerCopy { to, .. } => (data_type, to),
            Self::DeviceCopy { on } => (data_type, on),
            Self::Stay
            | Self::Shortcut { .. }
            | Self::Move
            | Self::Share
            | Self::Map { .. }
            | Self::Copy
            | Self::Download { .. } => (data_type, Device::CPU),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shortcut { name } => write!(f, "shortcut ({name})"),
            Self::Cast { from, to } => write!(f, "cast {from} to {to}"),
            Self::Map { from, to } => write!(f, "map from {from} to {to}"),
            Self::Upload { to } => write!(f, "upload to {to}"),
            Self::Download { from } => write!(f, "download from {from}"),
            Self::DeviceCopy { on } => write!(f, "copy on {on}"),
            Self::PeerCopy { from, to } => write!(f, "copy from {from} to {to}"),
            other => f.write_str(other.name()),
        }
    }
}
