//! Python objects that keep a tensor's memory: what arrays name as their base.

use std::sync::{Mutex, PoisonError};

use bridge_core::{Error, ManagedTensor, Refused};
use pyo3::prelude::*;

use crate::errors;
use crate::frameworks::Torch;
use crate::object::Object;

/// Keeps a tensor, and nothing else. It is dropped with the object, on whichever thread that is.
#[pyclass(frozen, name = "TensorMemory", module = "arraybridge")]
struct Keeper(Mutex<Option<ManagedTensor>>);

#[pymethods]
impl Keeper {
    fn __repr__(&self) -> &'static str {
        "<memory kept by arraybridge>"
    }
}

/// An object that keeps the memory of `tensor`: the tensor of PyTorch that it was exported from, or a
/// new one.
///
/// # Errors
///
/// Where Python has no memory for an object; the tensor comes back.
pub(crate) fn base_of(
    py: Python<'_>,
    tensor: ManagedTensor,
) -> Result<Bound<'_, PyAny>, Refused<ManagedTensor>> {
    let tensor = match tensor.into_owner::<Object<Torch>>() {
        Ok(object) => return Ok(object.into_inner().into_bound(py)),
        Err(tensor) => tensor,
    };
    let keeper = match Bound::new(py, Keeper(Mutex::new(None))) {
        Ok(keeper) => keeper,
        Err(error) => {
            let (what, remedy) = ("an array's base".to_owned(), errors::message(py, &error));
            return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
        }
    };
    *keeper.get().0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tensor);
    Ok(keeper.into_any())
}
