//! Panics in code that a conversion calls.

use bridge_convert::ConvertByName;
use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bridge_convert::{Observer, Record, observe};
use bridge_core::{
    Array, Converter, CopyPolicy, Description, Error, NativeType, Options, Refused, Registration,
    Registry,
};

use super::cases::{Case, Expected, Wanted, for_each_case, natives_by_name};
use super::outcome::{Check, Findings, ensure};
use super::subject::{Subject, exported};
use crate::samples::{Backing, Sample};

const COUNTED: Wanted =
    Wanted { every_arrangement: false, backings: &[Backing::RustOwner, Backing::ForeignDeleter] };

pub(super) fn panics_drop_owners_once(subject: &Subject, findings: &mut Findings) {
    let Some(devices) = subject.devices_or_report(findings) else {
        return;
    };
    for (native, data_type) in natives_by_name(subject) {
        for_each_case(&devices, &[native], &COUNTED, |case| {
            if case.data_type != data_type {
                return;
            }
            findings.case(format!("{case}, an observer panics"), || {
                let watching = observe(Arc::new(PanickingObserver));
                let checked = panicking(subject, &case, &subject.registry, CopyPolicy::IfNeeded);
                drop(watching);
                checked
            });
            findings.case(format!("{case}, a converter panics"), || {
                let registry = subject.registry_with(&[shortcut(subject, native, Mood::Panics)]);
                panicking(subject, &case, &registry, CopyPolicy::Always)
            });
            findings.case(format!("{case}, a converter refuses"), || {
                let registry = subject.registry_with(&[shortcut(subject, native, Mood::Refuses)]);
                general_way(subject, &case, &registry)
            });
        });
    }
}

struct PanickingObserver;

impl Observer for PanickingObserver {
    fn converted(&self, _: &Record<'_>) {
        std::panic::resume_unwind(Box::new("an observer's panic"));
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Panics,
    Refuses,
}

/// A shortcut from a plain tensor to the backend that does not work.
struct Shortcut {
    target: &'static str,
    target_type: TypeId,
    mood: Mood,
}

fn shortcut(subject: &Subject, native: &NativeType, mood: Mood) -> Registration {
    // A registry holds converters for the life of the program; this one is a few bytes, which stay
    // reachable, so that no tool takes them for lost.
    static MADE: Mutex<Vec<&Shortcut>> = Mutex::new(Vec::new());
    let (target, target_type) = (subject.name, native.type_id());
    let shortcut: &'static Shortcut = Box::leak(Box::new(Shortcut { target, target_type, mood }));
    MADE.lock().unwrap_or_else(PoisonError::into_inner).push(shortcut);
    Registration::converter(shortcut)
}

impl Converter for Shortcut {
    fn source(&self) -> &'static str {
        "dlpack"
    }

    fn target(&self) -> &'static str {
        self.target
    }

    fn target_type(&self) -> TypeId {
        self.target_type
    }

    fn name(&self) -> &'static str {
        "a shortcut that fails"
    }

    fn applies(&self, _: &Description, _: &Options) -> bool {
        true
    }

    fn convert(&self, array: Array, _: &Options) -> Result<Array, Refused<Array>> {
        if self.mood == Mood::Panics {
            // Unwinds without the panic hook, which would print.
            std::panic::resume_unwind(Box::new("a converter's panic"));
        }
        let error = Error::Unsupported { what: "this shortcut".to_owned(), remedy: String::new() };
        Err(Refused::new(array, error))
    }
}

fn panicking(subject: &Subject, case: &Case, registry: &Registry, copy: CopyPolicy) -> Check {
    let Some(Sample { tensor, drops: Some(drops), .. }) = case.sample(subject)? else {
        return Ok(());
    };
    let array = Array::new(tensor);
    let options = Options::default().copy(copy);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        drop(registry.convert(array, subject.name, options));
    }));
    ensure(unwound.is_err(), || "the panic was swallowed".to_owned())?;
    let times = drops.drops();
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}

fn general_way(subject: &Subject, case: &Case, registry: &Registry) -> Check {
    let Some(sample) = case.sample(subject)? else {
        return Ok(());
    };
    let expected = Expected::of(&sample);
    let options = Options::default().copy(CopyPolicy::Always);
    let array = registry
        .convert(Array::new(sample.tensor), subject.name, options)
        .map_err(|refused| format!("the general way was not taken: {refused}"))?;
    expected.check(subject, &exported(array)?)?;
    let times = sample.drops.map_or(1, |drops| drops.drops());
    ensure(times == 1, || format!("the owner was dropped {times} times, not once"))
}
