//! The native half of the Python package `arraybridge`.

mod classes;
mod framework;
mod memory;

use pyo3::prelude::*;

/// The framework that `data` is an array of, or `None`.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn detect(data: &Bound<'_, PyAny>) -> Option<&'static str> {
    classes::framework_of(data).map(framework::Framework::name)
}

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    memory::register(module)?;
    module.add_function(wrap_pyfunction!(detect, module)?)
}
