//! Modules of Python that are there or not, and are imported when they are needed.

use bridge_core::Unavailable;
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
            let title = framework.title();
            let name = framework.name();
            match error.is_instance_of::<pyo3::exceptions::PyModuleNotFoundError>(py) {
                true => Unavailable::new(
                    format!("{title} is not installed in this Python"),
                    framework.remedy(),
                ),
                false => Unavailable::new(
                    format!("importing {title} failed: {}", errors::message(py, &error)),
                    format!("`python -c 'import {name}'` shows the whole error"),
                ),
            }
        })
    });
    found.map(|module| module.bind(py).clone())
}

/// Whether loading pyclesperanto now could end the process: PoCL's LLVM and TensorFlow's do not bear each other
/// where TensorFlow's came first (seen with PoCL 3.1 and TensorFlow 2.21).
fn comes_too_late(py: Python<'_>) -> bool {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let has = |name| modules.as_ref().is_ok_and(|modules| modules.contains(name).unwrap_or(false));
    has("tensorflow") && !has("pyclesperanto")
}
