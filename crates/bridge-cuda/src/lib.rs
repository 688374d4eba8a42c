//! The arraybridge backend for CUDA: device arrays over [`cudarc`], with streams, staged copies,
//! peer copies, and kernels for strided copies and casts.
//!
//! Nothing of CUDA is needed to build it. At run time the NVIDIA driver is loaded if there is one;
//! where there is none, or it is too old, or it has no device, the backend is
//! [`Unavailable`](bridge_core::Availability), with the reason and what to do.
//!
//! **It has not run on hardware yet.** Everything is tested against a simulated driver, which runs
//! streams late and out of order, injects faults and checks every access; the kernels are compiled
//! for the CPU there. `docs/cuda.md` is the guide.
//!
//! ```no_run
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

mod allocate;
mod array;
mod backend;
mod block;
mod buffers;
mod cast;
mod consumer;
mod current;
mod details;
mod download;
mod driver;
mod event;
mod failure;
mod gather;
mod gpu;
mod home;
mod hot_casts;
mod import;
mod kernel_module;
mod kernel_ptx;
mod kernel_source;
mod kernels;
mod launch;
mod loops;
mod managed;
mod mapping;
mod number;
mod nvrtc;
mod on_device;
mod peer;
mod pending;
mod pinned;
mod pointer;
mod pool;
mod slabs;
mod slice;
mod staging;
mod stream;
mod transfer;
mod upload;

pub use array::CudaArray;
pub use backend::Cuda;
use bridge_core::Registration;

pub use consumer::ConsumerStream;
pub use cudarc;
pub use managed::managed;
pub use pending::Pending;
pub use pinned::pinned;
pub use staging::release_staging;
pub use stream::{new_stream, on_stream, thread_stream, wrap_stream};

/// What this crate adds to the registry when it is linked.
pub const REGISTRATIONS: [Registration; 3] =
    [Registration::backend(&Cuda), Registration::runtime(&Cuda), Registration::allocator(&Cuda)];

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
