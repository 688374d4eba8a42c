//! Modules of Python that are there or not, and are imported when they are needed.

use bridge_core::Unavailable;
use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

use crate::errors;
use crate::framework::Framework;

/// The module of a framework, imported at its first use.
pub(crate) fn of(py: Python<'_>, framework: Framework) -> Result<Bound<'_, PyModule>, Unavailable> {
    static MODULES: [PyOnceLock<Py<PyModule>>; 6] = [const { PyOnceLock::new() }; 6];
    let module = &MODULES[framework as usize];
    let found = module.get_or_try_init(py, || {
        if framework == Framework::Pyclesperanto && comes_too_late(py) {
            return Err(Unavailable::new(
                "TensorFlow is loaded, and a driver that OpenCL then loads may end the process, as both \
                 bring a compiler of their own",
                "import pyclesperanto before tensorflow",
            ));
        }
        py.import(framework.name()).map(Bound::unbind).map_err(|error| {
            let (title, name) = (framework.title(), framework.name());
            match error.is_instance_of::<PyModuleNotFoundError>(py) {
                true => absent(framework),
                false => Unavailable::new(
                    format!("importing {title} failed: {}", errors::message(py, &error)),
                    format!("`python -c 'import {name}'` shows the whole error"),
                ),
            }
        })
    });
    found.map(|module| module.bind(py).clone())
}

/// What is known of a framework without importing it.
pub(crate) enum State {
    Loaded,
    Installed,
    Absent,
}

pub(crate) fn state(py: Python<'_>, framework: Framework) -> State {
    let name = framework.name();
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    if modules.is_ok_and(|modules| modules.get_item(name).is_ok_and(|module| !module.is_none())) {
        return State::Loaded;
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
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let has = |name| modules.as_ref().is_ok_and(|modules| modules.contains(name).unwrap_or(false));
    has("tensorflow") && !has("pyclesperanto")
}
