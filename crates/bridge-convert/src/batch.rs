//! Converting many arrays in one call.

use bridge_core::{Array, Error, Options, Refused, Registry};

use crate::by_name::ConvertByName;

/// Converts all arrays to the backend of this name, in their order, or none.
///
/// Every conversion is planned before the first array moves, so that an array that cannot be
/// converted is found while all are still there. [`convert_each`] goes on after a failure.
///
/// # Errors
///
/// As [`ConvertByName::convert`]. Every array comes back, the converted ones converted: the
/// [`Batch`] in the error has them.
pub fn convert_all(
    registry: &Registry,
    arrays: Vec<Array>,
    target: &str,
    options: &Options,
) -> Result<Vec<Array>, Refused<Batch>> {
    for (index, array) in arrays.iter().enumerate() {
        if let Err(error) = registry.plan(array, target, options) {
            return Err(refused(index, error, Vec::new(), arrays));
        }
    }
    let mut converted = Vec::with_capacity(arrays.len());
    let mut waiting = arrays.into_iter();
    while let Some(array) = waiting.next() {
        match registry.convert(array, target, *options) {
            Ok(done) => converted.push(done),
            Err(failure) => {
                let (array, error) = failure.into_parts();
                let remaining = std::iter::once(array).chain(waiting).collect();
                return Err(refused(converted.len(), error, converted, remaining));
            }
        }
    }
    Ok(converted)
}

/// Converts each array to the backend of this name, and goes on where one fails: the results are in
/// the order of the arrays, and each failure has its array.
pub fn convert_each(
    registry: &Registry,
    arrays: Vec<Array>,
    target: &str,
    options: &Options,
) -> Vec<Result<Array, Refused<Array>>> {
    arrays.into_iter().map(|array| registry.convert(array, target, *options)).collect()
}

/// The arrays of a batch in which one was refused.
#[derive(Debug)]
pub struct Batch {
    /// Which array was refused.
    pub index: usize,
    /// The arrays before it, converted.
    pub converted: Vec<Array>,
    /// It and the arrays after it, unharmed.
    pub remaining: Vec<Array>,
}

fn refused(
    index: usize,
    error: Error,
    converted: Vec<Array>,
    remaining: Vec<Array>,
) -> Refused<Batch> {
    let error = Error::InBatch { index, error: Box::new(error) };
    Refused::new(Batch { index, converted, remaining }, error)
}
