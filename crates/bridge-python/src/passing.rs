//! What a function that is written in Rust pays for arrays as its arguments, to be measured and tested.

use bridge_core::TensorView;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::api::refused;
use crate::convert::Target;
use crate::source::{source_of, view_of};

/// Hands up to three arrays to Rust, as checked tensors of their memory, and does nothing with them. Arrays of PyTorch
/// and NumPy are borrowed for the call.
#[pyfunction]
#[pyo3(signature = (first, second = None, third = None, /))]
fn look_at<'py>(
    first: &Bound<'py, PyAny>,
    second: Option<&Bound<'py, PyAny>>,
    third: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let mut views = [TensorView::nothing(), TensorView::nothing(), TensorView::nothing()];
    let mut tensors = [const { None }; 3];
    let arrays = [Some(first), second, third].into_iter().flatten();
    for (array, (view, tensor)) in arrays.zip(views.iter_mut().zip(&mut tensors)) {
        let seen = view_of(array, view);
        *tensor = seen.map_err(|error| refused(array.py(), array, Target::Tensor, &error))?;
    }
    // As if a function were called that could read all of them.
    std::hint::black_box((&views, &tensors));
    Ok(())
}

/// Takes each array into Rust, as a checked tensor of its own, which a function could keep when it returns, and lets
/// go of it.
#[pyfunction]
#[pyo3(signature = (*arrays))]
fn take_in(arrays: &Bound<'_, PyTuple>) -> PyResult<()> {
    for array in arrays.iter_borrowed() {
        let taken = source_of(&array);
        let taken = taken.map_err(|error| refused(array.py(), &array, Target::Tensor, &error))?;
        std::hint::black_box(&taken.tensor);
    }
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(look_at, module)?)?;
    module.add_function(wrap_pyfunction!(take_in, module)?)
}
