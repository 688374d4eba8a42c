//! A tensor that is safe to hold, whoever made it: DLPack's words as Rust types, layout algebra,
//! and the C structs of DLPack checked field by field.
//!
//! This crate is useful alone, to hand tensors over a C interface in either direction. It knows no
//! framework: `bridge-core` builds backends on it.
//!
//! - **Words**: [`DataType`], [`Device`], [`Layout`], [`TensorSpec`], [`Access`], [`Stream`].
//! - **The tensor**: [`ManagedTensor`], owned and checked; [`SharedTensor`] where several hold it;
//!   [`TensorView`] of what somebody else keeps; [`Description`] of what it is.
//! - **Host memory**: [`HostMemory`], an allocation that a `Vec` can own and that never aborts.
//! - **The C interface**: [`dlpack`], with [`ManagedTensor::from_dlpack`] and
//!   [`ManagedTensor::into_dlpack`].
//! - **Failing**: [`Error`] says why, [`Refused`] gives the input back.
//!
//! ```
//! use bridge_tensor::{DataType, ManagedTensor};
//!
//! let tensor = ManagedTensor::from_vec(vec![1_u8, 2, 3, 4, 5, 6], &[2, 3])?;
//! let transposed = tensor.permuted(&[1, 0])?;
//!
//! let raw = transposed.into_dlpack(); // for a C function to take over
//! // SAFETY: the pointer was made just now, and nobody else has it.
//! let back = unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) }?;
//! assert_eq!((back.shape(), back.data_type()), (&[3, 2][..], DataType::U8));
//! # Ok::<(), bridge_tensor::Error>(())
//! ```
//!
//! # Threads and soundness
//!
//! A [`ManagedTensor`] is `Send` and `Sync`. Bytes become Rust values only where they are valid
//! values of the type: slices and vectors of `bool` check each byte. Writing through Rust needs
//! [`Access::Exclusive`]. Whoever makes a tensor of memory that others may write to makes that
//! promise in `unsafe` code: [`ManagedTensor::from_parts`] says which.

mod data_type;
mod device;
pub mod dlpack;
mod element;
mod error;
mod host_memory;
mod kept_pages;
mod large_pages;
mod layout;
mod refused;
mod tensor;

pub use data_type::{DataType, DataTypeError, TypeCode};
pub use device::{Device, DeviceError, DeviceKind};
pub use element::Element;
pub use error::{Error, Result};
pub use host_memory::HostMemory;
pub use layout::{Layout, MAX_RANK, Shape, Strides};
pub use refused::Refused;
pub use tensor::{
    Access, ConsumerStream, Description, Facts, ManagedTensor, Owner, Ownership, SharedTensor,
    Stream, TensorSpec, TensorView, alignment_of, vec_with_room,
};

/// The crates of the [`Element`] types that are not Rust's own, in the versions that are meant.
pub use {float8, half, num_complex};
