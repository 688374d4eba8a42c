//! The conformance suite on torch.

bridge_testkit::conformance!(bridge_torch::Torch);
