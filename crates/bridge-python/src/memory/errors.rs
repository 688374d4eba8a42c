//! What goes wrong, as Python's exceptions.

use bridge_core::{Error, TensorError};
use bridge_memory::budget::Shortage as BridgeShortage;
use pyo3::create_exception;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    arraybridge.memory,
    Shortage,
    PyMemoryError,
    "A budget has no room for what was asked. It has the fields `budget`, `device` and `need`."
);
create_exception!(
    arraybridge.memory,
    Never,
    Shortage,
    "More was asked than the budget has in all, which is the field `capacity`."
);
create_exception!(
    arraybridge.memory,
    NotNow,
    Shortage,
    "More was asked than is left now: `have` bytes. `holders` are (name, bytes), the largest first; \
     `waited` is how many seconds were waited, or None."
);

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Shortage", py.get_type::<Shortage>())?;
    module.add("Never", py.get_type::<Never>())?;
    module.add("NotNow", py.get_type::<NotNow>())
}

/// The exception for an error of arraybridge.
pub(super) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    if let Some(shortage) = BridgeShortage::of(error) {
        return short(py, shortage);
    }
    let text = error.to_string();
    match error {
        Error::Tensor(TensorError::OutOfMemory { .. }) => PyMemoryError::new_err(text),
        Error::Tensor(_) => PyValueError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}

/// The exception for a shortage, with its fields.
pub(crate) fn short(py: Python<'_>, shortage: &BridgeShortage) -> PyErr {
    with_fields(py, shortage).unwrap_or_else(|error| error)
}

fn with_fields(py: Python<'_>, shortage: &BridgeShortage) -> PyResult<PyErr> {
    let text = shortage.to_string();
    let (raised, budget, device, need) = match shortage {
        BridgeShortage::Never { budget, device, need, capacity } => {
            let raised = Never::new_err(text);
            raised.value(py).setattr("capacity", capacity)?;
            (raised, budget, device, need)
        }
        BridgeShortage::NotNow { budget, device, need, have, waited, holders } => {
            let raised = NotNow::new_err(text);
            let value = raised.value(py);
            let holders: Vec<_> =
                holders.iter().map(|holder| (holder.name.as_str(), holder.bytes)).collect();
            value.setattr("have", have)?;
            value.setattr("waited", waited.map(|time| time.as_secs_f64()))?;
            value.setattr("holders", holders)?;
            (raised, budget, device, need)
        }
        _ => return Ok(Shortage::new_err(text)),
    };
    let value = raised.value(py);
    value.setattr("budget", budget)?;
    value.setattr("device", device.map(|device| device.to_string()))?;
    value.setattr("need", need)?;
    Ok(raised)
}
