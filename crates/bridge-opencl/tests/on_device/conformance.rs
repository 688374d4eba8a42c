//! The conformance suite, on every OpenCL device of the machine.

bridge_testkit::conformance!(bridge_opencl::OpenCl);
