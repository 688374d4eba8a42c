//! Carrying out a conversion: the one machine under typed and named conversion.

use std::any::TypeId;

use bridge_core::{
    Accepts, Admission, Array, Converter, CopyPolicy, Declined, Description, Device, DeviceBytes,
    Error, ManagedTensor, Mapping, Options, Permit, Reason, Refused, Registry, Result, Runtime,
    SharedTensor, broken_law,
};

use crate::copies::Copies;
use crate::observe;
use crate::plan::{Plan, Step, Workers, fits};
use crate::report::Report;

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
    /// Its name, for errors.
    pub(crate) type_name: fn() -> &'static str,
    pub(crate) options: &'a Options<'a>,
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
    pub(crate) fn registry(self) -> Result<&'a Registry> {
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
            return Ok(Plan::of_one_step(self.source, self.target, Step::Share));
        }
        if let Some(asked) = self.options.device()
            && !self.accepts.is_on(asked.kind())
            && let Ok(target) = self.lookup.registry().and_then(|all| all.backend(self.target))
        {
            return Err(target.lacks(asked));
        }
        let mut plan = self.plan_of_copies(found, self.options);
        if matches!(&plan, Ok(plan) if plan.declined.is_empty()) {
            return plan;
        }
        self.map_instead(found, &mut plan);
        let copies = match &plan {
            Ok(plan) => !plan.is_zero_copy(),
            Err(error) => matches!(error, Error::WouldCopy { .. }),
        };
        if copies && let Some(converter) = self.shortcut(found) {
            let declined = plan.map(|plan| plan.declined).unwrap_or_default();
            let ends = ((self.source, found), (self.target, self.accepts));
            return Plan::shortcut(ends.0, ends.1, converter, self.options, declined);
        }
        plan
    }

    /// The general plan. What a device cannot cast is cast on the host.
    fn plan_of_copies(&self, found: &Description, options: &Options) -> Result<Plan> {
        let ends = ((self.source, found), (self.target, self.accepts));
        let mut plan = Plan::without_peaks(ends.0, ends.1, options);
        match &mut plan {
            Ok(plan) if plan.declined.is_empty() => {}
            Ok(plan) => {
                self.cast_where_it_can_be(found, plan, options)?;
                let registry = self.lookup.registry().ok();
                plan.find_peaks(found, &Workers::of(options, self.accepts, registry))?;
            }
            Err(error) => self.name_the_type(error),
        }
        plan
    }

    fn cast_where_it_can_be(
        &self,
        found: &Description,
        plan: &mut Plan,
        options: &Options,
    ) -> Result<()> {
        let Some((on, to)) = plan.cast_on_a_device(found.device) else { return Ok(()) };
        let runtime = self.lookup.registry()?.runtime(on)?;
        if !runtime.casts(found.data_type, to, options.overflow_rule()) {
            plan.cast_on_the_host(found, to)?;
        }
        Ok(())
    }

    /// Puts the Rust type in place of the backend's name, where it is the type that is too narrow.
    #[cold]
    fn name_the_type(&self, error: &mut Error) {
        let narrow = self.accepts.data_types().len() == 1;
        match error {
            Error::UnsupportedDataType { target, .. } if narrow => *target = (self.type_name)(),
            Error::UnsupportedShape { target, .. } => *target = (self.type_name)(),
            _ => {}
        }
    }

    /// Plans without a copy, where the device is all that stands against one and can use the
    /// memory where it lies; where it cannot, the plan says why.
    fn map_instead(&self, found: &Description, plan: &mut Result<Plan>) {
        let declined = match plan {
            Ok(plan) => &mut plan.declined,
            Err(Error::WouldCopy { declined, .. }) => declined,
            Err(_) => return,
        };
        let &[Declined { reason: Reason::Device { from, to }, .. }] = declined.as_slice() else {
            return;
        };
        match self.runtime_between(from, to).map(|runtime| runtime.mapping(found, to)) {
            Ok(Mapping::Possible) => {
                let target = (self.target, self.accepts);
                *plan = Ok(Plan::mapped(self.source, target, Step::Map { from, to }));
            }
            Ok(Mapping::Declined(message)) => {
                let reason = Reason::NotMappable { message };
                declined.push(Declined { way: "map", reason });
            }
            Ok(Mapping::Never) | Err(_) => {}
        }
    }

    /// The runtime that answers for memory going between two devices.
    fn runtime_between(&self, from: Device, to: Device) -> Result<&'static dyn Runtime> {
        let side = if to.kind().is_host_accessible() { from } else { to };
        self.lookup.registry()?.runtime(side)
    }

    fn shortcut(&self, found: &Description) -> Option<&'static dyn Converter> {
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
        self.run_on(ends, ends.export(source)?)
    }

    /// As [`run`](Self::run), from where the source has been exported.
    #[inline]
    pub(crate) fn run_on<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
    ) -> Result<E::Target, Refused<E::Source>> {
        let mut tensor = self.awaited(ends, tensor)?;
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
        let tensor = self.awaited(ends, ends.export(source)?)?;
        self.run_exported(ends, tensor)
    }

    /// The tensor, ready: memory that the CPU reads in place is waited for, where a device may still be
    /// writing it.
    #[inline]
    fn awaited<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
    ) -> Result<ManagedTensor, Refused<E::Source>> {
        let device = tensor.device();
        if tensor.stream().is_none() || !device.kind().is_host_accessible() {
            return Ok(tensor);
        }
        let runtime = self.lookup.registry().and_then(|registry| registry.runtime(device));
        let waited = match runtime {
            Ok(runtime) => runtime.synchronize(device),
            // Where nobody can wait, the tensor says what its owner has to do.
            Err(error) => Err(tensor.require_host().err().map_or(error, Error::from)),
        };
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
        mut tensor: ManagedTensor,
    ) -> Result<(E::Target, Report), Refused<E::Source>> {
        let found = tensor.describe();
        let mut plan = match self.plan(&found) {
            Ok(plan) => plan,
            Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
        };
        let data_type = self.options.data_type().unwrap_or(found.data_type);
        let report = |plan| Report::of(plan, data_type, found.layout.shape());
        if plan.is_zero_copy() {
            match self.without_a_copy(ends, tensor, &plan, &found)? {
                Ok(target) => return Ok((target, report(plan))),
                Err(refused) => {
                    let (given_back, error) = refused.into_parts();
                    tensor = given_back;
                    let way = plan.steps.first().map_or("share", Step::name);
                    plan = match self.plan_after(&found, way, &error) {
                        Ok(plan) => plan,
                        Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
                    };
                }
            }
        }
        let source = tensor.into_shared();
        let made = self.lookup.registry().and_then(|registry| {
            Copies::new(registry, self.accepts, self.options, &source).make(&mut plan)
        });
        let made = made.and_then(|made| {
            let imported = ends.import(self.as_promised(made));
            imported.map_err(Refused::into_error)
        });
        match made {
            Ok(target) => Ok((target, report(plan))),
            Err(error) => Err(Refused::new(ends.restore(unshared(source)), error)),
        }
    }

    /// Does what a plan without a copy says. Where a backend refuses, the tensor comes back as it
    /// was, for the way with a copy.
    #[expect(clippy::type_complexity, reason = "the outer error ends the conversion")]
    fn without_a_copy<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
        plan: &Plan,
        found: &Description,
    ) -> Result<Result<E::Target, Refused<ManagedTensor>>, Refused<E::Source>> {
        match plan.steps.first() {
            Some(Step::Shortcut { .. }) => {
                let _admitted = match self.admit(&plan.peaks) {
                    Ok(admitted) => admitted,
                    Err(error) => return Err(Refused::new(ends.restore(tensor), error)),
                };
                match self.take_shortcut(ends, ends.restore(tensor), found) {
                    Ok(target) => Ok(Ok(target)),
                    Err(refused) => {
                        let (source, error) = refused.into_parts();
                        Ok(Err(Refused::new(ends.export(source)?, error)))
                    }
                }
            }
            Some(&Step::Map { from, to }) => Ok(self.map(ends, tensor, from, to)),
            _ => {
                let imported = ends.import(self.as_promised(tensor));
                Ok(imported.map_err(|refused| refused.map(ManagedTensor::restore_read_only)))
            }
        }
    }

    /// Hands memory over that another device uses where it lies.
    fn map<E: Ends>(
        &self,
        ends: &E,
        tensor: ManagedTensor,
        from: Device,
        to: Device,
    ) -> Result<E::Target, Refused<ManagedTensor>> {
        let runtime = match self.runtime_between(from, to) {
            Ok(runtime) => runtime,
            Err(error) => return Err(Refused::new(tensor, error)),
        };
        // What a runtime makes is no more writable than what it was given, whatever it says.
        let access = tensor.access();
        let mapped = runtime.map(tensor, to)?.limited_to(access);
        ends.import(self.as_promised(mapped)).map_err(|refused| {
            refused.map(|mapped| match runtime.map(mapped.restore_read_only(), from) {
                Ok(back) => back.limited_to(access),
                Err(kept) => broken_law(runtime.backend().name(), kept.error()),
            })
        })
    }

    /// The tensor, its read-only flag ignored where the target has none and the caller promised
    /// that nobody writes.
    fn as_promised(&self, tensor: ManagedTensor) -> ManagedTensor {
        if self.accepts.may_write_read_only() && self.options.ignores_read_only() {
            // SAFETY: `Options::ignore_read_only` has that promise.
            unsafe { tensor.ignore_read_only() }
        } else {
            tensor
        }
    }

    /// Room for what a shortcut takes, where somebody counts and it takes any.
    fn admit(&self, peaks: &[DeviceBytes]) -> Result<Option<Permit>> {
        if peaks.is_empty() {
            return Ok(None);
        }
        let registered = || Some(self.lookup.registry().ok()?.admission()? as &dyn Admission);
        let admission = self.options.admission().or_else(registered);
        admission.map(|admission| admission.admit(peaks)).transpose()
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
        if self.options.copy_policy() == CopyPolicy::Never {
            return Err(Error::WouldCopy { target: self.target, declined: vec![declined] });
        }
        let options = (*self.options).copy(CopyPolicy::Always);
        let mut plan = self.plan_of_copies(found, &options)?;
        plan.declined = vec![declined];
        Ok(plan)
    }
}

/// The tensor that all steps only borrowed.
fn unshared(source: SharedTensor) -> ManagedTensor {
    source.try_unwrap().unwrap_or_else(|_| unreachable!("no step keeps an alias of its source"))
}

/// Whether an array already is what the options ask for.
pub(crate) fn stays(found: &Description, options: &Options) -> bool {
    options.copy_policy() != CopyPolicy::Always
        && options.device().is_none_or(|device| device == found.device)
        && options.data_type().is_none_or(|data_type| data_type == found.data_type)
}
