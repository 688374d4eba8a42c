//! The functions of the module.

use std::sync::atomic::{AtomicBool, Ordering};

use bridge_core::{Availability, Backend, Options, Registry};
use pyo3::Borrowed;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::convert::{Target, convert as convert_source, plan as plan_source};
use crate::framework::Framework;
use crate::frameworks::{is_plain, of_numpy};
use crate::memory::Room;
use crate::options::Asked;
use crate::report::PyReport;
use crate::source::source_of;
use crate::{classes, errors};

/// The framework that `data` is an array of, or None.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn detect<'py>(data: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
    classes::framework_of(data).map(|framework| framework.interned(data.py()))
}

/// The name of the framework that `data` is an array of.
///
/// A `ValueError` names the type and its module where there is none. A class of somebody else's
/// that claims to come from a module of a framework counts as that framework's.
#[pyfunction]
fn detect_memory_type<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match classes::framework_of(data) {
        Some(framework) => Ok(framework.interned(data.py()).into_any()),
        None => claimed(data),
    }
}

/// What a class says of itself, which Python's half knows how to ask.
#[cold]
fn claimed<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    data.py().import("arraybridge.converters")?.getattr("_claimed_memory_type")?.call1((data,))
}

/// Functions of the module with the arguments of `convert`, which `$does` is given.
macro_rules! asked_as_conversions {
    ($($(#[doc = $doc:literal])* $name:ident -> $gives:ty = $does:path;)*) => {$(
        $(#[doc = $doc])*
        #[pyfunction]
        #[pyo3(signature = (
            data, target, /, *,
            device = None, dtype = None, copy = None, overflow = "refuse", budget = None, pool = None
        ))]
        #[expect(clippy::too_many_arguments, reason = "they are keywords of Python")]
        fn $name<'py>(
            data: &Bound<'py, PyAny>,
            target: &Bound<'py, PyAny>,
            device: Option<&Bound<'py, PyAny>>,
            dtype: Option<&Bound<'py, PyAny>>,
            copy: Option<bool>,
            overflow: &str,
            budget: Option<&Bound<'py, PyAny>>,
            pool: Option<&Bound<'py, PyAny>>,
        ) -> PyResult<$gives> {
            let asked = Asked { device, dtype, copy, overflow, budget, pool };
            if let Some(framework) = Framework::told(target) {
                return $does(data, Target::Framework(framework), &asked);
            }
            let target = target.cast::<PyString>().map_err(|_| no_target(target))?;
            $does(data, Target::named(target.to_str()?), &asked)
        }
    )*};
}

asked_as_conversions! {
    /// Converts an array to a framework, copying only where there is no way without.
    ///
    /// `target` is "numpy", "torch", "jax", "tensorflow", "cupy", "pyclesperanto", "tensor", or a backend of
    /// Rust. `device` ("cpu", "cuda:0") and `dtype` ("float32") are those of the array unless they
    /// are given; `copy` is None (where needed), True (always) or False (never); `overflow` says what a
    /// cast does with values that do not fit: "refuse", "saturate" or "wrap". `budget` reserves what the
    /// conversion takes, until it is done, and `pool` gives the memory of its result; left out, they are
    /// those of the `with` blocks that the call is in.
    ///
    /// Raises MemoryConversionError, which says what was asked, what was found and what to do, and NotNow or
    /// Never where the budget has no room; the array is as it was.
    convert -> Py<PyAny> = converted;
    /// As convert, and the Report of what was done.
    convert_reported -> (Py<PyAny>, PyReport) = reported;
    /// What convert would do; nothing moves. A budget is asked whether there is room.
    plan -> PyReport = planned;
    /// What convert would do, step by step, and why every cheaper way cannot be taken; where nothing can be done, why
    /// not. Nothing moves and nothing is raised for what convert would refuse.
    explain -> String = explained;
}

#[cold]
fn no_target(target: &Bound<'_, PyAny>) -> PyErr {
    let found = target.repr().map_or_else(|_| "an object".to_owned(), |text| text.to_string());
    PyTypeError::new_err(format!(
        "target is {found}: it is the name of a framework, as 'numpy' is, a MemoryType, 'tensor', or the name of a \
         backend of Rust"
    ))
}

fn converted(
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    asked: &Asked<'_, '_>,
) -> PyResult<Py<PyAny>> {
    let py = data.py();
    let room = asked.room()?;
    let framework = classes::framework_of(data);
    if let (Target::Framework(target), Some(framework)) = (target, framework)
        && target == framework
        && asked.device.is_none()
        && asked.dtype.is_none()
        && asked.copy != Some(true)
    {
        return Ok(data.clone().unbind());
    }
    if asked.device.is_none() && asked.dtype.is_none() && asked.copy.is_none() {
        return plainly(py, data, framework, target, room);
    }
    let room = room.here(py)?;
    let options = room.of(asked.options()?);
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    convert_source(py, source, target, options, false).map(|(array, _)| array)
}

fn reported(
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    asked: &Asked<'_, '_>,
) -> PyResult<(Py<PyAny>, PyReport)> {
    let py = data.py();
    let room = asked.room()?.here(py)?;
    let options = room.of(asked.options()?);
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    let from = source.name();
    let (array, report) = convert_source(py, source, target, options, true)?;
    let report = match report {
        Some(report) => PyReport::of_report(&report, from, target.name()),
        None => PyReport::stay(from, target.name()),
    };
    Ok((array, report))
}

fn planned(
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    asked: &Asked<'_, '_>,
) -> PyResult<PyReport> {
    let py = data.py();
    let room = asked.room()?.here(py)?;
    let options = room.of(asked.options()?);
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    let plan = plan_source(py, &source, target, &options)?;
    if let Some(admission) = options.admission()
        && !plan.peaks.is_empty()
    {
        let admitted = py.detach(|| admission.admit(&plan.peaks).map(drop));
        admitted.map_err(|error| errors::raised(py, source.name(), target.name(), &error))?;
    }
    Ok(PyReport::of_plan(&plan, source.name(), target.name()))
}

fn explained(
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    asked: &Asked<'_, '_>,
) -> PyResult<String> {
    let py = data.py();
    match planned(data, target, asked) {
        Ok(report) => Ok(report.to_string()),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            let value = error.value(py);
            let told = |name| value.getattr(name).and_then(|text| text.extract::<String>()).ok();
            let source = told("source_type").unwrap_or_else(|| source_name(data));
            let reason = told("reason").unwrap_or_else(|| errors::message(py, &error));
            let (target, reason) = (target.name(), reason.replace('\n', "\n  "));
            Ok(format!("{source} to {target}: impossible\n  {reason}"))
        }
        Err(interruption) => Err(interruption),
    }
}

/// A conversion of which nothing is asked but its target.
fn plainly<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    found: Option<Framework>,
    target: Target<'_>,
    room: Room<'py>,
) -> PyResult<Py<PyAny>> {
    if let (Some(Framework::Numpy), Target::Framework(Framework::Torch)) = (found, target)
        && is_plain(data)
        && let Some(tensor) = of_numpy(data)?
    {
        return Ok(tensor);
    }
    let room = room.here(py)?;
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    convert_source(py, source, target, room.of(Options::default()), false).map(|(array, _)| array)
}

/// `data`, an array of `source_type`, as an array of `target_type`: see arraybridge.converters.
#[pyfunction]
#[pyo3(
    signature = (
        data, source_type, target_type, gpu_id = Given::LeftOut, device = Given::LeftOut, *,
        budget = None, pool = None
    ),
    text_signature = "(data, source_type, target_type, gpu_id=<left out>, device=<left out>, *, budget=None, pool=None)"
)]
#[expect(clippy::too_many_arguments, reason = "they are arguments of Python")]
fn convert_memory<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    source_type: &Bound<'py, PyAny>,
    target_type: &Bound<'py, PyAny>,
    gpu_id: Given<'py>,
    device: Given<'py>,
    budget: Option<&Bound<'py, PyAny>>,
    pool: Option<&Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let room = Room::named(budget, pool)?;
    let source = Framework::told(source_type);
    let target = Framework::told(target_type);
    if let (Some(source), Some(target)) = (source, target)
        && on_the_host(py, &gpu_id, &device, target)?
        && source.is_on_the_host_here(py)?
        && !OBSERVED.load(Ordering::Relaxed)
        && classes::framework_of(data) == Some(source)
    {
        if source == target {
            return Ok(data.clone().unbind());
        }
        return plainly(py, data, Some(source), Target::Framework(target), room);
    }
    static WHOLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let whole = WHOLE.import(py, "arraybridge.converters", "_convert_memory")?;
    let given = PyDict::new(py);
    for (name, value) in [("gpu_id", gpu_id), ("device", device)] {
        if let Given::As(value) = value {
            given.set_item(name, value)?;
        }
    }
    for (name, value) in [("budget", budget), ("pool", pool)] {
        if let Some(value) = value {
            given.set_item(name, value)?;
        }
    }
    whole.call((data, source_type, target_type), Some(&given)).map(Bound::unbind)
}

/// An argument that means something else where it is left out than where it is None.
enum Given<'py> {
    LeftOut,
    As(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Given<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        static LEFT_OUT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let left_out = LEFT_OUT.import(object.py(), "arraybridge.types", "LEFT_OUT")?;
        Ok(if object.is(left_out) { Self::LeftOut } else { Self::As(object.to_owned()) })
    }
}

impl Given<'_> {
    /// Whether it says the host, as far as that can be told at once; None where it says nothing.
    fn says_host(&self) -> Option<bool> {
        static HOST: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let Self::As(value) = self else { return None };
        Some(if value.is_none() {
            true
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            matches!(text.to_str(), Ok("cpu" | "host"))
        } else {
            let host = HOST.import(value.py(), "arraybridge.devices", "HostDevice");
            host.is_ok_and(|class| value.get_type().is(class))
        })
    }
}

/// Whether the result lies on the host, without asking anybody.
fn on_the_host(
    py: Python<'_>,
    gpu_id: &Given<'_>,
    device: &Given<'_>,
    target: Framework,
) -> PyResult<bool> {
    if matches!(target, Framework::Cupy | Framework::Pyclesperanto) {
        return Ok(false);
    }
    match (gpu_id.says_host(), device.says_host()) {
        (None, None) if target == Framework::Numpy => Ok(true),
        (None, None) => target.is_on_the_host_here(py),
        (one, other) => Ok(one.unwrap_or(true) && other.unwrap_or(true)),
    }
}

/// Whether conversions are watched, which the package then does itself.
static OBSERVED: AtomicBool = AtomicBool::new(false);

/// Says whether conversions are watched.
#[pyfunction]
fn set_observed(observed: bool) {
    OBSERVED.store(observed, Ordering::Relaxed);
}

/// Every backend, and whether it can run here: a dictionary for each, in the order of the registry. Frameworks
/// that are installed are imported where `load` is true; else what is not loaded is told as far as that is known.
#[pyfunction]
#[pyo3(signature = (*, load = false))]
fn backends(py: Python<'_>, load: bool) -> PyResult<Vec<Bound<'_, PyDict>>> {
    if load {
        // pyclesperanto has to be loaded before TensorFlow is.
        for framework in Framework::ALL.into_iter().rev() {
            framework.is_on_the_host_here(py)?;
        }
    }
    let registry = Registry::global().map_err(|error| errors::raised(py, "", "", &error))?;
    registry.backends().iter().map(|&backend| row(py, backend)).collect()
}

fn row<'py>(py: Python<'py>, backend: &'static dyn Backend) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("name", backend.name())?;
    row.set_item("framework", backend.descriptor().framework)?;
    match backend.checked_availability() {
        Availability::Ready { devices } => {
            let devices: Vec<_> = devices.iter().map(ToString::to_string).collect();
            row.set_item("devices", devices)?;
            row.set_item("reason", py.None())?;
            row.set_item("remedy", py.None())?;
        }
        Availability::Unavailable(why) => {
            row.set_item("devices", Vec::<String>::new())?;
            row.set_item("reason", why.reason)?;
            row.set_item("remedy", why.remedy)?;
        }
    }
    Ok(row)
}

/// Runs the program `arraybridge` with these arguments, of which the first is its name, and returns its exit code.
#[pyfunction]
fn run_program(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| bridge_cli::run(arguments)).code()
}

/// The exception for an object that gives no tensor.
#[cold]
pub(crate) fn refused(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    error: &bridge_core::Error,
) -> PyErr {
    errors::raised(py, &source_name(data), target.name(), error)
}

/// The framework of an array, or the class of anything else.
fn source_name(data: &Bound<'_, PyAny>) -> String {
    match classes::framework_of(data) {
        Some(framework) => framework.name().to_owned(),
        None => data.get_type().name().map_or_else(|_| "object".into(), |name| name.to_string()),
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(detect, module)?)?;
    module.add_function(wrap_pyfunction!(detect_memory_type, module)?)?;
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert_reported, module)?)?;
    module.add_function(wrap_pyfunction!(convert_memory, module)?)?;
    module.add_function(wrap_pyfunction!(set_observed, module)?)?;
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(explain, module)?)?;
    module.add_function(wrap_pyfunction!(run_program, module)?)?;
    module.add_function(wrap_pyfunction!(backends, module)?)?;
    module.add_class::<crate::tensor::Tensor>()?;
    module.add_class::<PyReport>()
}
