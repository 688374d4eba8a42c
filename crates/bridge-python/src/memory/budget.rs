//! Budgets.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bridge_core::Device;
use bridge_memory::budget::{Budget, Consumer, Hook, Reservation, Shortage};
use bridge_memory::probe::HostProbe;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::errors::{raised, short};
use super::plain::plain;
use super::reservation::PyReservation;
use super::room::{Named, enter, leave};
use super::size::{Size, duration};

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyBudget>()?;
    module.add_class::<PyConsumer>()?;
    module.add_class::<PyReservation>()?;
    module.add_class::<PyHook>()
}

/// Memory that may be reserved up to a capacity, first come first served.
///
/// A budget counts, and allocates nothing: whoever wants memory reserves it first, and gives the room
/// back when the reservation ends. With `fair=True`, each consumer has at most an equal share. With
/// `device`, it counts that device's memory only. Conversions inside `with` reserve in it what they take
/// while they run; `budget=` names it for one conversion.
#[pyclass(name = "Budget", module = "arraybridge.memory", frozen)]
pub(super) struct PyBudget(pub(super) Budget);

/// Somebody who reserves of a budget, by name: conversions too, inside `with` or as their `budget=`.
#[pyclass(name = "Consumer", module = "arraybridge.memory", frozen)]
pub(super) struct PyConsumer(pub(super) Consumer);

#[pymethods]
impl PyBudget {
    #[new]
    #[pyo3(signature = (name, bytes, *, fair = false, device = None))]
    fn new(
        py: Python<'_>,
        name: &str,
        bytes: Size,
        fair: bool,
        device: Option<&str>,
    ) -> PyResult<Self> {
        let budget = match device {
            Some(_) if fair => {
                let text = "a budget of one device is first come, first served: leave out fair=True, \
                            or device";
                return Err(PyValueError::new_err(text));
            }
            Some(device) => Budget::of_device(name, bytes.0, device_of(device)?),
            None if fair => Budget::fair(name, bytes.0),
            None => Budget::new(name, bytes.0),
        };
        budget.map(Self).map_err(|error| raised(py, &error))
    }

    /// The program's budget of one device ("cpu", "cuda:0"), which everybody in it shares: four fifths
    /// of the memory that others leave.
    #[staticmethod]
    fn of(py: Python<'_>, device: &str) -> PyResult<Self> {
        let device = device_of(device)?;
        py.detach(|| Budget::of(device)).map(Self).map_err(|error| raised(py, &error))
    }

    /// The program's budget of all devices together. It has no limit until `capacity` is set.
    #[staticmethod]
    fn process() -> Self {
        Self(Budget::process())
    }

    /// A budget whose capacity is a share of the host's memory that others leave, measured again and
    /// again.
    #[staticmethod]
    #[pyo3(signature = (name, share = 0.8))]
    fn measured(py: Python<'_>, name: &str, share: f64) -> PyResult<Self> {
        py.detach(|| Budget::measured(name, HostProbe::new(), share))
            .map(Self)
            .map_err(|error| raised(py, &error))
    }

    /// A budget that is a part of this one: what is reserved of it is reserved of this one too.
    fn part(&self, py: Python<'_>, name: &str, bytes: Size) -> PyResult<Self> {
        self.0.part(name, bytes.0).map(Self).map_err(|error| raised(py, &error))
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The device whose memory it counts; None where it counts every device's.
    #[getter]
    fn device(&self) -> Option<String> {
        self.0.device().map(|device| device.to_string())
    }

    /// Bytes that can be reserved in all. It can be set.
    #[getter]
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    #[setter]
    fn set_capacity(&self, py: Python<'_>, bytes: Size) -> PyResult<()> {
        self.0.set_capacity(bytes.0).map_err(|error| raised(py, &error))
    }

    /// Bytes that are reserved.
    #[getter]
    fn reserved(&self) -> u64 {
        self.0.reserved()
    }

    /// Bytes that are not.
    #[getter]
    fn available(&self) -> u64 {
        self.0.capacity().saturating_sub(self.0.reserved())
    }

    /// The most bytes that were reserved at any time.
    #[getter]
    fn peak(&self) -> u64 {
        self.0.status().peak
    }

    /// Who holds something, as (name, bytes), the largest first.
    #[getter]
    fn holders(&self) -> Vec<(String, u64)> {
        self.0.status().holders.into_iter().map(|holder| (holder.name, holder.bytes)).collect()
    }

    /// What there is, who holds how much, and how many wait.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = py.detach(|| self.0.status());
        plain(py, &status)
    }

    /// Reserves `bytes`; use it with `with`. With `timeout`, in seconds, it waits in line for them.
    ///
    /// Raises `Never` for more than there will ever be, and `NotNow` for more than is left.
    #[pyo3(signature = (bytes, *, name = "unnamed", timeout = None))]
    fn reserve(
        &self,
        py: Python<'_>,
        bytes: Size,
        name: &str,
        timeout: Option<f64>,
    ) -> PyResult<PyReservation> {
        reserve(py, self.0.consumer(name), bytes.0, timeout)
    }

    /// The consumer of this name. `floor` bytes are kept for it, which it can have at any time.
    #[pyo3(signature = (name, floor = None))]
    fn consumer(&self, py: Python<'_>, name: &str, floor: Option<Size>) -> PyResult<PyConsumer> {
        let Some(floor) = floor else { return Ok(PyConsumer(self.0.consumer(name))) };
        py.detach(|| self.0.consumer_with_floor(name, floor.0))
            .map(PyConsumer)
            .map_err(|error| raised(py, &error))
    }

    /// Has `relieve(missing)` called before a reservation is refused, as long as what this returns is
    /// not closed: it drops what it can do without, and returns how many bytes.
    fn on_pressure(&self, name: &str, relieve: Py<PyAny>) -> PyHook {
        let hook = self.0.on_pressure(name, move |missing| {
            // Where the interpreter has ended, nothing can be given back.
            Python::try_attach(|py| given_back(py, &relieve, missing)).unwrap_or(0)
        });
        PyHook(Mutex::new(Some(hook)))
    }

    /// Conversions of this context reserve here until the block ends.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        enter(slf.py(), Named::Budget(slf.clone().unbind())).map(|()| slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        leave(slf)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.0.is_same(&other.get().0))
    }

    fn __hash__(&self) -> u64 {
        // Equal budgets have the same name.
        self.0
            .name()
            .bytes()
            .fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Budget {}>", py.detach(|| self.0.status()))
    }
}

#[pymethods]
impl PyConsumer {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Bytes it has reserved.
    #[getter]
    fn reserved(&self) -> u64 {
        self.0.reserved()
    }

    /// Bytes that are kept for it.
    #[getter]
    fn floor(&self) -> u64 {
        self.0.floor()
    }

    /// Reserves `bytes`, as `Budget.reserve`.
    #[pyo3(signature = (bytes, *, timeout = None))]
    fn reserve(
        &self,
        py: Python<'_>,
        bytes: Size,
        timeout: Option<f64>,
    ) -> PyResult<PyReservation> {
        reserve(py, self.0.clone(), bytes.0, timeout)
    }

    /// Conversions of this context reserve under its name until the block ends.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        enter(slf.py(), Named::Consumer(slf.clone().unbind())).map(|()| slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        leave(slf)
    }

    fn __repr__(&self) -> String {
        format!("<Consumer {:?} of {} bytes>", self.0.name(), self.0.reserved())
    }
}

/// A function that a budget asks for bytes, until it is closed.
#[pyclass(name = "PressureHook", module = "arraybridge.memory", frozen)]
pub(super) struct PyHook(Mutex<Option<Hook>>);

#[pymethods]
impl PyHook {
    /// The function is not called any more.
    fn close(&self) {
        let hook = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(hook);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyTuple>) {
        self.close();
    }
}

/// What `relieve` says it has given back; what it raises is shown, and counts as nothing.
fn given_back(py: Python<'_>, relieve: &Py<PyAny>, missing: u64) -> u64 {
    let given = relieve.call1(py, (missing,)).and_then(|given| given.extract::<Size>(py));
    match given {
        Ok(given) => given.0,
        Err(error) => {
            error.write_unraisable(py, Some(relieve.bind(py)));
            0
        }
    }
}

fn device_of(name: &str) -> PyResult<Device> {
    name.parse().map_err(|error: bridge_core::DeviceError| PyValueError::new_err(error.to_string()))
}

fn reserve(
    py: Python<'_>,
    consumer: Consumer,
    bytes: u64,
    timeout: Option<f64>,
) -> PyResult<PyReservation> {
    let reserved = match timeout {
        None => py.detach(|| consumer.reserve(bytes)),
        Some(seconds) => wait(py, consumer, bytes, duration(seconds)?)?,
    };
    reserved.map(PyReservation::new).map_err(|shortage| short(py, &shortage))
}

/// How often a thread that waits looks whether Ctrl-C was pressed.
const LOOKS: Duration = Duration::from_millis(50);

/// Waits in line on another thread, so that Ctrl-C ends it on this one. What was waited for is given
/// back then as soon as it is had.
fn wait(
    py: Python<'_>,
    consumer: Consumer,
    bytes: u64,
    timeout: Duration,
) -> PyResult<Result<Reservation, Shortage>> {
    let at_once = py.detach(|| consumer.reserve(bytes));
    if !at_once.as_ref().is_err_and(Shortage::is_passing) || timeout.is_zero() {
        return Ok(at_once);
    }
    let (sender, mut receiver) = mpsc::channel();
    thread::Builder::new()
        .name("arraybridge-wait".to_owned())
        .spawn(move || {
            // Where nobody listens any more, the reservation comes back and is dropped.
            let _ = sender.send(consumer.reserve_waiting(bytes, timeout));
        })
        .map_err(|error| PyRuntimeError::new_err(format!("no thread to wait on: {error}")))?;
    loop {
        let (back, heard) = py.detach(move || {
            let heard = receiver.recv_timeout(LOOKS);
            (receiver, heard)
        });
        receiver = back;
        match heard {
            Ok(reserved) => return Ok(reserved),
            Err(mpsc::RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the thread that waited for room panicked"));
            }
        }
    }
}
