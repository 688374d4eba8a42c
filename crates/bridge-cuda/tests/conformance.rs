//! The laws of every backend. They run on the real driver where there is a device, else on the
//! simulated one.

mod support;

bridge_testkit::conformance!(*support::cuda());
