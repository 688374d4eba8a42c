//! Checks of arguments that several modules have.

use std::fmt;

use bridge_core::{Error, Result, TensorError};

/// The error for an argument out of its range.
pub(crate) fn invalid(what: &'static str, found: &dyn fmt::Display, expected: &str) -> Error {
    let (found, expected) = (found.to_string(), expected.to_owned());
    Error::Tensor(TensorError::InvalidArgument { what, found, expected })
}

/// A factor that is a number, and at least `least`.
pub(crate) fn factor(what: &'static str, factor: f64, least: f64) -> Result<f64> {
    if factor.is_finite() && factor >= least {
        return Ok(factor);
    }
    Err(invalid(what, &factor, &format!("it must be a finite number, {least} or more")))
}
