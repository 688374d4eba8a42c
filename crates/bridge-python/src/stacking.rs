//! Arrays of NumPy as one with a new first axis.

use bridge_convert::stack;
use bridge_core::{Array, Error, Options, Registry};
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors;
use crate::frameworks::Numpy;
use crate::memory::Room;
use crate::object::{Object, PythonFramework};

/// The arrays, which are of one shape and element type, as one array of NumPy with a new first axis, in the budget and
/// the pool of the `with` blocks that the call is in. None where one of them is no array of this package's kinds: NumPy
/// stacks it.
#[pyfunction]
#[pyo3(signature = (arrays, /))]
fn stacked(arrays: &Bound<'_, PyList>) -> PyResult<Option<Py<PyAny>>> {
    let py = arrays.py();
    let mut tensors = Vec::with_capacity(arrays.len());
    for array in arrays {
        match Numpy::export(&array) {
            Ok(tensor) if array.cast_exact::<PyUntypedArray>().is_ok() => {
                tensors.push(Array::new(tensor));
            }
            _ => return Ok(None),
        }
    }
    let room = Room::default().here(py)?;
    let options = room.of(Options::default()).interrupted_by(&errors::Signals);
    let done: Result<Object<Numpy>, Error> = py.detach(|| {
        let made = stack(Registry::global()?, tensors, 0, "numpy", options)?;
        Ok(made.downcast()?)
    });
    match done {
        Ok(array) => Ok(Some(array.into_inner())),
        Err(Error::Mismatch { .. }) => Ok(None), // NumPy's own error tells it
        Err(error) => Err(errors::raised(py, "numpy", "numpy", &error)),
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(stacked, module)?)
}
