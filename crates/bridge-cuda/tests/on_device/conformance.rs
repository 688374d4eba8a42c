//! The laws of every backend. They run on the real driver where there is a device, else on the
//! simulated one.

bridge_testkit::conformance!(*crate::support::cuda());
