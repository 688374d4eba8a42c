//! What can go wrong with a conversion, and how a failed call gives its input back.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use bridge_tensor::{DataType, DataTypeError, Device, DeviceError};

use crate::availability::Unavailable;
use crate::declined::Declined;

/// The result of a call that consumes nothing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call that refused, with the value it was given: a failed conversion loses nothing.
pub type Refused<T, E = Error> = bridge_tensor::Refused<T, E>;

/// Why a call failed: what was asked, what was found, why it cannot be, and what to do.
///
/// Calls that consume an array return it inside [`Refused`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tensor itself, its memory, or an argument of a call on it.
    #[error(transparent)]
    Tensor(#[from] bridge_tensor::Error),

    /// No backend of this name is linked into the program.
    #[error("there is no backend \"{asked}\": {}", linked(available, *meant, *remedy))]
    UnknownBackend {
        /// The name that was asked for.
        asked: String,
        /// The names of the backends that are linked.
        available: Vec<&'static str>,
        /// The name of the backend that was meant, as far as that can be told.
        meant: Option<&'static str>,
        /// What brings that one into the program, where it is not linked.
        remedy: Option<&'static str>,
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
    #[error("the backend \"{backend}\" is not available: {why}")]
    Unavailable {
        /// The backend.
        backend: &'static str,
        /// Why it cannot run, and what would make it run.
        why: Unavailable,
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

    /// The target has no such element type.
    #[error("{target} has no {data_type}; {}", cast_advice(*data_type, *remedy, supported))]
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

    /// The target has no arrays of this shape.
    #[error("{target} has no arrays of shape {shape:?}: it takes {takes}; reshape the array first")]
    UnsupportedShape {
        /// The backend or the array type that was asked.
        target: &'static str,
        /// The shape it lacks.
        shape: Vec<usize>,
        /// The shapes it has, in words.
        takes: String,
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

    /// One array of a batch was refused.
    #[error("array {index} of the batch: {error}")]
    InBatch {
        /// Which array.
        index: usize,
        /// Why.
        #[source]
        error: Box<Error>,
    },

    /// The backend does not do this.
    #[error("{what} is not supported: {remedy}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// What to do instead.
        remedy: String,
    },

    /// Who watches over the memory has no room for what a call would take; the error says why,
    /// and what to do.
    #[error(transparent)]
    NotAdmitted(Arc<dyn std::error::Error + Send + Sync + UnwindSafe + RefUnwindSafe>),

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

impl Error {
    /// The device that had too little memory and the bytes asked for, where that is what failed.
    pub fn out_of_memory(&self) -> Option<(Device, u64)> {
        match self {
            &Self::Tensor(bridge_tensor::Error::OutOfMemory { device, requested }) => {
                Some((device, requested))
            }
            _ => None,
        }
    }
}

impl From<DataTypeError> for Error {
    fn from(error: DataTypeError) -> Self {
        Self::Tensor(error.into())
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Tensor(error.into())
    }
}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Self {
        refused.into_error()
    }
}

impl<T> From<bridge_tensor::Refused<T>> for Error {
    fn from(refused: bridge_tensor::Refused<T>) -> Self {
        Self::Tensor(refused.into_error())
    }
}

fn linked(
    available: &[&'static str],
    meant: Option<&'static str>,
    remedy: Option<&'static str>,
) -> String {
    let found = match available {
        [] => "no backend is linked into this program".to_owned(),
        _ => format!("linked are {}", available.join(", ")),
    };
    match (meant, remedy) {
        (Some(meant), Some(remedy)) => {
            format!("{found}; \"{meant}\" is not built into this program: {remedy}")
        }
        (Some(meant), None) => format!("{found}; did you mean \"{meant}\"?"),
        _ if available.is_empty() => format!(
            "{found}. Enable a Cargo feature of arraybridge (ndarray, candle), name the backend's crate \
             once (`use bridge_cpu as _;`), or call its `register_all()`"
        ),
        _ => format!("{found}; name the crate of another once (`use that_crate as _;`) to link it"),
    }
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        _ => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn cast_advice(data_type: DataType, remedy: Option<DataType>, supported: &[DataType]) -> String {
    if let Some(wider) = remedy {
        return format!("cast to {wider}, which holds every value");
    }
    let of_numbers = |one: &&DataType| one.is_complex() || !data_type.is_complex();
    let castable: Vec<_> = supported.iter().filter(of_numbers).collect();
    match castable.as_slice() {
        [] if supported.is_empty() => "it has no element types".to_owned(),
        [] => {
            "it has no complex numbers: convert the real and the imaginary parts apart".to_owned()
        }
        [only] => format!(
            "its elements are {only}: ask for an array type that has {data_type}, or cast to {only}, \
             which does not hold every value"
        ),
        some => format!("cast to one of {}, none of which holds every value", listed(some)),
    }
}

fn reasons(declined: &[Declined]) -> String {
    declined.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::declined::Reason;

    #[test]
    fn every_error_tells_what_was_asked_what_was_found_and_what_to_do() {
        let (asked, from, to) = (Device::cuda(1), DataType::F32, DataType::U8);
        let lacks_type = |supported: &[DataType], remedy| Error::UnsupportedDataType {
            target: "torch",
            data_type: DataType::F64,
            supported: supported.to_vec(),
            remedy,
        };
        let lacks_device =
            |available| Error::DeviceUnavailable { backend: "torch", asked, available };
        let shape = |index, found: &str| Error::Mismatch {
            index,
            what: "shape",
            expected: "[2]".to_owned(),
            found: found.to_owned(),
            remedy: "reshape it",
        };
        let declined = |way, reason| Declined { way, reason };
        for (error, told) in [
            (
                Error::UnknownBackend {
                    asked: "jax".to_owned(),
                    available: vec!["ndarray", "torch"],
                    meant: None,
                    remedy: None,
                },
                &["\"jax\"", "linked are ndarray, torch;", "to link it"] as &[_],
            ),
            (
                Error::UnknownBackend {
                    asked: "ndaray".to_owned(),
                    available: vec!["ndarray", "candle"],
                    meant: Some("ndarray"),
                    remedy: None,
                },
                &["\"ndaray\": linked are ndarray, candle; did you mean \"ndarray\"?"],
            ),
            (
                Error::UnknownBackend {
                    asked: "pytorch".to_owned(),
                    available: vec![],
                    meant: Some("torch"),
                    remedy: Some("switch it on"),
                },
                &["no backend is linked", "\"torch\" is not built into this program: switch it on"],
            ),
            (
                Error::WrongArrayType { asked: "Wide", found: "Narrow" },
                &["is a Narrow, not a Wide", "`convert_to::<Wide>()`"],
            ),
            (
                Error::Unavailable {
                    backend: "torch",
                    why: Unavailable::new("no driver", "add one"),
                },
                &["\"torch\" is not available: no driver; add one"],
            ),
            (
                lacks_device(vec![Device::CPU, Device::cuda(0)]),
                &["\"torch\" has no device cuda:1; it has cpu, cuda:0"],
            ),
            (lacks_device(vec![]), &["\"torch\" has no device cuda:1; it has none"]),
            (
                lacks_type(&[from, DataType::C128], Some(DataType::C128)),
                &["torch has no float64; cast to complex128, which holds every value"],
            ),
            (lacks_type(&[from], None), &["its elements are float32", "or cast to float32"]),
            (
                lacks_type(&[from, to], None),
                &["torch has no float64; cast to one of float32, uint8,"],
            ),
            (lacks_type(&[], None), &["torch has no float64; it has no element types"]),
            (
                Error::UnsupportedShape {
                    target: "image",
                    shape: vec![2, 5],
                    takes: "rank 3".to_owned(),
                },
                &["image has no arrays of shape [2, 5]: it takes rank 3; reshape"],
            ),
            (
                Error::WouldCopy {
                    target: "torch",
                    declined: vec![
                        declined("share", Reason::CopyAsked),
                        declined("move", Reason::DataType { from, to }),
                    ],
                },
                &[
                    "torch cannot",
                    "copies are forbidden: no share: ",
                    "; no move: float32 has to be cast",
                ],
            ),
            (
                Error::ValueOutOfRange { index: 7, value: "300".to_owned(), from, to },
                &[
                    "element 7 is 300, which uint8 cannot hold",
                    "from float32",
                    "Overflow::Saturate",
                ],
            ),
            (
                Error::NoCast { from, to, reason: "ask for neither".to_owned() },
                &["no cast from float32 to uint8: ask for neither"],
            ),
            (shape(3, "[4]"), &["array 3 has shape [4], array 0 has [2]", "; reshape it"]),
            (
                Error::InBatch { index: 2, error: Box::new(lacks_device(vec![])) },
                &["array 2 of the batch: \"torch\" has no device cuda:1"],
            ),
            (
                Error::Unsupported { what: "sorting".to_owned(), remedy: "copy".to_owned() },
                &["sorting is not supported: copy"],
            ),
            (
                Error::Framework {
                    backend: "torch",
                    operation: "copy",
                    message: "it broke".to_owned(),
                },
                &["\"torch\" failed to copy: it broke"],
            ),
        ] {
            let text = error.to_string();
            assert!(told.iter().all(|part| text.contains(part)), "{text}: lacks one of {told:?}");
        }
    }

    #[test]
    fn memory_that_ran_out_is_told_apart_from_other_errors() {
        let (device, requested) = (Device::cuda(1), 1 << 40);
        let full = Error::from(bridge_tensor::Error::OutOfMemory { device, requested });
        assert_eq!(full.out_of_memory(), Some((device, requested)));
        let other = Error::from("float7".parse::<DataType>().unwrap_err());
        assert_eq!(other.out_of_memory(), None);
    }

    #[test]
    fn a_program_without_backends_is_told_how_to_link_one() {
        let (asked, available) = ("torch".to_owned(), vec![]);
        let error = Error::UnknownBackend { asked, available, meant: None, remedy: None };
        let text = error.to_string();
        assert!(text.contains("\"torch\"") && text.contains("Cargo feature"), "{text}");
    }

    #[test]
    fn complex_numbers_are_not_advised_to_be_cast_to_real_ones() {
        let lacks = |supported: &[DataType]| Error::UnsupportedDataType {
            target: "candle",
            data_type: DataType::C64,
            supported: supported.to_vec(),
            remedy: None,
        };
        let text = lacks(&[DataType::F32, DataType::I64]).to_string();
        assert!(!text.contains("float32") && text.contains("imaginary parts"), "{text}");
        let text = lacks(&[DataType::F32, DataType::C32]).to_string();
        assert!(!text.contains("float32") && text.contains("cast to complex32"), "{text}");
    }

    #[test]
    fn an_error_of_a_part_is_the_source() {
        let error = Error::from("float7".parse::<DataType>().unwrap_err());
        assert!(error.to_string().contains("\"float7\" is not a data type"));
        assert!(error.source().is_none(), "transparent: the text is not told twice");
        let batch = Error::InBatch { index: 3, error: Box::new(error.clone()) };
        assert_eq!(batch.source().map(ToString::to_string), Some(error.to_string()));
        assert!(matches!(error, Error::Tensor(bridge_tensor::Error::DataType(_))));
    }
}
