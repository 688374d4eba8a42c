//! Modules of Python that are there or not, and are imported when they are needed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::Unavailable;
use pyo3::exceptions::{PyKeyError, PyModuleNotFoundError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use crate::errors;
use crate::framework::Framework;

/// The module of a framework, imported at its first use. Where another thread is importing it, that is waited for.
pub(crate) fn of(py: Python<'_>, framework: Framework) -> Result<Bound<'_, PyModule>, Unavailable> {
    static MODULES: [PyOnceLock<Py<PyModule>>; 6] = [const { PyOnceLock::new() }; 6];
    let known = &MODULES[framework as usize];
    match known.get(py) {
        Some(module) => Ok(module.bind(py).clone()),
        None => {
            let imported = imported(py, framework);
            // What is absent may be installed meanwhile, which is looked for.
            let failure = imported.as_ref().err().filter(|why| **why != absent(framework));
            *failure_of(framework) = failure.cloned();
            let module = imported?;
            Ok(known.get_or_init(py, || module.unbind()).bind(py).clone())
        }
    }
}

/// Why the last import of a framework failed, where it did. The next conversion tries again.
pub(crate) fn failure_of(framework: Framework) -> MutexGuard<'static, Option<Unavailable>> {
    static FAILURES: [Mutex<Option<Unavailable>>; 6] = [const { Mutex::new(None) }; 6];
    FAILURES[framework as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Imports a framework. No lock of this package may be held: an import waits for those of other threads, and runs
/// the code of others, which may convert arrays.
#[cold]
fn imported(py: Python<'_>, framework: Framework) -> Result<Bound<'_, PyModule>, Unavailable> {
    if framework == Framework::Pyclesperanto && comes_too_late(py) {
        return Err(Unavailable::new(
            "TensorFlow is loaded, and a driver that OpenCL then loads may end the process, as both \
             bring a compiler of their own",
            "import pyclesperanto before tensorflow",
        ));
    }
    let (title, name) = (framework.title(), framework.name());
    let mut imported = py.import(name);
    let is_taken_out = match &imported {
        Ok(module) => !module.is(listed(py, name)),
        Err(error) => error.is_instance_of::<PyKeyError>(py),
    };
    if is_taken_out {
        // By another thread, whose import was waited for and has failed.
        imported = py.import(name);
    }
    let module =
        imported.map_err(|error| match error.is_instance_of::<PyModuleNotFoundError>(py) {
            true => absent(framework),
            false => {
                let why = Unavailable::new(
                    format!("importing {title} failed: {}", errors::message(py, &error)),
                    format!("`python -c 'import {name}'` shows the whole error"),
                );
                errors::keep_cause(error, &why.reason);
                why
            }
        })?;
    if is_being_imported(&module) {
        return Err(Unavailable::new(
            format!("{title} is still being imported, and that import has come to this conversion"),
            format!("convert when `import {name}` has ended"),
        ));
    }
    Ok(module)
}

/// What `sys.modules` has under a name, or None.
fn listed<'py>(py: Python<'py>, name: &str) -> Bound<'py, PyAny> {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let module = modules.and_then(|modules| modules.get_item(name));
    module.unwrap_or_else(|_| py.None().into_bound(py))
}

/// Whether the code of a module has not come to its end.
fn is_being_imported(module: &Bound<'_, PyAny>) -> bool {
    let spec = module.getattr("__spec__").and_then(|spec| spec.getattr("_initializing"));
    spec.is_ok_and(|initializing| initializing.is_truthy().unwrap_or(false))
}

/// What is known of a framework without importing it.
pub(crate) enum State {
    Loaded,
    /// It can be imported, or is being imported.
    Installed,
    Absent,
}

pub(crate) fn state(py: Python<'_>, framework: Framework) -> State {
    let name = framework.name();
    let module = listed(py, name);
    if !module.is_none() {
        return if is_being_imported(&module) { State::Installed } else { State::Loaded };
    }
    let found = py
        .import("importlib.util")
        .and_then(|util| util.call_method1("find_spec", (name,)))
        .is_ok_and(|spec| !spec.is_none());
    if found { State::Installed } else { State::Absent }
}

/// Why a framework that is not installed cannot run.
pub(crate) fn absent(framework: Framework) -> Unavailable {
    let reason = format!("{} is not installed in this Python", framework.title());
    Unavailable::new(reason, framework.remedy())
}

/// Whether loading pyclesperanto now could end the process: PoCL's LLVM and TensorFlow's do not bear each other
/// where TensorFlow's came first (seen with PoCL 3.1 and TensorFlow 2.21).
fn comes_too_late(py: Python<'_>) -> bool {
    !listed(py, "tensorflow").is_none() && listed(py, "pyclesperanto").is_none()
}
