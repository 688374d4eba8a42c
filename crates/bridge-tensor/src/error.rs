//! What can go wrong with a tensor.

use crate::data_type::{DataType, DataTypeError};
use crate::device::{Device, DeviceError};

/// The result of a call that consumes nothing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed: what was asked, what was found, why it cannot be, and what to do.
///
/// Calls that consume a value return it inside [`Refused`](crate::Refused).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such element type.
    #[error(transparent)]
    DataType(#[from] DataTypeError),

    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),

    /// The shape, strides or offset describe no memory.
    #[error("the layout is not valid: {reason}")]
    InvalidLayout {
        /// What is wrong with it.
        reason: String,
    },

    /// A tensor from outside breaks the rules of DLPack.
    #[error("the tensor is not valid: {reason}")]
    InvalidTensor {
        /// What is wrong with it.
        reason: String,
    },

    /// The elements are of another type than the Rust type they were asked for as.
    #[error(
        "the elements are {found}, and were asked for as the Rust type {asked}: ask for the type \
         that {found} is, or cast the tensor first"
    )]
    WrongElementType {
        /// The Rust type asked for.
        asked: &'static str,
        /// The element type of the tensor.
        found: DataType,
    },

    /// The CPU cannot read the memory through its address, or not yet.
    #[error("{what} cannot be read on the CPU: {remedy}")]
    NotReadable {
        /// What was to be read.
        what: String,
        /// What to do.
        remedy: &'static str,
    },

    /// Memory was asked to be written that may only be read.
    #[error("{what} cannot be written: {reason}")]
    NotWritable {
        /// What was to be written.
        what: &'static str,
        /// Why not, and what to do.
        reason: &'static str,
    },

    /// The memory is not the allocation of a Rust vector, or not all of it.
    #[error("this tensor's memory cannot become a Rust vector: {reason}; copy it first")]
    NotAVector {
        /// Why not.
        reason: &'static str,
    },

    /// A size does not fit the address space.
    #[error("{what} does not fit the address space (at most {} bytes)", isize::MAX)]
    TooLarge {
        /// What was being sized.
        what: String,
    },

    /// Memory could not be had.
    #[error("out of memory on {device}: {requested} bytes could not be allocated")]
    OutOfMemory {
        /// Where.
        device: Device,
        /// Bytes asked for.
        requested: u64,
    },

    /// An argument is out of its range.
    #[error("{what} is {found}: {expected}")]
    InvalidArgument {
        /// The argument.
        what: &'static str,
        /// What was given.
        found: String,
        /// What is allowed.
        expected: String,
    },
}
