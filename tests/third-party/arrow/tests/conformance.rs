//! The conformance suite, in one line.

bridge_testkit::conformance!(bridge_arrow::Arrow);
