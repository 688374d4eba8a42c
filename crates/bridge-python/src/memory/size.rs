//! Numbers that callers give.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A whole number from 0 on: bytes, or how many of something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(pub(super) u64);

impl<'a, 'py> FromPyObject<'a, 'py> for Size {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        given.extract::<u64>().map(Self).map_err(|error| {
            if error.is_instance_of::<PyTypeError>(given.py()) {
                return error;
            }
            let what = given.repr().map_or_else(|_| String::new(), |text| text.to_string());
            PyValueError::new_err(format!("{what} is not a size: it must be 0 to 2**64 - 1"))
        })
    }
}

/// Longer than anybody waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long `seconds` are; infinity is the longest there is.
pub(super) fn duration(seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        let text = format!("a timeout of {seconds} seconds: it must be 0 or more");
        return Err(PyValueError::new_err(text));
    }
    Ok(Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST)))
}
