//! The functions of the module.

use bridge_core::{Availability, Backend, Registry};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{Target, convert as convert_source, plan as plan_source};
use crate::report::PyReport;
use crate::source::source_of;
use crate::{classes, errors, options};

/// The framework that `data` is an array of, or None.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn detect(data: &Bound<'_, PyAny>) -> Option<&'static str> {
    classes::framework_of(data).map(crate::framework::Framework::name)
}

/// Converts an array to a framework, copying only where there is no way without.
///
/// `target` is "numpy", "torch", "jax", "tensorflow", "cupy", "pyclesperanto", "tensor", or a backend of
/// Rust. `device` ("cpu", "cuda:0") and `dtype` ("float32") are those of the array unless they
/// are given; `copy` is None (where needed), True (always) or False (never); `overflow` says what a
/// cast does with values that do not fit: "refuse", "saturate" or "wrap".
///
/// Raises MemoryConversionError, which says what was asked, what was found and what to do; the array is
/// as it was.
#[pyfunction]
#[pyo3(signature = (data, target, /, *, device = None, dtype = None, copy = None, overflow = "refuse"))]
fn convert<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    target: &str,
    device: Option<&Bound<'py, PyAny>>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
    overflow: &str,
) -> PyResult<Py<PyAny>> {
    let target = Target::named(target);
    let framework = classes::framework_of(data);
    if let (Target::Framework(target), Some(framework)) = (target, framework)
        && target == framework
        && device.is_none()
        && dtype.is_none()
        && copy != Some(true)
    {
        return Ok(data.clone().unbind());
    }
    let options = options::options(device, dtype, copy, overflow)?;
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    convert_source(py, source, target, options, false).map(|(array, _)| array)
}

/// As convert, and the Report of what was done.
#[pyfunction]
#[pyo3(signature = (data, target, /, *, device = None, dtype = None, copy = None, overflow = "refuse"))]
fn convert_reported<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    target: &str,
    device: Option<&Bound<'py, PyAny>>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
    overflow: &str,
) -> PyResult<(Py<PyAny>, PyReport)> {
    let target = Target::named(target);
    let options = options::options(device, dtype, copy, overflow)?;
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    let from = source.name();
    let (array, report) = convert_source(py, source, target, options, true)?;
    let report = match report {
        Some(report) => PyReport::of_report(&report, from, target.name()),
        None => PyReport::stay(from, target.name()),
    };
    Ok((array, report))
}

/// What convert would do; nothing moves.
#[pyfunction]
#[pyo3(signature = (data, target, /, *, device = None, dtype = None, copy = None, overflow = "refuse"))]
fn plan<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    target: &str,
    device: Option<&Bound<'py, PyAny>>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
    overflow: &str,
) -> PyResult<PyReport> {
    let target = Target::named(target);
    let options = options::options(device, dtype, copy, overflow)?;
    let source = source_of(data).map_err(|error| refused(py, data, target, &error))?;
    let plan = plan_source(py, &source, target, &options)?;
    Ok(PyReport::of_plan(&plan, source.name(), target.name()))
}

/// Every backend, and whether it can run here: a dictionary for each, in the order of the registry.
#[pyfunction]
fn backends(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let registry = Registry::global().map_err(|error| errors::raised(py, "", "", &error))?;
    // It has to be loaded before TensorFlow is.
    let first = crate::frameworks::backend(crate::framework::Framework::Pyclesperanto);
    first.checked_availability();
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

/// The exception for an object that gives no tensor.
#[cold]
fn refused(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    target: Target<'_>,
    error: &bridge_core::Error,
) -> PyErr {
    let source = match classes::framework_of(data) {
        Some(framework) => framework.name().to_owned(),
        None => data.get_type().name().map_or_else(|_| "object".into(), |name| name.to_string()),
    };
    errors::raised(py, &source, target.name(), error)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(detect, module)?)?;
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert_reported, module)?)?;
    module.add_function(wrap_pyfunction!(plan, module)?)?;
    module.add_function(wrap_pyfunction!(backends, module)?)?;
    module.add_class::<crate::tensor::Tensor>()?;
    module.add_class::<PyReport>()
}
