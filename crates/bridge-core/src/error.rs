//! What can go wrong, and how a failed call gives its input back.

use std::fmt;

use crate::data_type::DataType;
use crate::device::Device;
use crate::plan::Declined;

/// The result of a call that consumes nothing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed: what was asked, what was found, why it cannot be, and what to do.
///
/// Calls that consume an array return it inside [`Refused`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No backend of this name is linked into the program.
    #[error("there is no backend \"{asked}\": {}", linked(available))]
    UnknownBackend {
        /// The name that was asked for.
        asked: String,
        /// The names of the backends that are linked.
        available: Vec<&'static str>,
    },

    /// Two linked backends claim the same name or alias.
    #[error(
        "two backends are both called \"{name}\" ({first} and {second}): link one of them, or \
         rename one"
    )]
    DuplicateBackend {
        /// The contested name or alias.
        name: &'static str,
        /// The Rust type of the backend that came first.
        first: &'static str,
        /// The Rust type of the backend that came second.
        second: &'static str,
    },

    /// Two linked converters serve the same pair.
    #[error("two converters both go from \"{source_name}\" to \"{target_name}\": link one of them")]
    DuplicateConverter {
        /// The source backend.
        source_name: &'static str,
        /// The target backend.
        target_name: &'static str,
    },

    /// Two linked crates both provide the tools that copy and cast on the host.
    #[error("{first} and {second} both provide the host tools: link one of them")]
    DuplicateHostTools {
        /// The Rust type of those that came first.
        first: &'static str,
        /// The Rust type of those that came second.
        second: &'static str,
    },

    /// An erased array was asked for as a type that it is not.
    #[error("this array is a {found}, not a {asked}: convert it with `convert_to::<{asked}>()`")]
    WrongArrayType {
        /// The type that was asked for.
        asked: &'static str,
        /// The type that the array has.
        found: &'static str,
    },

    /// The backend is linked but cannot run here.
    #[error("the backend \"{backend}\" is not available: {reason}; {remedy}")]
    Unavailable {
        /// The backend.
        backend: &'static str,
        /// Why it cannot run.
        reason: String,
        /// What would make it run.
        remedy: String,
    },

    /// The backend can run, but not on this device.
    #[error("\"{backend}\" has no device {asked}; it has {}", listed(available))]
    DeviceUnavailable {
        /// The backend.
        backend: &'static str,
        /// The device that was asked for.
        asked: Device,
        /// The devices it has here.
        available: Vec<Device>,
    },

    /// No such device name.
    #[error(
        "\"{asked}\" is not a device: write a kind and an ordinal, as in cpu, cuda:0, opencl:1"
    )]
    UnknownDevice {
        /// The text that was read.
        asked: String,
    },

    /// No such data type name.
    #[error(
        "\"{asked}\" is not a data type: write it as in float32 or f32, int64 or i64, bfloat16, \
         bool, complex64, float8_e4m3fn"
    )]
    UnknownDataType {
        /// The text that was read.
        asked: String,
    },

    /// DLPack has no such data type.
    #[error("no data type has code {code}, {bits} bits and {lanes} lanes: {reason}")]
    InvalidDataType {
        /// DLPack's type code.
        code: u8,
        /// Bits of a lane.
        bits: u8,
        /// Lanes.
        lanes: u16,
        /// What is wrong with it.
        reason: String,
    },

    /// The target has no such element type.
    #[error("{target} has no {data_type}; {}", cast_advice(*remedy, supported))]
    UnsupportedDataType {
        /// The backend or the array type that was asked.
        target: &'static str,
        /// The element type it lacks.
        data_type: DataType,
        /// The element types it has.
        supported: Vec<DataType>,
        /// The narrowest of them that holds every value.
        remedy: Option<DataType>,
    },

    /// A copy was forbidden and would be needed.
    #[error(
        "{target} cannot take this array without a copy, and copies are forbidden: {}",
        reasons(declined)
    )]
    WouldCopy {
        /// The backend or the array type that was asked.
        target: &'static str,
        /// Every way without a copy, and why it was not taken.
        declined: Vec<Declined>,
    },

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

    /// Memory was asked to be written that may only be read.
    #[error("{what} cannot be written: {reason}")]
    NotWritable {
        /// What was to be written.
        what: &'static str,
        /// Why not, and what to do.
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

    /// A value does not fit the element type that was asked for.
    #[error(
        "element {index} is {value}, which {to} cannot hold (casting from {from}): pick another \
         type, or allow Overflow::Saturate or Overflow::Wrap"
    )]
    ValueOutOfRange {
        /// The element's index in row-major order.
        index: usize,
        /// The value, printed.
        value: String,
        /// The type cast from.
        from: DataType,
        /// The type cast to.
        to: DataType,
    },

    /// No cast leads from one type to the other.
    #[error("there is no cast from {from} to {to}: {reason}")]
    NoCast {
        /// The type cast from.
        from: DataType,
        /// The type cast to.
        to: DataType,
        /// Why not, and what to do.
        reason: String,
    },

    /// The arrays of one call differ where they must agree.
    #[error("array {index} has {what} {found}, array 0 has {expected}: they must agree; {remedy}")]
    Mismatch {
        /// Which array of the call.
        index: usize,
        /// What differs: "shape", "data type", "device".
        what: &'static str,
        /// What array 0 has.
        expected: String,
        /// What this one has.
        found: String,
        /// What to do.
        remedy: &'static str,
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

    /// The backend does not do this.
    #[error("{what} is not supported: {remedy}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// What to do instead.
        remedy: String,
    },

    /// A framework reported an error of its own.
    #[error("\"{backend}\" failed to {operation}: {message}")]
    Framework {
        /// The backend.
        backend: &'static str,
        /// What it was doing.
        operation: &'static str,
        /// The framework's own message.
        message: String,
    },
}

fn linked(available: &[&'static str]) -> String {
    if available.is_empty() {
        "no backend is linked into this program. Enable a Cargo feature of arraybridge (ndarray, \
         candle), name the backend's crate once (`use bridge_cpu as _;`), or call its \
         `register_all()`"
            .to_owned()
    } else {
        format!("linked are {}", available.join(", "))
    }
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        _ => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn cast_advice(remedy: Option<DataType>, supported: &[DataType]) -> String {
    match remedy {
        Some(wider) => format!("cast to {wider}, which holds every value"),
        None => format!("cast to one of {}", listed(supported)),
    }
}

fn reasons(declined: &[Declined]) -> String {
    declined.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A call that refused, with the value it was given: a failed conversion loses nothing.
///
/// `?` turns it into an [`Error`] and drops the value; [`into_value`](Self::into_value) keeps it.
pub struct Refused<T>(Box<(T, Error)>);

impl<T> Refused<T> {
    /// Refuses `value` because of `error`.
    pub fn new(value: T, error: impl Into<Error>) -> Self {
        Self(Box::new((value, error.into())))
    }

    /// Why it was refused.
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// The value that was given in, unharmed.
    pub fn into_value(self) -> T {
        self.0.0
    }

    /// The value that was given in, and why it was refused.
    pub fn into_parts(self) -> (T, Error) {
        *self.0
    }

    /// The same refusal of another form of the value.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Refused<U> {
        let (value, error) = self.into_parts();
        Refused::new(form(value), error)
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", self.error()).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<T> std::error::Error for Refused<T> {}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.into_parts().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_backends_is_told_how_to_link_one() {
        let error = Error::UnknownBackend { asked: "torch".to_owned(), available: vec![] };
        let text = error.to_string();
        assert!(text.contains("\"torch\"") && text.contains("Cargo feature"), "{text}");
    }

    #[test]
    fn a_refusal_gives_the_value_back() {
        let refused = Refused::new(vec![1, 2], Error::UnknownDevice { asked: "x".to_owned() });
        assert!(refused.to_string().contains("\"x\" is not a device"));
        assert_eq!(refused.map(|v| v.len()).into_value(), 2);
    }
}
