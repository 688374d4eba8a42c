//! What callers ask of a conversion, in Python's words.

use bridge_core::{CopyPolicy, DataType, Device, Options, Overflow};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The options, as they are asked for.
pub(crate) fn options(
    device: Option<&Bound<'_, PyAny>>,
    dtype: Option<&Bound<'_, PyAny>>,
    copy: Option<bool>,
    overflow: &str,
) -> PyResult<Options<'static>> {
    let mut options = Options::default().copy(match copy {
        None => CopyPolicy::IfNeeded,
        Some(true) => CopyPolicy::Always,
        Some(false) => CopyPolicy::Never,
    });
    options = options.overflow(match overflow {
        "refuse" => Overflow::Refuse,
        "saturate" => Overflow::Saturate,
        "wrap" => Overflow::Wrap,
        other => {
            let text = format!("overflow is {other:?}: it is one of 'refuse', 'saturate', 'wrap'");
            return Err(PyValueError::new_err(text));
        }
    });
    if let Some(device) = device {
        options = options.on(self::device(device)?);
    }
    if let Some(dtype) = dtype {
        options = options.cast(data_type(dtype)?);
    }
    Ok(options)
}

/// A device by its name: "cpu", "cuda:0"; or an object that prints so, as `torch.device` does.
pub(crate) fn device(named: &Bound<'_, PyAny>) -> PyResult<Device> {
    let name = text_of(named)?;
    match name.as_str() {
        "host" => return Ok(Device::CPU),
        "cuda" | "gpu" => return Ok(Device::cuda(0)),
        _ => {}
    }
    name.parse().map_err(|error| {
        PyValueError::new_err(format!("device {name:?}: {error}; say 'cpu', 'cuda:0' or the like"))
    })
}

/// An element type by its name, "float32", or by an object that names it as NumPy's and PyTorch's dtypes do.
pub(crate) fn data_type(named: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let name = text_of(named)?;
    let plain = name.rsplit('.').next().unwrap_or(&name);
    let plain = match plain {
        "half" => "float16",
        "float" => "float32",
        "double" => "float64",
        other => other,
    };
    plain.parse().map_err(|error| {
        PyValueError::new_err(format!(
            "dtype {name:?}: {error}; say 'float32', 'int64' or the like"
        ))
    })
}

fn text_of(named: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = named.cast::<PyString>() {
        return Ok(text.to_string());
    }
    // Classes such as numpy.float32 and jax.numpy.float32 have their name; dtypes print it.
    for attribute in ["name", "__name__"] {
        if let Ok(name) = named.getattr(attribute).and_then(|name| name.extract::<String>()) {
            return Ok(name);
        }
    }
    let text = named.str()?.to_string();
    if text.contains('<') {
        return Err(PyTypeError::new_err(format!("{text} names no device or element type")));
    }
    Ok(text)
}
