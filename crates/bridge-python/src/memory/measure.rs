//! What memory there is, and who has it.

use std::sync::{Mutex, PoisonError};

use bridge_memory::budget::Budget;
use bridge_memory::probe::{HostProbe, MemoryProbe as _, ProcessMemory};
use bridge_memory::profile::{MemoryDelta, Usage};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::errors::raised;
use super::plain::plain;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyProfile>()?;
    module.add_function(wrap_pyfunction!(host_memory, module)?)?;
    module.add_function(wrap_pyfunction!(process_memory, module)?)?;
    module.add_function(wrap_pyfunction!(doctor, module)?)
}

/// The host's memory, as far as this process may use it, in bytes: `total` and `available`, which limit
/// each comes from, and what could not be read.
#[pyfunction]
fn host_memory(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let measured = py.detach(|| HostProbe::new().measure()).map_err(|error| raised(py, &error))?;
    let host = PyDict::new(py);
    host.set_item("total", measured.total)?;
    host.set_item("available", measured.available)?;
    host.set_item("total_from", measured.total_from.to_string())?;
    host.set_item("available_from", measured.available_from.to_string())?;
    host.set_item("problems", measured.problems)?;
    Ok(host)
}

/// The memory of this process, in bytes: `resident`, `peak_resident` and `virtual_size`.
#[pyfunction]
fn process_memory(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let process = ProcessMemory::measure().map_err(|error| raised(py, &error))?;
    let dict = PyDict::new(py);
    dict.set_item("resident", process.resident)?;
    dict.set_item("peak_resident", process.peak_resident)?;
    dict.set_item("virtual_size", process.virtual_size)?;
    Ok(dict)
}

/// Who holds memory: of the host, of each device by backend, and of the program's budget.
#[pyfunction]
fn doctor(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let (usage, budget) = py.detach(|| (Usage::now(), Budget::process().status()));
    let found = PyDict::new(py);
    found.set_item("host", host_memory(py)?)?;
    found.set_item("process", process_memory(py)?)?;
    found.set_item("usage", plain(py, &usage)?)?;
    found.set_item("budget", plain(py, &budget)?)?;
    Ok(found)
}

/// Says what the code inside `with` takes of memory, of the process and of each device.
///
/// `resident` is the change of the process's memory, in bytes; `delta` has all; printed, it is one line.
#[pyclass(name = "Profile", module = "arraybridge.memory", frozen)]
struct PyProfile {
    #[pyo3(get)]
    name: String,
    state: Mutex<State>,
}

enum State {
    New,
    Before(Usage),
    Done(MemoryDelta),
}

impl PyProfile {
    fn put(&self, state: State) -> State {
        let mut place = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, state)
    }

    fn done<T>(&self, answer: impl FnOnce(&MemoryDelta) -> PyResult<T>) -> PyResult<T> {
        // A copy: whoever makes objects of Python may have to wait for other threads, and must not hold a lock that they
        // wait for.
        let done = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Done(delta) => Some(delta.clone()),
            _ => None,
        };
        match done {
            Some(delta) => answer(&delta),
            None => Err(PyRuntimeError::new_err(
                "nothing was profiled yet: ask after the end of the `with` block",
            )),
        }
    }
}

#[pymethods]
impl PyProfile {
    #[new]
    #[pyo3(signature = (name = "work"))]
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), state: Mutex::new(State::New) }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        let before = slf.py().detach(Usage::now);
        slf.get().put(State::Before(before));
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) {
        let after = py.detach(Usage::now);
        if let State::Before(before) = self.put(State::New) {
            self.put(State::Done(MemoryDelta::between(&self.name, &before, &after)));
        }
    }

    /// Change of the process's memory in bytes; None where the system does not tell.
    #[getter]
    fn resident(&self) -> PyResult<Option<i64>> {
        self.done(|delta| Ok(delta.resident))
    }

    /// All changes, as a dict.
    #[getter]
    fn delta<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.done(|delta| plain(py, delta))
    }

    fn __str__(&self) -> String {
        self.done(|delta| Ok(delta.to_string())).unwrap_or_else(|_| self.__repr__())
    }

    fn __repr__(&self) -> String {
        let line = self.done(|delta| Ok(delta.to_string()));
        format!("<Profile {}>", line.unwrap_or_else(|_| format!("{:?}, not done", self.name)))
    }
}
