//! What memory was in use over time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_memory::profile::{Monitor, Picture, Recording};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::{MutexExt as _, PyOnceLock};
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::budget::PyBudget;
use super::errors::raised;
use super::plain::plain;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyMonitor>()?;
    module.add_class::<PyRecording>()
}

/// Samples the memory of the process and of each device, every `interval` seconds, on a thread of its
/// own, inside `with` or from `start` to `stop`.
///
/// Of the budgets in `watch` it has what is reserved and the capacity; with `mark_recovery` it marks by
/// itself what happens about out of memory. It never keeps more than `keep` points, and loses no peak.
#[pyclass(name = "Monitor", module = "arraybridge.memory", frozen, weakref)]
struct PyMonitor {
    #[pyo3(get)]
    interval: f64,
    watch: Vec<Py<PyBudget>>,
    mark_recovery: bool,
    keep: usize,
    state: Mutex<State>,
}

enum State {
    New,
    Running(Monitor),
    /// Another thread stops it.
    Stopping,
    Done(Recording),
}

/// What a monitor has recorded.
#[pyclass(name = "Recording", module = "arraybridge.memory", frozen)]
struct PyRecording(Recording);

impl Drop for PyMonitor {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(monitor) = std::mem::replace(state, State::New) {
            // Its thread may need the interpreter's lock to come to its end.
            let mut monitor = Some(monitor);
            Python::try_attach(|py| py.detach(|| drop(monitor.take())));
            // Where the interpreter is ending, the thread may wait for it for ever, and nobody for the thread.
            std::mem::forget(monitor);
        }
    }
}

/// Monitors that were started, as long as they live. Their threads ask the interpreter about devices, and have to end before
/// it does.
fn started(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static STARTED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let started = STARTED.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        let started = py.import("weakref")?.getattr("WeakSet")?.call0()?;
        let stop = wrap_pyfunction!(stop_all, py)?;
        py.import("atexit")?.call_method1("register", (stop, &started))?;
        Ok(started.unbind())
    });
    started.map(|started| started.bind(py))
}

/// Stops each monitor that runs.
#[pyfunction]
fn stop_all(started: &Bound<'_, PyAny>) -> PyResult<()> {
    let monitors: Vec<_> = started.try_iter()?.collect::<PyResult<_>>()?;
    for monitor in monitors {
        // One that does not run is as it should be.
        let _ = monitor.cast::<PyMonitor>()?.get().stop(started.py());
    }
    Ok(())
}

impl PyMonitor {
    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        // Whoever has it may need the interpreter's lock, which this lets go of while it waits.
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyMonitor {
    #[new]
    #[pyo3(signature = (interval = 1.0, *, watch = Vec::new(), mark_recovery = false, keep = 4096))]
    fn new(
        py: Python<'_>,
        interval: f64,
        watch: Vec<Py<PyBudget>>,
        mark_recovery: bool,
        keep: usize,
    ) -> PyResult<Self> {
        // Whatever is wrong with it is said here, and not at the start.
        let _ = Monitor::every(interval).map_err(|error| raised(py, &error))?;
        if keep < 2 {
            let text = format!("keep is {keep}: a monitor keeps 2 points or more");
            return Err(PyValueError::new_err(text));
        }
        Ok(Self { interval, watch, mark_recovery, keep, state: Mutex::new(State::New) })
    }

    /// Starts sampling; the first sample is taken at once.
    fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let mut builder =
            Monitor::every(this.interval).map_err(|error| raised(py, &error))?.keep(this.keep);
        for budget in &this.watch {
            builder = builder.watch(&budget.get().0);
        }
        if this.mark_recovery {
            builder = builder.mark_recovery();
        }
        if matches!(&*this.state(py), State::Running(_) | State::Stopping) {
            return Err(running());
        }
        started(py)?.call_method1("add", (slf,))?;
        let monitor = py.detach(|| builder.start()).map_err(|error| raised(py, &error))?;
        let mut state = this.state(py);
        let refused = if matches!(&*state, State::Running(_) | State::Stopping) {
            Some(monitor) // another thread has started it meanwhile
        } else {
            *state = State::Running(monitor);
            None
        };
        drop(state);
        match refused {
            None => Ok(()),
            Some(monitor) => {
                py.detach(|| drop(monitor));
                Err(running())
            }
        }
    }

    /// Takes a last sample and stops; returns what was recorded. Once more returns the same.
    fn stop(&self, py: Python<'_>) -> PyResult<PyRecording> {
        let mut state = self.state(py);
        let monitor = match &*state {
            State::Running(_) => match std::mem::replace(&mut *state, State::Stopping) {
                State::Running(monitor) => monitor,
                _ => unreachable!("it was looked at while nobody else could change it"),
            },
            State::Done(recording) => return Ok(PyRecording(recording.clone())),
            State::New => return Err(PyRuntimeError::new_err("the monitor was not started")),
            State::Stopping => return Err(stopping()),
        };
        drop(state);
        let recording = py.detach(|| monitor.finish());
        *self.state(py) = State::Done(recording.clone());
        Ok(PyRecording(recording))
    }

    /// Takes one sample now.
    fn sample(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(monitor) => {
                monitor.sample();
                Ok(())
            }
            _ => Err(not_running()),
        })
    }

    /// Records that something happened now.
    fn mark(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        match &*self.state(py) {
            State::Running(monitor) => {
                monitor.mark(what);
                Ok(())
            }
            _ => Err(not_running()),
        }
    }

    /// What was recorded so far.
    #[getter]
    fn recording(&self, py: Python<'_>) -> PyResult<PyRecording> {
        match &*self.state(py) {
            State::Running(monitor) => Ok(PyRecording(monitor.recording())),
            State::Done(recording) => Ok(PyRecording(recording.clone())),
            State::Stopping => Err(stopping()),
            State::New => Err(not_running()),
        }
    }

    /// Whether it samples.
    #[getter]
    fn running(&self, py: Python<'_>) -> bool {
        matches!(&*self.state(py), State::Running(_))
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        Self::start(&slf)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.stop(py).map(drop)
    }

    /// What was recorded, as `Recording.csv`.
    fn csv(&self, py: Python<'_>) -> PyResult<String> {
        self.recording(py)?.csv()
    }

    /// What was recorded, as `Recording.json`.
    fn json(&self, py: Python<'_>) -> PyResult<String> {
        self.recording(py)?.json()
    }

    /// What was recorded, as `Recording.svg`.
    #[pyo3(signature = (title = None))]
    fn svg(&self, py: Python<'_>, title: Option<&str>) -> PyResult<String> {
        self.recording(py)?.svg(py, title)
    }

    /// What was recorded, as `Recording.png`.
    #[pyo3(signature = (title = None))]
    fn png<'py>(&self, py: Python<'py>, title: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
        self.recording(py)?.png(py, title)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = match &*self.state(py) {
            State::New => "not started".to_owned(),
            State::Running(monitor) => format!("running, {} samples", monitor.recording().samples),
            State::Stopping => "stopping".to_owned(),
            State::Done(recording) => format!("stopped, {} samples", recording.samples),
        };
        format!("<Monitor every {} s, {state}>", self.interval)
    }
}

#[pymethods]
impl PyRecording {
    /// The series, by label: a dict each, with the least, the most, the mean and the last in bytes.
    #[getter]
    fn series<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let series = PyDict::new(py);
        for one in &self.0.series {
            series.set_item(&one.label, plain(py, &one.summary)?)?;
        }
        Ok(series)
    }

    /// The points over time, as in `json`.
    #[getter]
    fn points<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.0.points)
    }

    /// What happened meanwhile: (seconds, what).
    #[getter]
    fn marks(&self) -> Vec<(f64, &str)> {
        self.0.marks.iter().map(|mark| (mark.seconds, mark.what.as_str())).collect()
    }

    /// How many samples were asked for.
    #[getter]
    fn samples(&self) -> u64 {
        self.0.samples
    }

    /// How many of them failed.
    #[getter]
    fn missing(&self) -> u64 {
        self.0.missing
    }

    /// One row a point: seconds, the most of each series, what happened.
    fn csv(&self) -> PyResult<String> {
        let mut text = Vec::new();
        self.0.write_csv(&mut text).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        String::from_utf8(text).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    /// All of it.
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    /// A picture of it.
    #[pyo3(signature = (title = None))]
    fn svg(&self, py: Python<'_>, title: Option<&str>) -> PyResult<String> {
        py.detach(|| picture(&self.0, title).svg()).map_err(|error| raised(py, &error))
    }

    /// A picture of it.
    #[pyo3(signature = (title = None))]
    fn png<'py>(&self, py: Python<'py>, title: Option<&str>) -> PyResult<Bound<'py, PyBytes>> {
        let png = py.detach(|| picture(&self.0, title).png());
        png.map(|png| PyBytes::new(py, &png)).map_err(|error| raised(py, &error))
    }

    /// Notebooks show the picture.
    fn _repr_svg_(&self, py: Python<'_>) -> PyResult<String> {
        self.svg(py, None)
    }

    fn __repr__(&self) -> String {
        let labels: Vec<_> = self.0.series.iter().map(|one| one.label.as_str()).collect();
        format!("<Recording of {} samples: {}>", self.0.samples, labels.join(", "))
    }
}

fn picture<'a>(recording: &'a Recording, title: Option<&str>) -> Picture<'a> {
    let picture = Picture::of(recording);
    match title {
        Some(title) => picture.title(title),
        None => picture,
    }
}

fn running() -> PyErr {
    PyRuntimeError::new_err("the monitor runs already: stop it first")
}

fn not_running() -> PyErr {
    PyRuntimeError::new_err("the monitor does not run: use it with `with`, or start it")
}

fn stopping() -> PyErr {
    PyRuntimeError::new_err("another thread is stopping the monitor")
}
