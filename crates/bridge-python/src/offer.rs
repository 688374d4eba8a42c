//! One tensor, offered once over DLPack's Python protocol.

use std::sync::{Mutex, PoisonError};

use bridge_core::ManagedTensor;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

use crate::{capsule, streams};

/// What a library's `from_dlpack` is given; it is gone once that has taken the tensor.
#[pyclass(frozen, name = "Offer", module = "arraybridge")]
pub(crate) struct Offer {
    tensor: Mutex<Option<ManagedTensor>>,
    device: (u32, u32),
}

impl Offer {
    pub(crate) fn of(tensor: ManagedTensor) -> Self {
        let device = (tensor.device().kind() as u32, tensor.device().ordinal());
        Self { tensor: Mutex::new(Some(tensor)), device }
    }
}

#[pymethods]
impl Offer {
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<i64>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // What is offered lies where it shall be and is handed over as it is: the planner has seen to that.
        let _ = (dl_device, copy);
        let taken = self.tensor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tensor = taken.ok_or_else(|| PyBufferError::new_err("it has been taken already"))?;
        let tensor = streams::ready_for(tensor, stream)
            .map_err(|refused| PyBufferError::new_err(refused.error().to_string()))?;
        match max_version {
            Some((major, _)) if major >= 1 => capsule::versioned(py, tensor),
            _ => capsule::legacy(py, tensor),
        }
    }

    fn __dlpack_device__(&self) -> (u32, u32) {
        self.device
    }
}
