//! The traits that a framework implements to take part in arraybridge, and the registry in which
//! every crate that is linked into a program adds itself.
//!
//! A crate that adds a backend depends on this one alone: it implements [`NativeArray`] for the
//! framework's array types and [`Backend`] for a unit struct, and registers the struct. Programs
//! that link it can then convert; the conversions themselves are in `bridge-convert`.
//!
//! - **Words**: those of [`bridge_tensor`], which are re-exported here.
//! - **A framework**: [`Backend`] with its [`Descriptor`] and [`Availability`], and its array types:
//!   [`NativeArray`], [`NativeType`], [`Accepts`]; [`Array`] where the type is known at run time.
//! - **What it can do on a device**: [`Runtime`] moves, copies and casts, [`Allocator`] holds memory,
//!   and a [`Capability`] is anything else that a crate wants found by a backend's name.
//! - **Around conversions**: [`Converter`], a shortcut between two backends; [`HostTools`], the copy
//!   kernels; [`Admission`], who is asked before memory is taken; [`MemorySource`], where it comes from.
//! - **The registry**: [`Registry`], [`Registration`], [`register`]; [`Absent`], a backend that could be there.
//! - **Asking and failing**: [`Options`], [`Error`], [`Refused`]; [`Interrupt`], who may stop a long copy, and
//!   [`write_in_pieces`], which asks.

mod absent;
mod accepts;
mod admission;
mod allocator;
mod array;
mod availability;
mod backend;
mod capability;
mod converter;
mod declined;
mod descriptor;
mod dlpack_backend;
mod error;
mod host_tools;
mod interrupt;
mod layout_rule;
mod memory_source;
mod native;
mod options;
mod pieces;
mod registration;
mod registry;
mod runtime;

pub use absent::Absent;
pub use accepts::Accepts;
pub use admission::{Admission, DeviceBytes, Permit};
pub use allocator::{Allocator, DeviceMemory, Holdings};
pub use array::{Array, broken_law};
pub use availability::{Availability, Unavailable};
pub use backend::Backend;
pub use capability::Capability;
pub use converter::Converter;
pub use declined::{Declined, Reason};
pub use descriptor::{Descriptor, Detail};
pub use dlpack_backend::Dlpack;
pub use error::{Error, Refused, Result};
pub use host_tools::HostTools;
pub use interrupt::Interrupt;
pub use layout_rule::LayoutRule;
pub use memory_source::MemorySource;
pub use native::{NativeArray, NativeType};
pub use options::{CopyPolicy, Options, Overflow};
pub use pieces::{PIECE_BYTES, write_in_pieces};
pub use registration::Registration;
pub use registry::{Disabled, Registry, register};
pub use runtime::{Mapping, Rank, Runtime};

/// What can go wrong with a tensor: [`Error::Tensor`] holds it.
pub use bridge_tensor::Error as TensorError;
pub use bridge_tensor::{
    Access, ConsumerStream, DataType, DataTypeError, Description, Device, DeviceError, DeviceKind,
    Element, Facts, HostMemory, Layout, MAX_RANK, ManagedTensor, Owner, Ownership, Shape,
    SharedTensor, Stream, Strides, TensorSpec, TensorView, TypeCode, alignment_of, dlpack, float8,
    half, num_complex, vec_with_room, with_element_type,
};

/// What a crate submits its [`Registration`] with.
pub use inventory;
