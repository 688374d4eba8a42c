//! CuPy: arrays on NVIDIA's GPUs only.

use bridge_core::{
    Accepts, Descriptor, Device, DeviceKind, LayoutRule, ManagedTensor, Refused, Result,
    Unavailable,
};
use pyo3::intern;
use pyo3::prelude::*;

use super::{capsules, kept, numpy_dtypes};
use crate::errors;
use crate::framework::Framework;
use crate::object::{Object, PythonFramework};
use crate::python_module;

pub(crate) struct Cupy;

impl PythonFramework for Cupy {
    const FRAMEWORK: Framework = Framework::Cupy;
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor { name: "cupy", aliases: &["cp"], framework: "CuPy", priority: 50 };
    // It knows no read-only arrays, and takes no memory of the host.
    const ACCEPTS: Accepts =
        Accepts::on(&[DeviceKind::Cuda, DeviceKind::CudaManaged], &numpy_dtypes::OWN)
            .layout(LayoutRule::Any)
            .ignores_read_only();

    const EVERYWHERE: &'static [Device] = &[];

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let tensor = capsules::from_object(Framework::Cupy, object)?;
        Object::<Self>::keeping(object, tensor)
    }

    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        let from_dlpack = python_module::of(py, Framework::Cupy)
            .map_err(|why| pyo3::exceptions::PyImportError::new_err(why.to_string()))
            .and_then(|module| module.getattr(intern!(py, "from_dlpack")));
        capsules::to_object(Framework::Cupy, py, tensor, from_dlpack)
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        let module = python_module::of(py, Framework::Cupy)?;
        let count = || -> PyResult<u32> {
            module.getattr("cuda")?.getattr("runtime")?.call_method0("getDeviceCount")?.extract()
        };
        match count() {
            Ok(0) => Err(no_gpu("CUDA finds no GPU")),
            Ok(gpus) => Ok((0..gpus).map(Device::cuda).collect()),
            Err(error) => Err(no_gpu(&errors::message(py, &error))),
        }
    }

    kept!();
}

fn no_gpu(reason: &str) -> Unavailable {
    Unavailable::new(
        format!("CuPy has no CUDA device: {reason}"),
        "use a machine with an NVIDIA GPU and its driver, or another framework",
    )
}
