//! Converting many arrays in one call.

use std::fmt;

use crate::array::Array;
use crate::error::{Error, Refused};
use crate::options::Options;
use crate::registry::Registry;

/// Converts all arrays to the backend of this name, in their order.
///
/// Every conversion is planned before the first array moves, so that an array that cannot be
/// converted is found while all are still there.
///
/// # Errors
///
/// As [`Registry::convert`]; every array comes back, the converted ones converted.
pub fn convert_all(
    registry: &Registry,
    arrays: Vec<Array>,
    target: &str,
    options: &Options,
) -> Result<Vec<Array>, Box<BatchRefused>> {
    for (index, array) in arrays.iter().enumerate() {
        if let Err(error) = registry.plan(array, target, options) {
            let converted = Vec::new();
            return Err(Box::new(BatchRefused { index, error, converted, remaining: arrays }));
        }
    }
    let mut converted = Vec::with_capacity(arrays.len());
    let mut waiting = arrays.into_iter();
    while let Some(array) = waiting.next() {
        match registry.convert(array, target, *options) {
            Ok(done) => converted.push(done),
            Err(refused) => {
                let (array, error) = Refused::into_parts(refused);
                let remaining = std::iter::once(array).chain(waiting).collect();
                let index = converted.len();
                return Err(Box::new(BatchRefused { index, error, converted, remaining }));
            }
        }
    }
    Ok(converted)
}

/// A batch in which one array was refused, with all arrays.
#[derive(Debug)]
pub struct BatchRefused {
    /// Which array was refused.
    pub index: usize,
    /// Why.
    pub error: Error,
    /// The arrays before it, converted.
    pub converted: Vec<Array>,
    /// It and the arrays after it, unharmed.
    pub remaining: Vec<Array>,
}

impl fmt::Display for BatchRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "array {} of the batch: {}", self.index, self.error)
    }
}

impl std::error::Error for BatchRefused {}

impl From<Box<BatchRefused>> for Error {
    fn from(refused: Box<BatchRefused>) -> Self {
        refused.error
    }
}
