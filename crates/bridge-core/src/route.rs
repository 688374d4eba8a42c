//! Carrying out a conversion: the one machine under typed and named conversion.

use std::any::TypeId;

use crate::accepts::{Accepts, LayoutRule};
use crate::array::{Array, broken_law};
use crate::backend::Mapping;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::host_memory::HostMemory;
use crate::observe;
use crate::options::{Copy, Options};
use crate::plan::{Declined, Description, Ownership, Plan, Reason, Step, fits};
use crate::registry::Registry;
use crate::report::Report;
use crate::tensor::{Access, ManagedTensor, SharedTensor, TensorSpec};

/// The two ends of a conversion.
pub(crate) trait Ends {
    type Source;
    type Target;

    fn export(&self, source: Self::Source) -> Result<ManagedTensor, Refused<Self::Source>>;
    fn restore(&self, tensor: ManagedTensor) -> Self::Source;
    fn import(&self, tensor: ManagedTensor) -> Result<Self::Target, Refused<ManagedTensor>>;

    fn erase(&self, source: Self::Source) -> Array;
    fn source_of(&self, array: Array) -> Result<Self::Source, Refused<Array>>;
    fn target_of(&self, array: Array) -> Result<Self::Target, Refused<Array>>;
}

/// From where to where, and under which options.
pub(crate) struct Route<'a> {
    pub(crate) source: &'static str,
    pub(crate) target: &'static str,
    pub(crate) accepts: &'static Accepts,
    /// The array type converted to.
    pub(crate) target_type: TypeId,
    pub(crate) options: &'a Options,
    /// Where host tools, devices and shortcuts are looked up, when one is needed.
    pub(crate) lookup: Lookup<'a>,
}

/// The registry a conversion works with.
#[derive(Clone, Copy)]
pub(crate) enum Lookup<'a> {
    /// The program's; made at its first use.
    Global,
    /// This one.
    In(&'a Registry),
}

impl<'a> Lookup<'a> {
    fn registry(self) -> Result<&'a Registry> {
        match self {
            Self::Global => Registry::global(),
            Self::In(registry) => Ok(registry),
        }
    }
}

impl Route<'_> {
    /// What would be done with an array of this description.
    pub(crate) fn plan(&self, found: &Description) -> Result<Plan> {
        if found.owner == Some(self.target_type) && stays(found, self.options) {
            return Ok(Plan {
                source: self.source,
                target: self.target,
                steps: smallvec::smallvec![Step::Share],
                bytes_copied: 0,
                declined: Vec::new(),
            });
        }
        let plan = Plan::new((self.source, found), (self.target, self.accepts), self.options);
        let plan = self.in_place(found, plan);
        let copies = match &plan {
            Ok(plan) => !plan.is_zero_copy(),
            Err(error) => matches!(error, Error::WouldCopy { .. }),
        };
        if copies && let Some(converter) = self.shortcut(found) {
            return Ok(Plan {
                source: self.source,
                target: self.target,
                steps: smallvec::smallvec![Step::Shortcut { name: converter.name() }],
                bytes_copied: 0,
                declined: plan.map(|plan| plan.declined).unwrap_or_default(),
            });
        }
        plan
    }

    /// The plan without a copy, where the device is all that stands against one and can use the
    /// memory where it lies; else the plan as it was, with the reason.
    fn in_place(&self, found: &Description, plan: Result<Plan>) -> Result<Plan> {
        let declined = match &plan {
            Ok(plan) => &plan.declined,
            Err(Error::WouldCopy { declined, .. }) => declined,
            Err(_) => return plan,
        };
        let &[Declined { reason: Reason::Device { from, to }, .. }] = declined.as_slice() else {
            return plan;
        };
        match self.device_backend(from, to).map(|backend| backend.mapping(found, to)) {
            Ok(Mapping::Possible) => {
                let target = (self.target, self.accepts);
                Ok(Plan::mapped(self.source, target, Step::Map { from, to }))
            }
            Ok(Mapping::Declined(message)) => {
                let reason = Reason::NotMappable { message };
                with_declined(plan, Declined { way: "map", reason })
            }
            Ok(Mapping::Never) | Err(_) => plan,
        }
    }

    /// The backend that answers for memory going between two devices.
    fn device_backend(&self, from: Device, to: Device) -> Result<&'static dyn crate::Backend> {
        let side = if to.kind().is_host_accessible() { from } else { to };
        self.lookup.registry()?.backend_of(side)
    }

    fn shortcut(&self, found: &Description) -> Option<&'static dyn crate::Converter> {
        let converter = self.lookup.registry().ok()?.converter(self.source, self.target)?;
        let makes_it = converter.target_type() == self.target_type;
        (makes_it && converter.applies(found, self.options)).then_some(converter)
    }

    /// Converts; where it fails, the source comes back.
    #[inline]
    pub(crate) fn run<E: Ends>(
        &self,
        ends: &E,
        source: E::Source,
    ) -> Result<E::Target, Refused<E::Source>> {
        let mut tensor = self.exported(ends, source)?;
        // What fits and is watched by nobody needs no plan: this is the way that must be short.
        if !self.options.ignores_read_only()
            && !observe::is_watched()
            && fits(tensor.facts(), self.accepts, self.options)
        {
            match ends.import(tensor) {
                Ok(target) => return Ok(target),
                Err(refused) => tensor = refused.into_value(),
            }
        }
        self.run_exported(ends, tensor).map(|(target, _)| target)
    }

    /// Converts and reports; where it fails, the source comes back.
    pub(crate) fn run_reported<E: Ends>(
        &self,
        ends: &E,
        source: E::Source,
    ) -> Result<(E::Target, Report), Refused<E::Source>> {
        self.run_exported(ends, self.exported(ends, source)?)
    }

    /// The source as a tensor. Memory that the CPU reads in place is waited for, where a device may
    /// still be writing it.
    #[inline]
    fn exported<E: Ends>(
        &self,
        ends: &E,
        source: E::Source,
    ) -> Result<ManagedTensor, Refused<E::Source>> {
        let tensor = ends.export(source)?;
        let device = tensor.device();
        if tensor.stream().is_none() || !device.kind().is_host_accessible() {
            return Ok(tensor);
        }
        let waited = self
            .lookup
            .registry()
            .and_then(|registry| registry.backend_of(device))
            .and_then(|backend| backend.synchronize(device));
        match waited {
            // SAFETY: the device has done all that was submitted to it, so the data is ready.
            Ok(()) => Ok(unsafe { tensor.ready_on(None) }),
            Err(error) => Err(Refused::new(ends.restore(tensor), error)),
        }
    }

    #[inline(never)]
    fn run_exported<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
    ) -> Result<(E::Target, Report), Refused<E::Source>> {
        let started = observe::start();
        let done = self.run_planned(ends, tensor)?;
        observe::finish(started, &done.1);
        Ok(done)
    }

    fn run_planned<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
    ) -> Result<(E::Target, Report), Refused<E::Source>> {
        let found = tensor.describe();
        let mut plan = match self.plan(&found) {
            Ok(plan) => plan,
            Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
        };
        let report = |plan, data_type| Report::of(plan, data_type, found.layout.shape());
        let wanted = self.options.data_type().unwrap_or(found.data_type);

        let mut tensor = tensor;
        if let [Step::Shortcut { .. }] = plan.steps.as_slice() {
            match self.take_shortcut(ends, ends.restore(tensor), &found) {
                Ok(target) => return Ok((target, report(plan, wanted))),
                Err(refused) => {
                    let (source, error) = refused.into_parts();
                    tensor = ends.export(source)?;
                    plan = match self.plan_after(&found, "shortcut", &error) {
                        Ok(plan) => plan,
                        Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
                    };
                }
            }
        }
        if plan.is_zero_copy() {
            match self.hand_over(ends, tensor, &plan) {
                Ok(target) => return Ok((target, report(plan, wanted))),
                Err(refused) => {
                    let (given_back, error) = refused.into_parts();
                    tensor = match found.access {
                        // As it was: an array type takes its own tensor back only then.
                        Access::ReadOnly => given_back.heeding_read_only().into_read_only(),
                        _ => given_back,
                    };
                    let way = plan.steps.first().map_or("share", Step::name);
                    plan = match self.plan_after(&found, way, &error) {
                        Ok(plan) => plan,
                        Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
                    };
                }
            }
        }
        let source = tensor.into_shared();
        let made = self
            .make_copy(&source, &mut plan)
            .and_then(|made| ends.import(self.handed_over(made)).map_err(Error::from));
        match made {
            Ok(target) => Ok((target, report(plan, wanted))),
            Err(error) => Err(Refused::new(ends.restore(sole(source)), error)),
        }
    }

    /// Does what a plan without a copy says.
    fn hand_over<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
        plan: &Plan,
    ) -> Result<E::Target, Refused<ManagedTensor>> {
        let Some(&Step::Map { from, to }) = plan.steps.first() else {
            return ends.import(self.handed_over(tensor));
        };
        let backend = match self.device_backend(from, to) {
            Ok(backend) => backend,
            Err(error) => return Err(Refused::new(tensor, error)),
        };
        let mapped = backend.map(tensor, to)?;
        ends.import(self.handed_over(mapped)).map_err(|refused| {
            refused.map(|mapped| {
                let back = backend.map(mapped, from);
                back.unwrap_or_else(|kept| broken_law(backend.name(), kept.error()))
            })
        })
    }

    fn handed_over(&self, tensor: ManagedTensor) -> ManagedTensor {
        if self.accepts.ignores_read_only && self.options.ignores_read_only() {
            tensor.ignoring_read_only()
        } else {
            tensor
        }
    }

    fn take_shortcut<E: Ends>(
        &self,
        ends: &E,
        source: E::Source,
        found: &Description,
    ) -> Result<E::Target, Refused<E::Source>> {
        let Some(converter) = self.shortcut(found) else {
            let error = Error::Unsupported {
                what: "a shortcut that no longer applies".to_owned(),
                remedy: "the general way is taken".to_owned(),
            };
            return Err(Refused::new(source, error));
        };
        let given_back = |refused: Refused<Array>| {
            refused.map(|array| {
                ends.source_of(array)
                    .unwrap_or_else(|other| broken_law(converter.name(), other.error()))
            })
        };
        let made = converter.convert(ends.erase(source), self.options).map_err(given_back)?;
        let target = ends.target_of(made);
        Ok(target.unwrap_or_else(|other| broken_law(converter.name(), other.error())))
    }

    /// The plan with copies, after the backend refused `way`, which the plan had chosen.
    fn plan_after(&self, found: &Description, way: &'static str, error: &Error) -> Result<Plan> {
        let reason = Reason::Refused { message: error.to_string() };
        let declined = Declined { way, reason };
        if self.options.copy_policy() == Copy::Never {
            return Err(Error::WouldCopy { target: self.target, declined: vec![declined] });
        }
        let options = (*self.options).copy(Copy::Always);
        let mut plan = Plan::new((self.source, found), (self.target, self.accepts), &options)?;
        plan.declined = vec![declined];
        Ok(plan)
    }

    /// Takes the plan's copying steps. A step that the plan did not foresee is added to it.
    fn make_copy(&self, source: &SharedTensor, plan: &mut Plan) -> Result<ManagedTensor> {
        let registry = self.lookup.registry()?;
        let mut made: Option<ManagedTensor> = None;
        let taken = |made: &mut Option<ManagedTensor>| {
            made.take().unwrap_or_else(|| ManagedTensor::alias(source))
        };
        for step in plan.steps.iter().filter(|step| step.copies()) {
            let from = made.as_ref().unwrap_or(source);
            made = Some(match *step {
                Step::Cast { to, .. } if from.device().kind().is_host_accessible() => {
                    let mut target = self.new_host_tensor(from, to)?;
                    let overflow = self.options.overflow_rule();
                    registry.host_tools()?.cast(from, &mut target, overflow)?;
                    target
                }
                Step::Cast { to, .. } => {
                    let backend = registry.backend_of(from.device())?;
                    self.on_device(taken(&mut made), |from| {
                        backend.cast_on_device(from, to, self.options.overflow_rule())
                    })?
                }
                Step::Copy => {
                    let mut target = self.new_host_tensor(from, from.data_type())?;
                    registry.host_tools()?.copy(from, &mut target)?;
                    target
                }
                Step::DeviceCopy { on } => {
                    let backend = registry.backend_of(on)?;
                    self.on_device(taken(&mut made), |from| backend.copy_on_device(from))?
                }
                Step::Upload { to } | Step::PeerCopy { to, .. } => {
                    let backend = registry.backend_of(to)?;
                    self.on_device(taken(&mut made), |from| backend.transfer(from, to))?
                }
                Step::Download { from: device } => {
                    let (backend, to) = (registry.backend_of(device)?, Device::CPU);
                    self.on_device(taken(&mut made), |from| backend.transfer(from, to))?
                }
                Step::Stay
                | Step::Shortcut { .. }
                | Step::Move
                | Step::Share
                | Step::Map { .. } => continue,
            });
        }
        let made = made.map(|made| self.in_a_vector(made, plan)).transpose()?;
        made.ok_or_else(|| Error::Unsupported {
            what: format!("the plan \"{plan}\", which makes nothing,"),
            remedy: "report this as a bug of arraybridge".to_owned(),
        })
    }

    /// What was made, copied once more where the target can only own vectors and a device has
    /// downloaded into other memory.
    fn in_a_vector(&self, made: ManagedTensor, plan: &mut Plan) -> Result<ManagedTensor> {
        let fits = made.facts().ownership == Ownership::Movable;
        if !self.accepts.only_vectors || fits || !made.device().kind().is_host_accessible() {
            return Ok(made);
        }
        let mut vector = self.new_host_tensor(&made, made.data_type())?;
        self.lookup.registry()?.host_tools()?.copy(&made, &mut vector)?;
        plan.add_last_copy(made.layout().compact_bytes(made.data_type())? as u64);
        Ok(vector)
    }

    /// What a backend makes of `tensor` on a device, which is row-major, in the layout that the
    /// target takes: for a column-major one the axes are reversed before and after.
    fn on_device(
        &self,
        tensor: ManagedTensor,
        make: impl FnOnce(&ManagedTensor) -> Result<ManagedTensor>,
    ) -> Result<ManagedTensor> {
        // Packed elements have row-major strides only.
        let packed = tensor.data_type().size_in_bytes().is_none();
        if packed || self.accepts.layout != LayoutRule::ColumnMajor {
            return make(&tensor);
        }
        let reversed: Vec<usize> = (0..tensor.layout().rank()).rev().collect();
        Ok(make(&tensor.permuted(&reversed)?)?.permuted(&reversed)?)
    }

    /// Memory for a copy of `source` that the target can take over. Its elements are not
    /// initialized: the host tools promise to write them all.
    fn new_host_tensor(
        &self,
        source: &ManagedTensor,
        data_type: crate::DataType,
    ) -> Result<ManagedTensor> {
        let layout = self.accepts.layout.compact(source.shape())?;
        let bytes = layout.compact_bytes(data_type)?;
        // The element's own alignment, if that is enough: then a vector can own the copy later.
        let alignment = self.accepts.alignment_for(data_type);
        let memory = HostMemory::allocate(bytes, alignment)?;
        // SAFETY: both callers hand the tensor to `HostTools`, whose safety contract is that every
        // element is written when it returns `Ok`; when it returns an error the tensor is dropped
        // unread.
        unsafe { ManagedTensor::from_host_memory(memory, TensorSpec { data_type, layout }) }
            .map_err(Error::from)
    }
}

/// The plan, or the refusal to copy, with one more way declined.
fn with_declined(plan: Result<Plan>, more: Declined) -> Result<Plan> {
    match plan {
        Ok(mut plan) => {
            plan.declined.push(more);
            Ok(plan)
        }
        Err(Error::WouldCopy { target, mut declined }) => {
            declined.push(more);
            Err(Error::WouldCopy { target, declined })
        }
        Err(error) => Err(error),
    }
}

/// The tensor that all steps only borrowed.
fn sole(source: SharedTensor) -> ManagedTensor {
    source.try_unwrap().unwrap_or_else(|_| unreachable!("no step keeps an alias of its source"))
}

/// Whether an array already is what the options ask for.
pub(crate) fn stays(found: &Description, options: &Options) -> bool {
    options.copy_policy() != Copy::Always
        && options.device().is_none_or(|device| device == found.device)
        && options.data_type().is_none_or(|data_type| data_type == found.data_type)
}
