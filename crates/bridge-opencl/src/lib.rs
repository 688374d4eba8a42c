//! The backend for OpenCL: [`ClArray`], over opencl3.
//!
//! OpenCL is loaded at run time; without it the backend is unavailable, and the error says what to
//! install. `docs/opencl.md` describes what is shared without a copy, how commands are ordered, and which
//! element types devices compute with.
//!
//! A program registers the backend by naming the crate once, `use bridge_opencl as _;`, or, where
//! link-time registration does not work (a Rust static library in a C program), by calling
//! [`register_all`].
//!
//! # Threads
//!
//! Everything here is `Send` and `Sync`, as OpenCL's objects are. The one call that is not safe to
//! make twice at once, setting a kernel's arguments, is made under a lock.

mod array;
mod backend;
mod buffer;
mod capabilities;
mod compute;
mod details;
mod device;
mod discovery;
mod enqueue;
mod event;
mod handle;
mod host_view;
mod hosted;
mod in_place;
mod info;
mod kernels;
mod memory;
mod native;
mod packing;
mod per_device;
mod queue;
mod region;
mod status;
mod streams;
mod svm;
mod transfer;
mod working_memory;
mod writing;

pub use array::ClArray;
pub use backend::OpenCl;
pub use capabilities::Capabilities;
pub use device::ClDevice;
pub use event::ClEvent;
pub use queue::ClQueue;

use bridge_core::Registration;

/// What this crate adds to the registry when it is linked.
pub const REGISTRATIONS: [Registration; 3] = [
    Registration::backend(&OpenCl),
    Registration::runtime(&OpenCl),
    Registration::allocator(&OpenCl),
];

bridge_core::inventory::submit! { REGISTRATIONS[0] }
bridge_core::inventory::submit! { REGISTRATIONS[1] }
bridge_core::inventory::submit! { REGISTRATIONS[2] }

/// Registers the backend by hand.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&REGISTRATIONS)
}
