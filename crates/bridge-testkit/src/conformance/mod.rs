//! The laws of a backend, checked against what it declares.
//!
//! | law | what it asks |
//! | --- | --- |
//! | `descriptor_is_sane` | lower-case names, no clash, sensible limits; the registry finds it |
//! | `availability_is_quick_and_stable` | a question, not a crash; devices of declared kinds |
//! | `unavailable_is_an_error_not_a_crash` | every call says why, and the input comes back |
//! | `accepted_tensors_are_taken_without_a_copy` | each element type, arrangement, owner |
//! | `other_tensors_come_back_unharmed` | refused, same memory, not dropped |
//! | `exports_are_taken_back` | `import(export(a))` is the same memory |
//! | `describe_says_what_export_gives` | field by field |
//! | `conversions_keep_every_bit` | `CopyPolicy::IfNeeded`, from every arrangement |
//! | `copy_never_shares_or_gives_back` | `CopyPolicy::Never` |
//! | `copy_always_shares_nothing` | `CopyPolicy::Always` |
//! | `casts_happen_on_request_only` | no silent cast, advice that works, exact values |
//! | `unknown_devices_are_refused` | the error lists what there is, the array comes back |
//! | `device_routes_are_exact` | up, down, between devices, on one, from another backend's |
//! | `memory_used_in_place_comes_back` | `mapping` and `map` agree; owner and access stay |
//! | `read_only_stays_read_only` | no writable view of read-only memory |
//! | `shared_memory_is_never_called_exclusive` | aliases, broadcasts, foreign memory |
//! | `owners_are_dropped_once` | success, refusal, DLPack out and in, another thread |
//! | `panics_drop_owners_once` | a panic in an observer or a converter |
//! | `arrays_outlive_their_source` | the source handle goes first |
//! | `threads_convert_at_once` | eight of them |
//! | `stacks_come_apart_again` | `stack`, `unstack`, `map_slices`, `convert_all` |
//! | `memory_is_zeroed_and_measured` | `Allocator`: zeros, out of memory, usage, trim |
//! | `results_are_ready_when_they_say_so` | streams, `synchronize`, reading in place |
//! | `dlpack_headers_tell_the_truth` | device, places, flags; one header for each export |
//! | `bytes_that_are_no_bool_stay_bytes` | refused or carried, never a Rust `bool` |
//!
//! Where a backend is unavailable, the laws that need it are reported as such, with the reason.

mod accepting;
mod availability;
mod bools;
mod cases;
mod casts;
mod descriptor;
mod devices;
mod headers;
mod lifetime;
mod many;
mod memory;
mod outcome;
mod panics;
mod policies;
mod read_only;
mod round_trip;
mod subject;
mod threads;
mod waiting;

use std::io::Write;

use bridge_core::{Backend, Registration};

pub use outcome::{Outcome, Verdict};

use outcome::Findings;
use subject::Subject;

/// Hands the names of all laws to a macro of this crate, after what was given.
#[macro_export]
#[doc(hidden)]
macro_rules! with_every_law {
    ($then:ident { $($given:tt)* }) => {
        $crate::$then! {
            { $($given)* }
            descriptor_is_sane
            availability_is_quick_and_stable
            unavailable_is_an_error_not_a_crash
            accepted_tensors_are_taken_without_a_copy
            other_tensors_come_back_unharmed
            exports_are_taken_back
            describe_says_what_export_gives
            conversions_keep_every_bit
            copy_never_shares_or_gives_back
            copy_always_shares_nothing
            casts_happen_on_request_only
            unknown_devices_are_refused
            device_routes_are_exact
            memory_used_in_place_comes_back
            read_only_stays_read_only
            shared_memory_is_never_called_exclusive
            owners_are_dropped_once
            panics_drop_owners_once
            arrays_outlive_their_source
            threads_convert_at_once
            stacks_come_apart_again
            memory_is_zeroed_and_measured
            results_are_ready_when_they_say_so
            dlpack_headers_tell_the_truth
            bytes_that_are_no_bool_stay_bytes
        }
    };
}

/// Makes one `#[test]` of every [law](mod@crate::conformance) for a backend: a unit struct or a static.
///
/// ```
/// bridge_testkit::conformance!(
///     bridge_testkit::fake_accelerator::FakeAccelerator,
///     bridge_testkit::fake_accelerator::REGISTRATIONS
/// );
/// ```
///
/// The tests are named after the laws; for two backends in one file, put each in a module.
#[macro_export]
macro_rules! conformance {
    ($backend:expr) => {
        $crate::conformance!($backend, &[]);
    };
    ($backend:expr, $registrations:expr) => {
        $crate::with_every_law!(__conformance_tests { $backend, $registrations });
    };
}

/// One test a law.
#[macro_export]
#[doc(hidden)]
macro_rules! __conformance_tests {
    ({ $backend:expr, $registrations:expr } $($law:ident)*) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::assert_law(&$backend, $registrations, stringify!($law));
            }
        )*
    };
}

/// A law's name and how it is checked.
#[macro_export]
#[doc(hidden)]
macro_rules! __law_table {
    ({} $($law:ident)*) => {
        const LAWS: &[Law] = &[$(Law { name: stringify!($law), check: laws::$law }),*];
    };
}

struct Law {
    name: &'static str,
    check: fn(&Subject, &mut Findings),
}

/// The functions behind the laws, under their names.
mod laws {
    pub(super) use super::accepting::{
        accepted_tensors_are_taken_without_a_copy, other_tensors_come_back_unharmed,
    };
    pub(super) use super::availability::{
        availability_is_quick_and_stable, unavailable_is_an_error_not_a_crash,
    };
    pub(super) use super::bools::bytes_that_are_no_bool_stay_bytes;
    pub(super) use super::casts::casts_happen_on_request_only;
    pub(super) use super::descriptor::descriptor_is_sane;
    pub(super) use super::devices::{
        device_routes_are_exact, memory_used_in_place_comes_back, unknown_devices_are_refused,
    };
    pub(super) use super::headers::dlpack_headers_tell_the_truth;
    pub(super) use super::lifetime::{arrays_outlive_their_source, owners_are_dropped_once};
    pub(super) use super::many::stacks_come_apart_again;
    pub(super) use super::memory::memory_is_zeroed_and_measured;
    pub(super) use super::panics::panics_drop_owners_once;
    pub(super) use super::policies::{
        conversions_keep_every_bit, copy_always_shares_nothing, copy_never_shares_or_gives_back,
    };
    pub(super) use super::read_only::{
        read_only_stays_read_only, shared_memory_is_never_called_exclusive,
    };
    pub(super) use super::round_trip::{describe_says_what_export_gives, exports_are_taken_back};
    pub(super) use super::threads::threads_convert_at_once;
    pub(super) use super::waiting::results_are_ready_when_they_say_so;
}

with_every_law!(__law_table {});

/// The names of all laws, in the order they are checked in.
pub fn law_names() -> impl Iterator<Item = &'static str> {
    LAWS.iter().map(|law| law.name)
}

/// Checks every law of a backend, together with what else is linked into the program. `more` is
/// what belongs to the backend and is not linked: its runtime, its allocator.
pub fn check_all<B: Backend>(backend: &'static B, more: &[Registration]) -> Outcome {
    let subject = Subject::new(backend, more);
    let verdicts = LAWS.iter().map(|law| (law.name, verdict(law, &subject)));
    Outcome { backend: subject.name, verdicts: verdicts.collect() }
}

/// Checks one law of a backend, as [`check_all`].
///
/// # Panics
///
/// Where there is no law of this name.
pub fn check<B: Backend>(backend: &'static B, more: &[Registration], law: &str) -> Verdict {
    verdict(law_named(law), &Subject::new(backend, more))
}

/// Checks one law and fails the test where it is broken. Where the backend is unavailable, says so
/// on the standard error, also when the test harness captures output.
///
/// # Panics
///
/// Where the law is broken, naming each case and what was found; where there is no such law.
pub fn assert_law<B: Backend>(backend: &'static B, more: &[Registration], law: &str) {
    match check(backend, more, law) {
        Verdict::Kept { .. } => {}
        Verdict::Unavailable { reason, remedy } => {
            let name = backend.descriptor().name;
            let line = format!("{law}: \"{name}\" is unavailable: {reason}; {remedy}");
            assert!(!crate::is_required(name), "{line}");
            // A test must not fail for want of a terminal.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        broken @ Verdict::Broken { .. } => panic!("{law}: {broken}"),
    }
}

fn law_named(name: &str) -> &'static Law {
    let known = LAWS.iter().find(|law| law.name == name);
    known.unwrap_or_else(|| panic!("there is no law \"{name}\""))
}

fn verdict(law: &Law, subject: &Subject) -> Verdict {
    let mut findings = Findings::default();
    (law.check)(subject, &mut findings);
    findings.verdict()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_has_every_law_once_and_in_order() {
        let lines = include_str!("mod.rs").lines();
        let rows = lines.filter_map(|line| line.strip_prefix("//! | `"));
        let laws: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(laws, super::law_names().collect::<Vec<_>>());
    }
}
