//! Memory for Python: budgets, pools, monitors and what fits take, over `bridge-memory`.
//!
//! The Python module `arraybridge.memory` says what is public; what is here is its native half,
//! `arraybridge._native.memory`.

mod budget;
mod errors;
mod fits;
mod measure;
mod monitor;
mod plain;
mod pool;
mod reservation;
mod room;
mod size;
mod training;

use pyo3::prelude::*;

pub(crate) use self::errors::short;
pub(crate) use self::room::Room;

/// Adds the submodule `memory`.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let memory = PyModule::new(module.py(), "memory")?;
    errors::register(&memory)?;
    budget::register(&memory)?;
    pool::register(&memory)?;
    room::register(&memory)?;
    monitor::register(&memory)?;
    measure::register(&memory)?;
    fits::register(&memory)?;
    training::register(&memory)?;
    module.add_submodule(&memory)
}
