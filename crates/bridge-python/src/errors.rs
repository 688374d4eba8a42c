//! Errors of conversions as exceptions of Python, which keep the exception that caused them.

use std::cell::RefCell;

use bridge_core::{Error, Interrupt, Result};
use bridge_memory::budget::Shortage;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::memory;

/// The exception of a framework, by the message that it was told as.
struct Cause {
    message: String,
    error: PyErr,
}

thread_local! {
    /// The last exception that a framework raised on this thread while something was converted.
    static CAUSE: RefCell<Option<Cause>> = const { RefCell::new(None) };
}

/// An exception in words: its class and its text.
pub(crate) fn message(py: Python<'_>, error: &PyErr) -> String {
    let class =
        error.get_type(py).name().map_or_else(|_| "exception".into(), |name| name.to_string());
    let text = error.value(py).str();
    let text = text.map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned());
    if text.is_empty() { class } else { format!("{class}: {text}") }
}

/// Keeps an exception until the error that tells its message is raised.
pub(crate) fn keep_cause(error: PyErr, message: &str) {
    let before = CAUSE.replace(Some(Cause { message: message.to_owned(), error }));
    drop(before); // which may run code of others, that comes back here
}

/// What a conversion fails to do that a handler of a signal has interrupted.
const GO_ON: &str = "go on";

/// Handles the signals that have come, as Ctrl-C is one, while a long copy goes on. Python does so on its main
/// thread, and on no other.
pub(crate) struct Signals;

impl Interrupt for Signals {
    fn check(&self) -> Result<()> {
        let handled = |py: Python<'_>| py.check_signals().map_err(|error| told(py, GO_ON, error));
        // Where the interpreter is ending there is nobody to be interrupted.
        Python::try_attach(handled).unwrap_or(Ok(()))
    }
}

/// The error of an object that belongs to no framework and failed to do something.
#[cold]
pub(crate) fn told(py: Python<'_>, operation: &'static str, error: PyErr) -> Error {
    let message = message(py, &error);
    keep_cause(error, &message);
    Error::Framework { backend: "object", operation, message }
}

/// The exception for a conversion that failed.
#[cold]
pub(crate) fn raised(py: Python<'_>, source: &str, target: &str, error: &Error) -> PyErr {
    let cause = cause_of(error);
    let interrupted = matches!(error, Error::Framework { operation: GO_ON, .. });
    if let Some(cause) = &cause
        && (interrupted || !cause.is_instance_of::<PyException>(py))
    {
        return cause.clone_ref(py); // an interruption, which is nobody's failure
    }
    if let Some(shortage) = Shortage::of(error) {
        let raised = memory::short(py, shortage);
        let note =
            format!("the array was to be converted from {source} to {target}, and is as it was");
        // A note that cannot be made is no reason to tell less.
        let _ = raised.value(py).call_method1("add_note", (note,));
        return raised;
    }
    let no_memory = error.out_of_memory().is_some()
        || cause.as_ref().is_some_and(|cause| cause.is_instance_of::<PyMemoryError>(py));
    let raised = match no_memory {
        true => PyMemoryError::new_err(error.to_string()),
        false => {
            // The words of Rust, where they differ.
            let reason = error
                .to_string()
                .replace("Overflow::Saturate or Overflow::Wrap", "overflow='saturate' or 'wrap'");
            conversion_error(py, source, target, method(error), &reason)
        }
    };
    raised.set_cause(py, cause);
    raised
}

/// `MemoryConversionError`, with its four fields.
#[cold]
pub(crate) fn conversion_error(
    py: Python<'_>,
    source: &str,
    target: &str,
    method: &str,
    reason: &str,
) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "arraybridge.exceptions", "MemoryConversionError");
    match class.and_then(|class| class.call1((source, target, method, reason))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// What has interrupted a conversion, such as Ctrl-C within the import of a framework, where that is how it failed.
#[cold]
pub(crate) fn interruption(py: Python<'_>, error: &Error) -> Option<PyErr> {
    cause_of(error).filter(|cause| !cause.is_instance_of::<PyException>(py))
}

fn cause_of(error: &Error) -> Option<PyErr> {
    let message = match error {
        Error::Framework { message, .. } => message,
        Error::Unavailable { why, .. } => &why.reason,
        _ => return None,
    };
    let cause = CAUSE.with_borrow_mut(Option::take)?;
    (cause.message == *message).then_some(cause.error)
}

/// What failed, in one word or two.
fn method(error: &Error) -> &'static str {
    match error {
        Error::UnknownBackend { .. } => "detection",
        Error::Unavailable { .. } | Error::DeviceUnavailable { .. } => "device_selection",
        Error::UnsupportedDataType { .. }
        | Error::ValueOutOfRange { .. }
        | Error::NoCast { .. } => "dtype_conversion",
        Error::WouldCopy { .. } => "zero_copy",
        Error::Framework { operation, .. } => operation,
        _ => "conversion",
    }
}
