//! What callers ask of a conversion, in Python's words.

use bridge_core::{CopyPolicy, DataType, Device, Options, Overflow};
use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyComplex, PyFloat, PyInt, PyString};

use crate::memory::Room;

/// What is asked of a conversion, beside its target.
pub(crate) struct Asked<'a, 'py> {
    pub(crate) device: Option<&'a Bound<'py, PyAny>>,
    pub(crate) dtype: Option<&'a Bound<'py, PyAny>>,
    pub(crate) copy: Option<bool>,
    pub(crate) overflow: &'a str,
    pub(crate) budget: Option<&'a Bound<'py, PyAny>>,
    pub(crate) pool: Option<&'a Bound<'py, PyAny>>,
}

impl Default for Asked<'_, '_> {
    fn default() -> Self {
        let (device, dtype, copy) = (None, None, None);
        Self { device, dtype, copy, overflow: "refuse", budget: None, pool: None }
    }
}

impl<'py> Asked<'_, 'py> {
    /// The budget and the pool that are named.
    #[inline]
    pub(crate) fn room(&self) -> PyResult<Room<'py>> {
        Room::named(self.budget, self.pool)
    }

    /// The rest as options.
    pub(crate) fn options(&self) -> PyResult<Options<'static>> {
        let mut options = Options::default().copy(match self.copy {
            None => CopyPolicy::IfNeeded,
            Some(true) => CopyPolicy::Always,
            Some(false) => CopyPolicy::Never,
        });
        options = options.overflow(match self.overflow {
            "refuse" => Overflow::Refuse,
            "saturate" => Overflow::Saturate,
            "wrap" => Overflow::Wrap,
            other => {
                let text =
                    format!("overflow is {other:?}: it is one of 'refuse', 'saturate', 'wrap'");
                return Err(PyValueError::new_err(text));
            }
        });
        if let Some(device) = self.device {
            options = options.on(self::device(device)?);
        }
        if let Some(dtype) = self.dtype {
            options = options.cast(data_type(dtype)?);
        }
        Ok(options)
    }
}

/// A device by its name: "cpu", "cuda:0"; or an object that prints so, as `torch.device` does.
pub(crate) fn device(named: &Bound<'_, PyAny>) -> PyResult<Device> {
    let name = text_of(named)?;
    match name.as_str() {
        "host" => return Ok(Device::CPU),
        "cuda" | "gpu" => return Ok(Device::cuda(0)),
        _ => {}
    }
    // As `arraybridge.AcceleratorDevice` and JAX print.
    let ordinal = name.strip_prefix("gpu:").or_else(|| name.strip_prefix("accelerator:"));
    if let Some(Ok(ordinal)) = ordinal.map(str::parse) {
        return Ok(Device::cuda(ordinal));
    }
    name.parse().map_err(|error| {
        PyValueError::new_err(format!("device {name:?}: {error}; say 'cpu', 'cuda:0' or the like"))
    })
}

/// An element type by its name, "float32", by Python's own class, or by an object that names it as NumPy's and
/// PyTorch's dtypes do.
pub(crate) fn data_type(named: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let py = named.py();
    let own = [
        (py.get_type::<PyBool>(), DataType::BOOL),
        (py.get_type::<PyInt>(), DataType::I64),
        (py.get_type::<PyFloat>(), DataType::F64),
        (py.get_type::<PyComplex>(), DataType::C128),
    ];
    if let Some((_, found)) = own.into_iter().find(|(class, _)| named.is(class)) {
        return Ok(found);
    }
    let other_order = if cfg!(target_endian = "little") { ">" } else { "<" };
    if let Some(order) = named.getattr_opt("byteorder")?
        && order.eq(other_order)?
    {
        let text = format!(
            "dtype {named}: bytes in the other order are NumPy's alone; leave the order out"
        );
        return Err(PyValueError::new_err(text));
    }
    let name = text_of(named)?;
    let plain = match name.strip_prefix("torch.") {
        Some("float") => "float32",
        Some("int") => "int32",
        Some("long") => "int64",
        Some("short") => "int16",
        Some(other) => in_full(other),
        None => in_full(&name),
    };
    plain.parse().map_err(|error| {
        PyValueError::new_err(format!(
            "dtype {name:?}: {error}; say 'float32', 'int64' or the like"
        ))
    })
}

/// The full name of a short one that means the same everywhere; "float" and "int" do not.
fn in_full(name: &str) -> &str {
    match name.trim_start_matches(['=', '|']) {
        "half" | "f2" => "float16",
        "double" | "f8" => "float64",
        "f4" => "float32",
        "i1" => "int8",
        "i2" => "int16",
        "i4" => "int32",
        "i8" => "int64",
        "u1" => "uint8",
        "u2" => "uint16",
        "u4" => "uint32",
        "u8" => "uint64",
        "c8" => "complex64",
        "c16" => "complex128",
        other => other,
    }
}

/// The name that an object is or has. What its attributes raise is raised: the handler of a signal may, within them.
fn text_of(named: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = named.cast::<PyString>() {
        return text.extract(); // not by `str`, which runs handlers of signals, and can fail
    }
    // Classes such as numpy.float32 and jax.numpy.float32 have their name; dtypes print it.
    for attribute in ["name", "__name__"] {
        match named.getattr(attribute).map(|name| name.extract::<String>()) {
            Ok(Ok(name)) => return Ok(name),
            Err(error) if !error.is_instance_of::<PyAttributeError>(named.py()) => {
                return Err(error);
            }
            _ => {}
        }
    }
    let text: String = named.str()?.extract()?;
    if text.contains('<') {
        return Err(PyTypeError::new_err(format!("{text} names no device or element type")));
    }
    Ok(text)
}
