//! The words, traits, registry and planner of arraybridge.
//!
//! This crate names things and decides; it holds no framework and no kernel. A backend crate
//! depends on it alone, implements [`NativeArray`] for a framework's array types and [`Backend`]
//! for a unit struct, and registers the struct; every program that links both can then convert.
//!
//! - **Words**: [`DataType`], [`Device`], [`Layout`], [`TensorSpec`], [`Access`].
//! - **The currency**: [`ManagedTensor`], an owned and checked DLPack tensor; [`dlpack`] is the door
//!   to the C structs.
//! - **Arrays**: [`NativeArray`] with its type, [`Array`] without.
//! - **Conversion**: [`Convert`] by type, [`Registry::convert`] by name, under [`Options`]; a
//!   [`Plan`] before, a [`Report`] after, an [`Observer`] during.
//! - **Many arrays**: [`convert_all`], [`stack`], [`unstack`], [`map_slices`].
//! - **Failing**: [`Error`] says why, [`Refused`] gives the input back.
//!
//! # Threads and soundness
//!
//! A [`ManagedTensor`] is `Send` and `Sync`. Frameworks that let several tensors write to one memory
//! (torch's in-place methods, candle's `inplace_op`) keep doing so behind a shared conversion: whoever
//! holds both sides must not write through one while a Rust slice or view of the other is alive.
//! [`Copy::Always`] makes sides that share nothing.

mod accepts;
mod array;
mod backend;
mod batch;
mod by_name;
mod convert;
mod converter;
mod data_type;
mod device;
pub mod dlpack;
mod dlpack_backend;
mod element;
mod error;
mod host_memory;
mod host_tools;
mod kept_pages;
mod large_pages;
mod layout;
mod native;
mod observe;
mod options;
mod plan;
mod registry;
mod report;
mod route;
mod stack;
mod tensor;

pub use accepts::{Accepts, LayoutRule};
pub use array::Array;
pub use backend::{Availability, Backend, Descriptor, Detail, DeviceMemory, Mapping};
pub use batch::{BatchRefused, convert_all};
pub use convert::{Convert, Erased};
pub use converter::Converter;
pub use data_type::{DataType, TypeCode};
pub use device::{Device, DeviceKind};
pub use dlpack_backend::Dlpack;
pub use element::Element;
pub use error::{Error, Refused, Result};
pub use host_memory::HostMemory;
pub use host_tools::HostTools;
pub use layout::{Layout, MAX_RANK, Shape, Strides};
pub use native::{NativeArray, NativeType};
pub use observe::{Count, Counters, Observer, Record, Row, Watching, observe};
pub use options::{Copy, Options, Overflow};
pub use plan::{Declined, Description, Ownership, Plan, Reason, Step, Steps};
pub use registry::{Registration, Registry, register};
pub use report::Report;
pub use stack::{Stacker, map_slices, stack, unstack};
pub use tensor::{Access, ManagedTensor, Owner, SharedTensor, Stream, TensorSpec, alignment_of};

/// What a backend crate submits its [`Registration`] with.
pub use inventory;

/// The crates of the [`Element`] types that are not Rust's own, in the versions that are meant.
pub use {float8, half, num_complex};
