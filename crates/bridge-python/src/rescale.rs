//! The rules by which element types change, for arrays on the host: those of `bridge-memory`, with Python's words for
//! what they refuse.

use bridge_core::{Error, ManagedTensor, Registry, TensorError};
use bridge_memory::call::{Rescale, rescaled_unless};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::frameworks::{Numpy, array_of};
use crate::object::PythonFramework;
use crate::{errors, options};

/// An array of NumPy with elements of the type `dtype`, by a rule of arraybridge.dtype_scaling, which has checked the
/// arguments. None where either type is NumPy's alone.
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
    let (Ok(tensor), Ok(to)) = (Numpy::export(data), options::data_type(dtype)) else {
        return Ok(None);
    };
    let made: Result<ManagedTensor, Error> = py.detach(|| {
        let registry = Registry::global()?;
        let made = rescaled_unless(Some(&errors::Signals), registry, &tensor, to, rescale);
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
        Err(error) => Err(errors::raised(py, "numpy", "numpy", &error)),
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rescaled, module)?)
}
