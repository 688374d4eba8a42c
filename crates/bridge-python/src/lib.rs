//! The native half of the Python package `arraybridge`: detection, conversion, plans.
//!
//! Each framework of Python is a backend in the registry that those of Rust are in; its arrays are
//! Python objects, looked at and made while the interpreter is attached.

mod api;
mod arrow;
mod buffer;
mod buffer_view;
mod capsule;
mod classes;
mod convert;
mod cuda_interface;
mod errors;
mod exchange;
mod exchange_table;
mod framework;
mod frameworks;
mod keeper;
mod memory;
mod object;
mod offer;
mod options;
mod python_module;
mod release;
mod report;
mod rescale;
mod source;
mod stacking;
mod streams;
mod tensor;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    memory::register(module)?;
    rescale::register(module)?;
    stacking::register(module)?;
    api::register(module)
}
