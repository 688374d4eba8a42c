//! Hands arrays from one framework to another in one process: without a copy where none is needed,
//! with a planned and reported copy where one is, and never with a silent change of element type,
//! device, mutability or ownership.
//!
//! # By type
//!
#![cfg_attr(all(feature = "ndarray", feature = "candle"), doc = "```")]
#![cfg_attr(not(all(feature = "ndarray", feature = "candle")), doc = "```ignore")]
//! use arraybridge::{Convert, DataType, Options, SharedArray};
//!
//! let array = ndarray::arr2(&[[1.0_f32, 2.0], [3.0, 4.0]]);
//! let tensor: candle_core::Tensor = array.convert()?;             // the vector changes its owner
//! let shared: SharedArray<f32> = tensor.convert()?;               // read in place
//! assert_eq!(shared.view()[[1, 0]], 3.0);
//!
//! let (halves, report) = shared
//!     .convert_reported::<candle_core::Tensor>(Options::default().cast(DataType::F16))?;
//! assert_eq!(halves.dtype(), candle_core::DType::F16);
//! assert_eq!(report.bytes_copied, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # By name
//!
#![cfg_attr(all(feature = "ndarray", feature = "candle"), doc = "```")]
#![cfg_attr(not(all(feature = "ndarray", feature = "candle")), doc = "```ignore")]
//! use arraybridge::{Array, ConvertByName, CopyPolicy, Options, Registry};
//!
//! let registry = Registry::global()?;
//! let array = Array::new(ndarray::arr1(&[1_i64, 2, 3]));
//! let options = Options::default().copy(CopyPolicy::Never);
//! println!("{}", registry.plan(&array, "candle", &options)?);
//! let tensor: candle_core::Tensor = registry.convert(array, "candle", options)?.downcast()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Programs to start from
//!
//! The crate's `examples` folder: `convert_by_type`, `convert_by_name`, `generic_function` (yours, over any two
//! frameworks), `many_arrays` (a batch that goes on after a failure, stacks, slices, counters) and `dlpack` (over a C
//! interface and back).
//!
//! # Memory
//!
//! [`memory`] has what a program needs that runs near the end of its memory: budgets that frameworks share, predictions,
//! pools, work in chunks, recovery from out of memory, and what tells where the memory went.
//!
//! # Crate features
//!
//! A feature adds a backend and changes nothing else.
//!
//! - `ndarray` (default): owned arrays and [`SharedArray`].
//! - `candle` (default): `candle_core::Tensor` on the CPU.
//! - `torch`: `tch::Tensor`, on the CPU and on CUDA devices; needs libtorch.
//! - `opencl`: `ClArray`, on the devices of every OpenCL platform; loaded at run time.
//! - `cuda`: `CudaArray` on NVIDIA GPUs. It needs nothing to build, and a driver to run.
//! - `plot`: pictures of what a [memory monitor](memory::profile) has seen; a backend it is not.
//!
//! Other crates add backends of their own: see `docs/writing-a-backend.md`.

pub use bridge_convert::{
    AndConvert, Batch, Convert, ConvertByName, Count, Counters, Erased, Observer, Peaks, Plan,
    Record, Report, Row, SliceMap, Stacker, Step, Steps, Watching, convert_all, convert_each,
    map_slices, observe, stack, unstack,
};
pub use bridge_core::{
    Absent, Accepts, Access, Admission, Allocator, Array, Availability, Backend, Capability,
    ConsumerStream, Converter, CopyPolicy, DataType, DataTypeError, Declined, Description,
    Descriptor, Detail, Device, DeviceBytes, DeviceError, DeviceKind, DeviceMemory, Disabled,
    Dlpack, Element, Error, Facts, Holdings, HostMemory, HostTools, Interrupt, Layout, LayoutRule,
    MAX_RANK, ManagedTensor, Mapping, MemorySource, NativeArray, NativeType, Options, Overflow,
    Owner, Ownership, Permit, Rank, Reason, Refused, Registration, Registry, Result, Runtime,
    Shape, SharedTensor, Stream, Strides, TensorError, TensorSpec, TensorView, TypeCode,
    Unavailable, alignment_of, dlpack, float8, half, inventory, num_complex, register,
};

#[cfg(feature = "ndarray")]
pub use bridge_cpu::ndarray::SharedArray;
#[cfg(feature = "cuda")]
pub use bridge_cuda::CudaArray;
#[cfg(feature = "opencl")]
pub use bridge_opencl::ClArray;

pub use bridge_macros::on;
#[doc(inline)]
pub use bridge_memory as memory;

/// Runs the examples of the attribute, whose own crate cannot.
#[cfg(all(doctest, feature = "ndarray"))]
#[doc = include_str!("../../bridge-macros/src/on.md")]
pub mod on_examples {}

// Naming a crate links its registrations.
use bridge_host as _;

mod absent;

/// The backend crates of the enabled features, each with what it has beside its array types.
///
/// They are a floor below the root, so that `use arraybridge::*` makes no name of a framework's
/// crate ambiguous.
pub mod backends {
    #[cfg(feature = "candle")]
    pub use bridge_cpu::candle;
    #[cfg(feature = "ndarray")]
    pub use bridge_cpu::ndarray;
    #[cfg(feature = "cuda")]
    pub use bridge_cuda as cuda;
    #[cfg(feature = "opencl")]
    pub use bridge_opencl as opencl;
    #[cfg(feature = "torch")]
    pub use bridge_torch as torch;
}

/// Registers every backend of the enabled features by hand: for Rust static libraries that a C
/// program links, where link-time registration does not work. Call it first thing.
///
/// # Errors
///
/// As [`bridge_core::register`].
pub fn register_all() -> Result<()> {
    register(absent::REGISTRATIONS)?;
    bridge_host::register_all()?;
    #[cfg(any(feature = "ndarray", feature = "candle"))]
    bridge_cpu::register_all()?;
    #[cfg(feature = "torch")]
    bridge_torch::register_all()?;
    #[cfg(feature = "opencl")]
    bridge_opencl::register_all()?;
    #[cfg(feature = "cuda")]
    bridge_cuda::register_all()?;
    Ok(())
}
