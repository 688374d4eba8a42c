//! Tensors over DLPack's Python protocol: `__dlpack__`, and the `from_dlpack` of a library.

use bridge_core::{DeviceKind, ManagedTensor, Refused, Result, Stream};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{intern, sync::PyOnceLock};

use crate::capsule;
use crate::framework::Framework;
use crate::object::{failed, given_back, lent};
use crate::offer::Offer;
use crate::streams::{fenced, unfenced};

/// What objects that know versions are asked with.
fn with_version(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    static ARGUMENTS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let arguments = ARGUMENTS.get_or_try_init(py, || {
        let arguments = PyDict::new(py);
        arguments.set_item("max_version", (1, 3))?;
        Ok::<_, PyErr>(arguments.unbind())
    })?;
    Ok(arguments.bind(py).clone())
}

/// The capsule of an object; where it knows no versions, a legacy one.
pub(crate) fn capsule_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let export = object.getattr(intern!(py, "__dlpack__"))?;
    match export.call((), Some(&with_version(py)?)) {
        Err(error) if error.is_instance_of::<PyTypeError>(py) => export.call0(),
        other => other,
    }
}

/// The tensor of an object, which its `__dlpack__` gives.
pub(crate) fn from_object(
    framework: Framework,
    object: &Bound<'_, PyAny>,
) -> Result<ManagedTensor> {
    let py = object.py();
    let told = |error| failed(framework, "hand an array over", py, error);
    let capsule = capsule_of(object).map_err(told)?;
    // SAFETY: the library made the capsule, as DLPack says.
    let tensor = unsafe { capsule::take(&capsule) }?;
    Ok(on_the_default_stream(tensor))
}

/// The tensor that an object gave by `__dlpack__` without having been told a stream.
pub(crate) fn on_the_default_stream(tensor: ManagedTensor) -> ManagedTensor {
    if !matches!(tensor.device().kind(), DeviceKind::Cuda | DeviceKind::CudaManaged) {
        return tensor;
    }
    // SAFETY: where no stream is named, DLPack has it ready on CUDA's legacy default stream, which is always there.
    unsafe { tensor.ready_on(Some(Stream(1))) }
}

/// An array of the tensor, which `from_dlpack` of the library makes of an object that offers it.
///
/// # Errors
///
/// Where the library refuses; the tensor comes back.
pub(crate) fn to_object(
    framework: Framework,
    py: Python<'_>,
    tensor: ManagedTensor,
    from_dlpack: PyResult<Bound<'_, PyAny>>,
) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
    let (lent, shared) = lent(fenced(tensor));
    let made = from_dlpack.and_then(|from_dlpack| {
        let offer = Bound::new(py, Offer::of(lent))?;
        from_dlpack.call1((offer,))
    });
    made.map(Bound::unbind).map_err(|error| {
        let error = failed(framework, "take a tensor over", py, error);
        Refused::new(unfenced(given_back(shared)), error)
    })
}

/// As [`to_object`], for a library that takes capsules without a version.
pub(crate) fn to_object_legacy(
    framework: Framework,
    py: Python<'_>,
    tensor: ManagedTensor,
    from_dlpack: PyResult<Bound<'_, PyAny>>,
) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
    let (lent, shared) = lent(fenced(tensor));
    let made = from_dlpack.and_then(|from_dlpack| {
        // SAFETY: the library's arrays cannot be written but by raw operations of TensorFlow's that write to its own
        // constants as well, which docs/python.md names.
        let lent = unsafe { lent.ignore_read_only() };
        from_dlpack.call1((capsule::legacy(py, lent)?,))
    });
    made.map(Bound::unbind).map_err(|error| {
        let error = failed(framework, "take a tensor over", py, error);
        Refused::new(unfenced(given_back(shared)), error)
    })
}
