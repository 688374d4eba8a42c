//! JAX: its arrays cannot be written.

use bridge_core::{
    Accepts, DataType, Descriptor, Device, DeviceKind, Error, LayoutRule, ManagedTensor, Refused,
    Result, Unavailable,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::{buffer, classes};

use super::{capsules, host_and, kept, numpy_dtypes};
use crate::framework::Framework;
use crate::object::{Object, PythonFramework, failed};
use crate::python_module;

pub(crate) struct Jax;

/// What JAX makes something else of where `jax_enable_x64` is off.
const WIDE: &[DataType] = &[DataType::I64, DataType::U64, DataType::F64, DataType::C128];

impl PythonFramework for Jax {
    const FRAMEWORK: Framework = Framework::Jax;
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor { name: "jax", aliases: &[], framework: "JAX", priority: 70 };
    // Memory with another alignment, or with gaps, it copies.
    const ACCEPTS: Accepts = Accepts::on(&[DeviceKind::Cpu, DeviceKind::Cuda], &numpy_dtypes::ALL)
        .layout(LayoutRule::Dense)
        .aligned_to(64);

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        check_concrete(object)?;
        // The buffer of an array on the host is quicker to get than its capsule.
        let tensor = match buffer::tensor_of(object) {
            Some(tensor) => tensor?,
            None if is_key(object) => {
                return Err(Error::Unsupported {
                    what: "a key of random numbers".to_owned(),
                    remedy: "hand its words over: `jax.random.key_data(key)`".to_owned(),
                });
            }
            None => capsules::from_object(Framework::Jax, object)?,
        };
        Object::<Self>::keeping(object, tensor.into_read_only())
    }

    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        let data_type = tensor.data_type();
        match wide_is_on(py) {
            Ok(true) => {}
            Ok(false) if !WIDE.contains(&data_type) => {}
            Ok(false) => {
                let what = format!("{data_type} in JAX while jax_enable_x64 is off");
                let narrow = match data_type {
                    DataType::I64 => "int32",
                    DataType::U64 => "uint32",
                    DataType::F64 => "float32",
                    _ => "complex64",
                };
                let remedy = format!(
                    "switch it on, jax.config.update('jax_enable_x64', True), or cast: dtype='{narrow}'"
                );
                return Err(Refused::new(tensor, Error::Unsupported { what, remedy }));
            }
            Err(error) => {
                let error = failed(Framework::Jax, "ask for jax_enable_x64", py, error);
                return Err(Refused::new(tensor, error));
            }
        }
        let from_dlpack = py
            .import(intern!(py, "jax.dlpack"))
            .and_then(|module| module.getattr(intern!(py, "from_dlpack")));
        capsules::to_object(Framework::Jax, py, tensor, from_dlpack)
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        let module = python_module::of(py, Framework::Jax)?;
        let count = || -> PyResult<u32> {
            let gpus: Vec<Bound<'_, PyAny>> =
                module.call_method1("devices", ("cuda",))?.extract()?;
            Ok(u32::try_from(gpus.len()).unwrap_or(0))
        };
        // JAX raises where it has no such platform.
        let gpus = count().unwrap_or(0);
        Ok(host_and(gpus))
    }

    kept!();
}

fn wide_is_on(py: Python<'_>) -> PyResult<bool> {
    let jax = py.import(intern!(py, "jax"))?;
    jax.getattr(intern!(py, "config"))?.getattr(intern!(py, "jax_enable_x64"))?.is_truthy()
}

/// Refuses what JAX is only tracing.
fn check_concrete(object: &Bound<'_, PyAny>) -> Result<()> {
    static CONCRETE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (py, class) = (object.py(), object.get_type());
    if CONCRETE.get(py).is_some_and(|known| class.is(known)) {
        return Ok(());
    }
    if classes::is_made_of(&class, "Tracer") {
        return Err(Error::Unsupported {
            what: "an array that JAX is only tracing, inside jit, grad or vmap".to_owned(),
            remedy: "convert outside of the traced function, or use jax.pure_callback".to_owned(),
        });
    }
    CONCRETE.get_or_init(py, || class.unbind());
    Ok(())
}

fn is_key(object: &Bound<'_, PyAny>) -> bool {
    object.get_type().name().is_ok_and(|name| name == "PRNGKeyArray")
}
