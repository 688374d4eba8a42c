//! Plans: the steps a conversion will take, known before anything moves.

mod obstacles;
mod peaks;
mod pooling;
mod step;

use std::fmt;

use bridge_core::{
    Accepts, Converter, CopyPolicy, DataType, Declined, Description, Device, DeviceBytes, Error,
    Facts, Options, Result,
};
use smallvec::SmallVec;

pub use peaks::Peaks;
pub use step::Step;

pub(crate) use self::obstacles::fits;
use self::obstacles::{needs_transfer, obstacles, target_device};
pub(crate) use self::peaks::Workers;
pub(crate) use self::pooling::{Made, Pooling};

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
    /// The most memory that the steps take at any time, on each device that they take any on: what a
    /// budget is asked for. Of a shortcut it is what its [converter says](bridge_core::Converter::peaks).
    /// What a [pool](Options::pool) gives and [reserves itself](bridge_core::MemorySource::reserves) is
    /// not counted.
    pub peaks: Peaks,
    /// The memory that is taken for the result, and that it keeps; `None` where it takes none, or takes it
    /// from a pool that reserves it itself.
    pub taken: Option<DeviceBytes>,
    /// The ways without a copy that cannot be taken.
    pub declined: Vec<Declined>,
}

impl Plan {
    /// Plans handing `source` over to an array type that takes what `accepts` says.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDataType`] where the target lacks the element type,
    /// [`Error::UnsupportedShape`] where it lacks the shape, [`Error::Unsupported`] where it lacks the
    /// kind of device, and
    /// [`Error::WouldCopy`] where a copy is needed under [`CopyPolicy::Never`].
    pub fn new(
        source: (&'static str, &Description),
        target: (&'static str, &Accepts),
        options: &Options,
    ) -> Result<Self> {
        let mut plan = Self::without_peaks(source, target, options)?;
        plan.find_peaks(source.1, &Workers::of(options, target.1, None))?;
        Ok(plan)
    }

    /// As [`new`](Self::new), for a caller that will find the peaks.
    pub(crate) fn without_peaks(
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
            peaks: Peaks::new(),
            taken: None,
            declined: Vec::new(),
        };
        let arrival = arrival(accepts);
        let way = arrival.name();
        obstacles(found, accepts, options, (data_type, device), |reason| {
            plan.declined.push(Declined { way, reason });
        });
        if !plan.declined.is_empty() {
            if options.copy_policy() == CopyPolicy::Never {
                return Err(Error::WouldCopy { target: target_name, declined: plan.declined });
            }
            plan.add_copies(source, data_type, device, options)?;
        }
        plan.steps.push(arrival);
        Ok(plan)
    }

    /// The plan that changes nothing: source and target are the same type, on the same device.
    pub fn stay(name: &'static str) -> Self {
        Self::of_one_step(name, name, Step::Stay)
    }

    /// The plan of a single step that copies nothing.
    pub(crate) fn of_one_step(source: &'static str, target: &'static str, step: Step) -> Self {
        Self {
            source,
            target,
            steps: smallvec::smallvec![step],
            bytes_copied: 0,
            peaks: Peaks::new(),
            taken: None,
            declined: Vec::new(),
        }
    }

    /// The plan by which a converter does the whole conversion, in place of the ways that were declined.
    pub(crate) fn shortcut(
        source: (&'static str, &Description),
        target: (&'static str, &Accepts),
        converter: &dyn Converter,
        options: &Options,
        declined: Vec<Declined>,
    ) -> Result<Self> {
        let (source, found) = source;
        let (target, accepts) = target;
        let data_type = options.data_type().unwrap_or(found.data_type);
        // A target that can be nowhere has no plan that a shortcut could replace.
        let device = target_device(found.device, accepts, options).unwrap_or(found.device);
        let result = DeviceBytes { device, bytes: found.layout.compact_bytes(data_type)? as u64 };
        let mut plan = Self::of_one_step(source, target, Step::Shortcut { name: converter.name() });
        plan.peaks = peaks::told(converter.peaks(found, result));
        let there = plan.peaks.iter().find(|peak| peak.device == device);
        plan.taken = there
            .map(|peak| DeviceBytes { bytes: peak.bytes.min(result.bytes), ..result })
            .filter(|taken| taken.bytes > 0);
        plan.declined = declined;
        Ok(plan)
    }

    /// The plan by which `to` uses the memory where it lies, when the device is the only reason
    /// against handing the array over as it is.
    pub(crate) fn mapped(
        source: &'static str,
        target: (&'static str, &Accepts),
        way: Step,
    ) -> Self {
        let (target, accepts) = target;
        Self {
            source,
            target,
            steps: smallvec::smallvec![way, arrival(accepts)],
            bytes_copied: 0,
            peaks: Peaks::new(),
            taken: None,
            declined: Vec::new(),
        }
    }

    /// Whether no element is written to other memory.
    pub fn is_zero_copy(&self) -> bool {
        !self.steps.iter().any(Step::copies)
    }

    fn add_copies(
        &mut self,
        source: &Description,
        to: DataType,
        device: Device,
        options: &Options,
    ) -> Result<()> {
        let before = source.layout.compact_bytes(source.data_type)? as u64;
        let after = source.layout.compact_bytes(to)? as u64;
        let from = source.data_type;
        let from_host = source.device.kind().is_host_accessible();
        let to_host = device.kind().is_host_accessible();
        if to_host && device != Device::CPU && options.device() == Some(device) {
            self.add_copies_to_pinned(source.device, (from, to), device, (before, after));
            return Ok(());
        }
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
        match (needs_transfer(source.device, device, options), from_host, to_host) {
            (true, true, true) => {
                if !casts {
                    add(Step::Copy, before);
                }
            }
            (true, true, false) => add(Step::Upload { to: device }, carried),
            (true, false, true) => add(Step::Download { from: source.device }, carried),
            (true, false, false) => {
                add(Step::PeerCopy { from: source.device, to: device }, carried);
            }
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

/// The last step: how the target comes by the memory.
fn arrival(accepts: &Accepts) -> Step {
    if accepts.takes_only_vectors() { Step::Move } else { Step::Share }
}

impl Plan {
    /// One more copy on the host, just before the memory is handed over.
    pub(crate) fn add_last_copy(&mut self, bytes: u64) {
        let arrival = self.steps.len().saturating_sub(1);
        self.steps.insert(arrival, Step::Copy);
        self.bytes_copied = self.bytes_copied.saturating_add(bytes);
        self.taken = Some(DeviceBytes { device: Device::CPU, bytes });
    }

    /// Finds how much memory the steps take when `workers` take them.
    pub(crate) fn find_peaks(&mut self, source: &Description, workers: &Workers<'_>) -> Result<()> {
        (self.peaks, self.taken) = peaks::peaks(source, &self.steps, workers)?;
        Ok(())
    }

    /// The device on which a cast is planned, and the element type cast to, where it is not on the
    /// host. The source is on device `at`.
    pub(crate) fn cast_on_a_device(&self, mut at: Device) -> Option<(Device, DataType)> {
        for step in &self.steps {
            match *step {
                Step::Cast { to, .. } if !at.kind().is_host_accessible() => return Some((at, to)),
                Step::Upload { to } | Step::PeerCopy { to, .. } => at = to,
                Step::Download { .. } => at = Device::CPU,
                _ => {}
            }
        }
        None
    }

    /// The same plan, which casts on a device, with its cast done on the host: the elements are
    /// downloaded, where they are on a device, and taken to where they were to go.
    pub(crate) fn cast_on_the_host(&mut self, source: &Description, to: DataType) -> Result<()> {
        let from = source.data_type;
        let before = source.layout.compact_bytes(from)? as u64;
        let after = source.layout.compact_bytes(to)? as u64;
        let end = self.steps.iter().fold(source.device, |at, step| match *step {
            Step::Upload { to } | Step::PeerCopy { to, .. } => to,
            _ => at,
        });
        let arrival = self.steps.pop();
        self.steps.clear();
        self.bytes_copied = 0;
        let mut add = |step: Step, bytes: u64| {
            self.steps.push(step);
            self.bytes_copied = self.bytes_copied.saturating_add(bytes);
        };
        if !source.device.kind().is_host_accessible() {
            add(Step::Download { from: source.device }, before);
        }
        add(Step::Cast { from, to }, after);
        // A device cast what stays on a device or goes to memory that its driver allocates.
        if end.kind().is_host_accessible() {
            add(Step::PeerCopy { from: Device::CPU, to: end }, after);
        } else {
            add(Step::Upload { to: end }, after);
        }
        self.steps.extend(arrival);
        Ok(())
    }

    /// To pinned or managed memory, which only its driver allocates.
    fn add_copies_to_pinned(
        &mut self,
        source: Device,
        (from, to): (DataType, DataType),
        device: Device,
        (before, after): (u64, u64),
    ) {
        let mut add = |step: Step, bytes: u64| {
            self.steps.push(step);
            self.bytes_copied = self.bytes_copied.saturating_add(bytes);
        };
        let mut at = source;
        let on_host = |device: Device| device.kind().is_host_accessible();
        if !on_host(at) && at.kind() != device.kind().driver_kind() {
            add(Step::Download { from: at }, before);
            at = Device::CPU;
        }
        if from != to {
            add(Step::Cast { from, to }, after);
            at = if on_host(at) { Device::CPU } else { at };
        }
        if at == device {
            add(Step::DeviceCopy { on: device }, after);
        } else {
            add(Step::PeerCopy { from: at, to: device }, after);
        }
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
            supported: accepts.data_types().to_vec(),
            remedy: data_type.narrowest_holding(accepts.data_types()),
        });
    }
    let shape = found.layout.shape();
    if !accepts.has_shape(shape) {
        let (shape, takes) = (shape.to_vec(), accepts.shapes());
        return Err(Error::UnsupportedShape { target, shape, takes });
    }
    Ok(())
}

fn no_device(target: &'static str, accepts: &Accepts, options: &Options) -> Error {
    let asked = options.device().map_or("any device".to_owned(), |device| device.to_string());
    let kinds: Vec<_> = accepts.device_kinds().iter().map(|kind| kind.name()).collect();
    Error::Unsupported {
        what: format!("{target} on {asked}"),
        remedy: format!("it works on {}", kinds.join(", ")),
    }
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
