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
mod passing;
mod python_module;
mod release;
mod report;
mod rescale;
mod source;
mod stacking;
mod streams;
mod tensor;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Refuses every interpreter but the main one, to which the classes and modules belong that are kept in statics. CPython
/// itself refuses only those that have a lock of their own.
fn require_main_interpreter() -> PyResult<()> {
    // SAFETY: both functions may be called where a thread is attached to an interpreter, as one is that imports.
    if unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() } {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "arraybridge does not support subinterpreters: what it knows of classes and frameworks belongs to the main \
         interpreter, and objects must not get from one into another. Import it there, or run other processes, as \
         multiprocessing does",
    ))
}

// Without the interpreter's lock: what threads share is an atomic number, or behind a lock of this crate's own, during
// which nothing of Python is made or called; where it may be, who waits for the lock lets go of the interpreter. What is
// asked of users is in docs/python.md.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    require_main_interpreter()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    memory::register(module)?;
    rescale::register(module)?;
    stacking::register(module)?;
    passing::register(module)?;
    api::register(module)
}
