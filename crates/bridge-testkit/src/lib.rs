//! The conformance suite for arraybridge backends, and the tools it is made of.
//!
//! A backend crate runs the whole suite with one line in an integration test:
//!
//! ```ignore
//! bridge_testkit::conformance!(MyBackend);
//! ```
//!
//! which makes one `#[test]` of every law, so that a broken one is reported by its name. What is
//! tried is read off what the backend declares: its element types, its [`Accepts`], its devices.
//! [`conformance::check_all`] runs the same laws and returns what they found.
//!
//! Miri finishes a law in seconds, as the suite then tries few element types, arrangements and sizes;
//! the environment variable `ARRAYBRIDGE_SMALL_SUITE` asks for that elsewhere.
//!
//! - [`samples`]: tensors with known elements in every [`Arrangement`](samples::Arrangement).
//! - [`bytes_of`] and [`assert_same_elements`]: what the elements of a tensor are, read naively.
//! - [`is_required`]: whether a test may pass without the devices it is for.
//! - [`growth`]: whether memory leaks.
//! - [`DropCounter`] and [`foreign::ForeignTensor`]: counting what must happen once.
//! - [`fail_each`] and [`failing_allocator`]: whether a call survives each of its allocations failing.
//! - [`vectors`]: a backend of the host whose arrays own vectors.
//! - [`fake_accelerator`]: a device without hardware, which fails on demand.
//!
//! The suite brings the host tools of `bridge-host` along, so a crate needs `bridge-core` and this
//! one only. Everything here is for tests, and panics where a test must fail.
//!
//! [`Accepts`]: bridge_core::Accepts

pub mod conformance;
mod counting;
mod effort;
mod fail_each;
pub mod failing_allocator;
pub mod fake_accelerator;
pub mod foreign;
pub mod forged;
mod oracle;
mod required;
#[cfg(target_os = "linux")]
mod resident;
pub mod samples;
mod values;
pub mod vectors;

pub use counting::{DropCounter, DropToken};
pub use fail_each::{Failures, fail_each};
pub use oracle::{assert_same_elements, bytes_of};
pub use required::is_required;
#[cfg(target_os = "linux")]
pub use resident::growth;
pub use values::small_number;
