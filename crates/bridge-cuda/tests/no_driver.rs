//! On a machine without a driver the backend says so, and every law that needs none holds.

use bridge_core::{Availability, Backend, Unavailable};
use bridge_cuda::Cuda;
use bridge_testkit::conformance::{Verdict, check, law_names};

#[test]
fn without_a_driver_nothing_crashes() {
    let Availability::Unavailable(Unavailable { reason, remedy }) = Cuda.availability() else {
        return; // This machine has one.
    };
    assert!(!reason.is_empty() && !remedy.is_empty());
    for law in law_names() {
        let verdict = check(&Cuda, &[], law);
        assert!(!matches!(verdict, Verdict::Broken { .. }), "{law}: {verdict}");
    }
}
