//! The arraybridge backend for CUDA: device arrays over [`cudarc`], with streams, staged copies,
//! peer copies, and kernels for strided copies and casts.
//!
//! Building it needs nothing of CUDA. At run time the NVIDIA driver is loaded if there is one; where
//! there is none, or it is too old, or finds no device, the backend is
//! [`Unavailable`](bridge_core::Availability), with the reason and what to do.
//!
//! **It has not run on hardware yet.** Everything is tested on a simulated driver, which runs streams
//! late and out of order, injects faults and checks every access; the kernels are compiled for the CPU
//! there. `docs/cuda.md` is the guide.
//!
//! ```no_run
//! use bridge_convert::ConvertByName;
//! use bridge_core::{Array, DataType, Device, ManagedTensor, Options, Registry};
//! use bridge_cuda::CudaArray;
//!
//! let host = Array::new(ManagedTensor::from_vec(vec![1.0_f32, 2.0, 3.0], &[3])?);
//! let options = Options::default().on(Device::cuda(0)).cast(DataType::BF16);
//! let array: CudaArray = Registry::global()?.convert(host, "cuda", options)?.downcast()?;
//! assert_eq!(array.device(), Device::cuda(0));
//! # Ok::<(), bridge_core::Error>(())
//! ```
//!
//! A program registers the backend by naming the crate once, `use bridge_cuda as _;`, or, where
//! link-time registration does not work (a Rust static library in a C program), by calling
//! [`register_all`].
//!
//! Inside, each folder uses only those before it in this list: `context` (the primary context of a GPU),
//! `kernels` (loading and launching them), `gpu` (a GPU with its streams, events and memory pool),
//! `driver` (which GPUs there are), `streams` (the order of work), `memory` (blocks and new tensors),
//! `transfer` (copies), `cast`, `array` ([`CudaArray`]); then the [`Cuda`] backend.

mod array;
mod backend;
mod cast;
mod context;
mod details;
mod driver;
mod gpu;
mod kernels;
mod memory;
mod native_array;
mod streams;
mod transfer;

pub use array::CudaArray;
pub use backend::Cuda;
pub use bridge_core::ConsumerStream;
use bridge_core::Registration;
pub use cudarc;
pub use driver::pointer::device_at;
pub use memory::managed::managed;
pub use memory::pinned::pinned;

pub use streams::choice::{new_stream, on_stream, thread_stream, wrap_stream};
pub use streams::pending::Pending;
pub use transfer::staging::release_staging;

/// What this crate adds to the registry when it is linked.
pub const REGISTRATIONS: [Registration; 3] =
    [Registration::backend(&Cuda), Registration::runtime(&Cuda), Registration::allocator(&Cuda)];

bridge_core::inventory::submit! { REGISTRATIONS[0] }
bridge_core::inventory::submit! { REGISTRATIONS[1] }
bridge_core::inventory::submit! { REGISTRATIONS[2] }

/// Registers the backend where link-time registration does not work.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> bridge_core::Result<()> {
    bridge_core::register(&REGISTRATIONS)
}
