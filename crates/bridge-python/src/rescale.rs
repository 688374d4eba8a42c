//! The rules by which element types change, for arrays on the host: those of `bridge-memory`, with Python's words for
//! what they refuse.

use bridge_core::{Error, ManagedTensor, Options, Registry, TensorError};
use bridge_memory::budget::Shortage;
use bridge_memory::call::{Rescale, rescaled_with};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::frameworks::{Numpy, array_of};
use crate::memory::{self, Room};
use crate::object::PythonFramework;
use crate::{errors, options};

/// An array of NumPy with elements of the type `dtype`, by a rule of arraybridge.dtype_scaling, which has checked the
/// arguments, in the budget and the pool of the `with` blocks that the call is in. None where either type is NumPy's
/// alone, and where it is NumPy's to say what becomes of a value.
#[pyfunction]
#[pyo3(signature = (data, dtype, rule, low, high, /))]
fn rescaled(
    data: &Bound<'_, PyAny>,
    dtype: &Bound<'_, PyAny>,
    rule: &str,
    low: f64,
    high: f64,
) -> PyResult<Option<Py<PyAny>>> {
    let py = data.py();
    let rescale = match rule {
        "refuse" => Rescale::Refuse,
        "saturate" => Rescale::Saturate,
        "wrap" => Rescale::Wrap,
        "minmax" => Rescale::MinMax,
        "range" => Rescale::Range { low, high },
        _ => return Err(PyValueError::new_err(format!("{rule:?} is no rule to rescale by"))),
    };
    let to = match options::data_type(dtype) {
        Ok(to) => to,
        Err(error) if is_of_options(py, &error) => return Ok(None),
        Err(interruption) => return Err(interruption),
    };
    let Ok(tensor) = Numpy::export(data) else { return Ok(None) };
    let room = Room::default().here(py)?;
    let asked = room.of(Options::default()).interrupted_by(&errors::Signals);
    let from = tensor.data_type();
    let made: Result<ManagedTensor, Error> = py.detach(|| {
        let registry = Registry::global()?;
        let made = rescaled_with(registry, &tensor, to, rescale, asked);
        drop(tensor);
        made
    });
    match made {
        Ok(made) => array_of(py, made)
            .map(Some)
            .map_err(|refused| errors::raised(py, "numpy", "numpy", refused.error())),
        Err(Error::NoCast { .. }) => Ok(None),
        Err(Error::ValueOutOfRange { index, .. }) => {
            let value = data.getattr("flat")?.get_item(index)?;
            // A cast refuses infinities where the type has none: there this rule makes NaN of them.
            if to.is_float() && !value.extract::<f64>()?.is_finite() {
                return Ok(None);
            }
            let value = value.call_method1("__format__", ("",))?;
            Err(PyValueError::new_err(format!(
                "the value {value}, element {index} in row-major order, does not fit into {dtype}: choose a rule \
                 that says what becomes of it ('saturate', 'wrap', 'minmax', 'range')"
            )))
        }
        Err(Error::Tensor(TensorError::InvalidArgument { found, .. })) => {
            Err(PyValueError::new_err(match rescale {
                Rescale::Range { .. } => {
                    format!("{found}, has no place in a range: replace it first")
                }
                _ => format!(
                    "the value {}, cannot be stretched: replace it first, or take the rule 'saturate'",
                    found.replace("NaN", "nan") // as Python prints it
                ),
            }))
        }
        Err(error) => match Shortage::of(&error) {
            Some(shortage) => {
                let raised = memory::short(py, shortage);
                let note =
                    format!("the array was to be rescaled from {from} to {to}, and is as it was");
                // A note that cannot be made is no reason to tell less.
                let _ = raised.value(py).call_method1("add_note", (note,));
                Err(raised)
            }
            None => Err(errors::raised(py, "numpy", "numpy", &error)),
        },
    }
}

/// Whether it says that a name is none: NumPy's dtypes run code of Python for theirs, which anything may interrupt.
fn is_of_options(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyTypeError>(py)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rescaled, module)?)
}
