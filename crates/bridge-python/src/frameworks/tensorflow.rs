//! TensorFlow: its tensors cannot be written, and its capsules have no version.

use bridge_core::{
    Accepts, DataType, Descriptor, Device, DeviceKind, Error, LayoutRule, ManagedTensor, Refused,
    Result, Unavailable,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{capsules, host_and, kept, numpy_dtypes};
use crate::framework::Framework;
use crate::object::{Object, PythonFramework, failed};
use crate::python_module;

pub(crate) struct Tensorflow;

const DATA_TYPES: &[DataType] = &numpy_dtypes::own_and::<15>(&[DataType::BF16]);

impl PythonFramework for Tensorflow {
    const FRAMEWORK: Framework = Framework::Tensorflow;
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor { name: "tensorflow", aliases: &["tf"], framework: "TensorFlow", priority: 60 };
    // Its kernels end the process where memory has another alignment.
    const ACCEPTS: Accepts = Accepts::on(&[DeviceKind::Cpu, DeviceKind::Cuda], DATA_TYPES)
        .layout(LayoutRule::RowMajor)
        .aligned_to(64);

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let py = object.py();
        let told = |error| failed(Framework::Tensorflow, "hand a tensor over", py, error);
        let named = object.getattr(intern!(py, "dtype"));
        if named.is_ok_and(|dtype| dtype.is_instance_of::<PyString>()) {
            // A variable of Keras, which holds one of TensorFlow.
            let value = object.getattr(intern!(py, "value")).map_err(told)?;
            return Object::<Self>::keeping(object, Self::export_own(&value)?);
        }
        Self::export_own(object)
    }

    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        let from_dlpack = python_module::of(py, Framework::Tensorflow)
            .map_err(|why| pyo3::exceptions::PyImportError::new_err(why.to_string()))
            .and_then(|module| {
                let experimental = module.getattr(intern!(py, "experimental"))?;
                experimental.getattr(intern!(py, "dlpack"))?.getattr(intern!(py, "from_dlpack"))
            });
        capsules::to_object_legacy(Framework::Tensorflow, py, tensor, from_dlpack)
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        let module = python_module::of(py, Framework::Tensorflow)?;
        let count = || -> PyResult<u32> {
            let gpus = module.getattr("config")?.call_method1("list_physical_devices", ("GPU",))?;
            Ok(u32::try_from(gpus.len()?).unwrap_or(0))
        };
        let gpus = count().unwrap_or(0);
        Ok(host_and(gpus))
    }

    kept!();
}

impl Tensorflow {
    /// The tensor of one of TensorFlow's own tensors or variables.
    fn export_own(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let py = object.py();
        let told = |error| failed(Framework::Tensorflow, "hand a tensor over", py, error);
        check_dtype(object)?;
        let eager = object.hasattr(intern!(py, "_numpy")).map_err(told)?;
        let variable = object.hasattr(intern!(py, "read_value")).map_err(told)?;
        if variable {
            // Reading a variable gives a tensor of its value.
            let value = object.call_method0(intern!(py, "read_value")).map_err(told)?;
            let tensor = capsules::from_object(Framework::Tensorflow, &value)?;
            return Object::<Self>::keeping(object, tensor.into_read_only());
        }
        if !eager {
            return Err(Error::Unsupported {
                what: "a tensor of a graph, which has no value yet".to_owned(),
                remedy: "convert outside of tf.function, or use tf.py_function".to_owned(),
            });
        }
        let tensor = capsules::from_object(Framework::Tensorflow, object)?;
        Object::<Self>::keeping(object, tensor.into_read_only())
    }
}

/// Refuses text, resources and whatever else has no numbers in memory, for which TensorFlow's own export ends
/// the process.
fn check_dtype(object: &Bound<'_, PyAny>) -> Result<()> {
    let py = object.py();
    let told = |error| failed(Framework::Tensorflow, "look at a tensor", py, error);
    let name: String = object
        .getattr(intern!(py, "dtype"))
        .and_then(|dtype| dtype.getattr(intern!(py, "name")))
        .and_then(|name| name.extract())
        .map_err(told)?;
    match name.trim_end_matches("_ref").parse() {
        Ok(data_type) if DATA_TYPES.contains(&data_type) => Ok(()),
        _ => Err(Error::Unsupported {
            what: format!("a tensor of {name}"),
            remedy: "it has no numbers that other frameworks could read; encode them first, as \
                     tf.io.decode_raw or tf.cast do"
                .to_owned(),
        }),
    }
}
