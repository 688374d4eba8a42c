//! Plans: the steps a conversion will take, known before anything moves.

use std::any::TypeId;
use std::fmt;

use smallvec::SmallVec;

use crate::accepts::{Accepts, LayoutRule};
use crate::data_type::DataType;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::options::{Copy, Options};
use crate::tensor::Access;

/// Whether a tensor's memory can change hands as an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// An allocation of the global allocator that a `Vec` could own whole.
    Movable,
    /// Kept alive by an owner that must live on.
    Kept,
}

/// What a plan needs to know of an array. Making one touches no element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The element type.
    pub data_type: DataType,
    /// Where the memory is.
    pub device: Device,
    /// Where the elements lie.
    pub layout: Layout,
    /// Who may write.
    pub access: Access,
    /// Whether the memory can change hands.
    pub ownership: Ownership,
    /// The largest power of two that divides the data pointer, up to a page.
    pub alignment: usize,
    /// The type of the Rust value that keeps the memory, where there is one: an array type takes
    /// its own value back.
    pub owner: Option<TypeId>,
}

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
        !matches!(self, Self::Stay | Self::Shortcut { .. } | Self::Move | Self::Share)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shortcut { name } => write!(f, "shortcut ({name})"),
            Self::Cast { from, to } => write!(f, "cast {from} to {to}"),
            Self::Upload { to } => write!(f, "upload to {to}"),
            Self::Download { from } => write!(f, "download from {from}"),
            Self::DeviceCopy { on } => write!(f, "copy on {on}"),
            Self::PeerCopy { from, to } => write!(f, "copy from {from} to {to}"),
            other => f.write_str(other.name()),
        }
    }
}

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
    /// The backend refused when it was tried.
    Refused {
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopyAsked => f.write_str("a copy was asked for (Copy::Always)"),
            Self::DataType { from, to } => write!(f, "{from} has to be cast to {to}"),
            Self::Device { from, to } => write!(f, "the memory is on {from}, not on {to}"),
            Self::Layout { rule } => {
                write!(f, "the target needs {}, and the strides are others", rule.wish())
            }
            Self::Alignment { needed, found } => write!(
                f,
                "the target needs data on a border of {needed} bytes, here it is on one of {found}"
            ),
            Self::NotAVector => f.write_str(
                "the target can only own Rust vectors, and this memory has another owner",
            ),
            Self::ReadOnly => f.write_str(
                "the array is read-only and the target would let it be written \
                 (Options::ignore_read_only allows it)",
            ),
            Self::Refused { message } => write!(f, "the target refused it: {message}"),
        }
    }
}

/// A way that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The way: "share" or "move", as [`Step::name`].
    pub way: &'static str,
    /// Why it was not taken.
    pub reason: Reason,
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}: {}", self.way, self.reason)
    }
}

/// The steps of a conversion; four fit without heap allocation.
pub type Steps = SmallVec<[Step; 4]>;

/// The steps a conversion will take, the bytes it will copy, and every way not taken.
///
/// A plan is computed from descriptions alone: no device is touched and no byte moves. Printing
/// it explains the conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The backend of the array.
    pub source: &'static str,
    /// The backend converted to.
    pub target: &'static str,
    /// What will be done, in order.
    pub steps: Steps,
    /// Bytes that all copying steps write together.
    pub bytes_copied: u64,
    /// The ways without a copy that cannot be taken.
    pub declined: Vec<Declined>,
}

impl Plan {
    /// Plans handing `source` over to an array type that takes what `accepts` says.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where the target lacks the element type,
    /// [`Error::Unsupported`] where it lacks the rank or the kind of device, and
    /// [`Error::WouldCopy`] where a copy is needed under [`Copy::Never`].
    pub fn new(
        (source_name, source): (&'static str, &Description),
        (target_name, accepts): (&'static str, &Accepts),
        options: &Options,
    ) -> Result<Self> {
        let found = source.facts();
        let data_type = options.data_type().unwrap_or(found.data_type);
        check_target(found, target_name, accepts, data_type)?;
        let device = target_device(found.device, accepts, options)
            .ok_or_else(|| no_device(target_name, accepts, options))?;

        let mut plan = Self {
            source: source_name,
            target: target_name,
            steps: Steps::new(),
            bytes_copied: 0,
            declined: Vec::new(),
        };
        let arrival = if accepts.only_vectors { Step::Move } else { Step::Share };
        let way = arrival.name();
        obstacles(found, accepts, options, (data_type, device), |reason| {
            plan.declined.push(Declined { way, reason });
        });
        if !plan.declined.is_empty() {
            if options.copy_policy() == Copy::Never {
                return Err(Error::WouldCopy { target: target_name, declined: plan.declined });
            }
            plan.add_copies(source, data_type, device)?;
        }
        plan.steps.push(arrival);
        Ok(plan)
    }

    /// The plan that changes nothing: source and target are the same type, on the same device.
    pub fn stay(name: &'static str) -> Self {
        Self {
            source: name,
            target: name,
            steps: smallvec::smallvec![Step::Stay],
            bytes_copied: 0,
            declined: Vec::new(),
        }
    }

    /// Whether no element is written to other memory.
    pub fn is_zero_copy(&self) -> bool {
        !self.steps.iter().any(Step::copies)
    }

    fn add_copies(&mut self, source: &Description, to: DataType, device: Device) -> Result<()> {
        let before = source.layout.compact_bytes(source.data_type)? as u64;
        let after = source.layout.compact_bytes(to)? as u64;
        let from = source.data_type;
        let from_host = source.device.kind().is_host_accessible();
        let to_host = device.kind().is_host_accessible();
        let casts = to != from;
        // Casting is done where the fewer bytes then travel, on the host if one side is there.
        let cast_first = casts && (after <= before || to_host) && from_host;
        let mut add = |step: Step, bytes: u64| {
            self.steps.push(step);
            self.bytes_copied = self.bytes_copied.saturating_add(bytes);
        };
        if cast_first {
            add(Step::Cast { from, to }, after);
        }
        let carried = if cast_first { after } else { before };
        match (needs_transfer(source.device, device), from_host, to_host) {
            (true, true, false) => add(Step::Upload { to: device }, carried),
            (true, false, true) => add(Step::Download { from: source.device }, carried),
            (true, ..) => add(Step::PeerCopy { from: source.device, to: device }, carried),
            (false, true, _) if !casts => add(Step::Copy, before),
            (false, false, _) if !casts => add(Step::DeviceCopy { on: device }, before),
            (false, ..) => {}
        }
        if casts && !cast_first {
            add(Step::Cast { from, to }, after);
        }
        Ok(())
    }
}

/// What an obstacle can depend on: a [`Description`] that borrows.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) data_type: DataType,
    pub(crate) device: Device,
    pub(crate) layout: &'a Layout,
    pub(crate) access: Access,
    pub(crate) ownership: Ownership,
    pub(crate) alignment: usize,
}

impl Description {
    fn facts(&self) -> Facts<'_> {
        let Self { data_type, device, ref layout, access, ownership, alignment, .. } = *self;
        Facts { data_type, device, layout, access, ownership, alignment }
    }
}

/// Whether a plan would hand such an array over without a copy: decided without making the plan.
#[inline]
pub(crate) fn fits(found: Facts<'_>, accepts: &Accepts, options: &Options) -> bool {
    let data_type = options.data_type().unwrap_or(found.data_type);
    if !accepts.has(data_type) || !accepts.has_rank(found.layout.rank()) {
        return false;
    }
    target_device(found.device, accepts, options).is_some_and(|device| {
        let mut clear = true;
        obstacles(found, accepts, options, (data_type, device), |_| clear = false);
        clear
    })
}

/// Tells every reason why the array cannot be handed over without a copy.
#[inline]
fn obstacles(
    found: Facts<'_>,
    accepts: &Accepts,
    options: &Options,
    (data_type, device): (DataType, Device),
    mut tell: impl FnMut(Reason),
) {
    if options.copy_policy() == Copy::Always {
        tell(Reason::CopyAsked);
    }
    if data_type != found.data_type {
        tell(Reason::DataType { from: found.data_type, to: data_type });
    }
    if needs_transfer(found.device, device) {
        tell(Reason::Device { from: found.device, to: device });
    }
    if !accepts.layout.allows(found.layout) {
        tell(Reason::Layout { rule: accepts.layout });
    }
    let needed = accepts.alignment_for(found.data_type);
    if found.alignment < needed && !found.layout.is_empty() {
        tell(Reason::Alignment { needed, found: found.alignment });
    }
    if accepts.only_vectors && found.ownership != Ownership::Movable {
        tell(Reason::NotAVector);
    }
    let guarded = found.access == Access::ReadOnly && !options.ignores_read_only();
    if accepts.ignores_read_only && guarded {
        tell(Reason::ReadOnly);
    }
}

fn check_target(
    found: Facts<'_>,
    target: &'static str,
    accepts: &Accepts,
    data_type: DataType,
) -> Result<()> {
    if !accepts.has(data_type) {
        return Err(Error::UnsupportedDataType {
            target,
            data_type,
            supported: accepts.data_types.to_vec(),
            remedy: data_type.narrowest_holding(accepts.data_types),
        });
    }
    let rank = found.layout.rank();
    if !accepts.has_rank(rank) {
        let (lowest, highest) = accepts.rank_limits();
        return Err(Error::Unsupported {
            what: format!("an array of rank {rank} in {target}"),
            remedy: format!("reshape it to a rank from {lowest} to {highest} first"),
        });
    }
    Ok(())
}

/// Where the result goes: where the caller wants it, else where the source is, else to the
/// target's first kind of device. `None` where the target cannot be there.
#[inline]
fn target_device(source: Device, accepts: &Accepts, options: &Options) -> Option<Device> {
    let holds = |device: &Device| accepts.device_kinds.contains(&device.kind());
    match options.device() {
        Some(asked) => Some(asked).filter(holds),
        None if holds(&source) => Some(source),
        None => accepts.device_kinds.first().map(|&kind| Device::new(kind, 0)),
    }
}

fn no_device(target: &'static str, accepts: &Accepts, options: &Options) -> Error {
    let asked = options.device().map_or("any device".to_owned(), |device| device.to_string());
    let kinds: Vec<_> = accepts.device_kinds.iter().map(|kind| kind.name()).collect();
    Error::Unsupported {
        what: format!("{target} on {asked}"),
        remedy: format!("it works on {}", kinds.join(", ")),
    }
}

/// Host memory is host memory, however it was allocated: the CPU reads it in place.
#[inline]
fn needs_transfer(from: Device, to: Device) -> bool {
    let both_on_host = from.kind().is_host_accessible() && to.kind().is_host_accessible();
    from != to && !both_on_host
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: ", self.source, self.target)?;
        for (index, step) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{step}")?;
        }
        match self.bytes_copied {
            0 => f.write_str(" (zero-copy)")?,
            bytes => write!(f, " ({bytes} bytes copied)")?,
        }
        for declined in &self.declined {
            write!(f, "\n  {declined}")?;
        }
        Ok(())
    }
}
