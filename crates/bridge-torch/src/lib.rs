//! The backend for libtorch: [`tch::Tensor`] in and out, on the CPU and on CUDA devices.
//!
//! # Without a copy
//!
//! Into torch: every tensor in host or CUDA memory that may be written, of an element type that
//! torch has, with any strides but negative ones. libtorch keeps the owner of the memory and drops it
//! once, on whichever thread the last alias goes: views and tensors saved for backward keep it alive
//! too. Out of torch: every plain tensor. For others the error names the call that helps: `detach()`,
//! `resolve_conj()`, `to_dense()`.
//!
//! A tensor that is the only handle of its memory is handed over whole, and Rust may write it. While
//! other handles exist, the memory is [`Access::Shared`](bridge_core::Access::Shared): it stays valid
//! and in place whatever they do, and safe Rust gets no view of it. `docs/soundness.md` has the rules.
//!
//! ```
//! use bridge_convert::Convert;
//! use bridge_core::ManagedTensor;
//! use bridge_torch as _;
//!
//! let tensor = ManagedTensor::from_vec(vec![1_f32, 2.0, 3.0, 4.0], &[2, 2])?;
//! let torch: tch::Tensor = tensor.convert()?;
//! assert_eq!(torch.sum(tch::Kind::Float).double_value(&[]), 10.0);
//!
//! let transposed: ManagedTensor = torch.tr().convert()?;
//! assert_eq!(transposed.layout().strides(), [1, 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! torch ignores that memory is read-only, so such memory is copied, unless the caller promises with
//! [`Options::ignore_read_only`](bridge_core::Options::ignore_read_only).
//!
//! # Threads
//!
//! `tch::Tensor` is `Send` and not `Sync`: a tensor moves to another thread, and no two threads use
//! one handle at once. Two handles of one storage are not kept apart: as in torch itself, whoever
//! writes through one while another thread reads has to order the two.
//!
//! # Setting up
//!
//! libtorch is found as torch-sys finds it: `LIBTORCH=/its/folder`, or `LIBTORCH_USE_PYTORCH=1` with
//! the Python that has PyTorch first on `PATH`. Programs find it when they run if their package says
//! so in a build script of three lines. `docs/torch.md` has both, the table of element types and
//! the versions of tch and libtorch that fit each other.
//!
//! A program registers the backend by naming the crate once, `use bridge_torch as _;`, or by calling
//! [`register_all`].

mod allocator;
mod backend;
mod data_types;
mod devices;
mod errors;
mod guest_runtime;
mod obstacles;
mod shim;
mod streams;
mod tensor;

pub use allocator::{CachedMemory, cached_memory};
pub use backend::Torch;

use bridge_core::Registration;

/// What this crate adds to the registry when it is linked.
pub const REGISTRATIONS: [Registration; 3] =
    [Registration::backend(&Torch), Registration::runtime(&Torch), Registration::allocator(&Torch)];

bridge_core::inventory::submit! { REGISTRATIONS[0] }
bridge_core::inventory::submit! { REGISTRATIONS[1] }
bridge_core::inventory::submit! { REGISTRATIONS[2] }

/// Registers the backend by hand, where link-time registration does not work: for a Rust static
/// library in a C program.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&REGISTRATIONS)
}
