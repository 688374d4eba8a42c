//! Registering the host tools with `bridge-core`.

use bridge_core::Registration;

use crate::host_kernels::HostKernels;

const HOST_TOOLS: Registration = Registration::host_tools(&HostKernels);

bridge_core::inventory::submit! { HOST_TOOLS }

/// Registers the host tools by hand, where link-time registration does not work.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&[HOST_TOOLS])
}
