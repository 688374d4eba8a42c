//! pyclesperanto: arrays in the memory of an OpenCL device, which it alone reaches.

use std::marker::PhantomData;

use bridge_core::{
    Accepts, Access, Backend, DataType, Descriptor, Device, DeviceKind, Error, Layout, LayoutRule,
    ManagedTensor, Overflow, Refused, Result, Runtime, SharedTensor, TensorSpec, Unavailable,
};
use numpy::PyArrayDescr;
use pyo3::intern;
use pyo3::prelude::*;

use super::{array_of, kept, numpy_dtypes};
use crate::framework::Framework;
use crate::frameworks::Numpy;
use crate::object::{Object, Of, PythonFramework, failed};
use crate::python_module;

pub(crate) struct Pyclesperanto;

/// What its devices have; anything else it would narrow without a word.
const DATA_TYPES: &[DataType] = &[
    DataType::I8,
    DataType::U8,
    DataType::I16,
    DataType::U16,
    DataType::I32,
    DataType::U32,
    DataType::F32,
];

const MOST: usize = u32::MAX as usize;

impl PythonFramework for Pyclesperanto {
    const FRAMEWORK: Framework = Framework::Pyclesperanto;
    const DESCRIPTOR: &'static Descriptor = &Descriptor {
        name: "pyclesperanto",
        aliases: &["cle"],
        framework: "pyclesperanto",
        priority: 40,
    };
    // Up to three axes, and none without elements.
    const ACCEPTS: Accepts = Accepts::on(&[DeviceKind::Extension], DATA_TYPES)
        .layout(LayoutRule::RowMajor)
        .ranks(1, 3)
        .extent(-1, 1, MOST)
        .extent(-2, 1, MOST)
        .extent(-3, 1, MOST);

    const EVERYWHERE: &'static [Device] = &[];

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let py = object.py();
        let told = |error| failed(Framework::Pyclesperanto, "look at an array", py, error);
        let shape: Vec<usize> =
            object.getattr(intern!(py, "shape")).and_then(|shape| shape.extract()).map_err(told)?;
        let dtype = object.getattr(intern!(py, "dtype")).map_err(told)?;
        let dtype = PyArrayDescr::new(py, dtype).map_err(told)?;
        let data_type = numpy_dtypes::data_type(&dtype)?;
        let spec = TensorSpec { data_type, layout: Layout::row_major(&shape)? };
        // A handle, not an address: nobody reads through it, as memory of an extension is its backend's alone.
        let handle = object.as_ptr().cast();
        let owner = Object::<Self>::owner(object);
        let device = Device::new(DeviceKind::Extension, 0);
        // SAFETY: the memory is on a device whose only runtime is below, which asks the object for it; the owner
        // keeps the object.
        let tensor =
            unsafe { ManagedTensor::from_parts(handle, spec, device, Access::Shared, owner) };
        Ok(tensor?)
    }

    fn import(_: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        let what = "memory that is not pyclesperanto's own".to_owned();
        let remedy = "convert it from the host".to_owned();
        Err(Refused::new(tensor, Error::Unsupported { what, remedy }))
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        let module = python_module::of(py, Framework::Pyclesperanto)?;
        let found = module.call_method0("list_available_devices").and_then(|found| found.len());
        match found {
            Ok(0) | Err(_) => Err(Unavailable::new(
                "pyclesperanto finds no OpenCL device",
                "install a driver: on Debian, apt install pocl-opencl-icd for the processor",
            )),
            Ok(_) => Ok(vec![Device::new(DeviceKind::Extension, 0)]),
        }
    }

    kept!();
}

/// Pushes to and pulls from pyclesperanto's current device.
pub(crate) struct PushAndPull;

pub(crate) static RUNTIME: PushAndPull = PushAndPull;

static BACKEND: Of<Pyclesperanto> = Of(PhantomData);

// SAFETY: push and pull have copied when they return.
unsafe impl Runtime for PushAndPull {
    fn backend(&self) -> &'static dyn Backend {
        &BACKEND
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        Python::attach(|py| match to.kind() {
            DeviceKind::Extension => push(py, tensor),
            _ => pull(py, tensor),
        })
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        Python::attach(|py| push(py, &pull(py, tensor)?))
    }

    fn cast(&self, tensor: &ManagedTensor, to: DataType, _: Overflow) -> Result<ManagedTensor> {
        let what = format!("casting {} to {to} on an OpenCL device", tensor.data_type());
        Err(Error::Unsupported { what, remedy: "cast on the host".to_owned() })
    }

    fn casts(&self, _: DataType, _: DataType, _: Overflow) -> bool {
        false
    }

    /// NumPy keeps what it pulls.
    fn downloads_vectors(&self) -> bool {
        false
    }

    fn synchronize(&self, _: Device) -> Result<()> {
        Ok(())
    }
}

/// A copy on the device of a tensor on the host.
fn push(py: Python<'_>, tensor: &ManagedTensor) -> Result<ManagedTensor> {
    let told = |error| failed(Framework::Pyclesperanto, "push an array", py, error);
    let module = python_module::of(py, Framework::Pyclesperanto)
        .map_err(|why| Error::Unavailable { backend: "pyclesperanto", why })?;
    // SAFETY: the array is dropped before this returns, and nothing writes to it.
    let borrowed = unsafe { borrowed(tensor) }?;
    let array = array_of(py, borrowed).map_err(Refused::into_error)?;
    let pushed = module.call_method1(intern!(py, "push"), (array,)).map_err(told)?;
    let made = Pyclesperanto::export(&pushed)?;
    if (made.data_type(), made.shape()) != (tensor.data_type(), tensor.shape()) {
        let what = format!("{} of shape {:?} in pyclesperanto", tensor.data_type(), tensor.shape());
        let remedy = format!("it made {} of shape {:?} of it", made.data_type(), made.shape());
        return Err(Error::Unsupported { what, remedy });
    }
    Ok(made)
}

/// A copy on the host of a tensor on the device.
fn pull(py: Python<'_>, tensor: &ManagedTensor) -> Result<ManagedTensor> {
    let told = |error| failed(Framework::Pyclesperanto, "pull an array", py, error);
    // Our own tensor shows the whole of one that it shares.
    let shared = tensor.owner_ref::<SharedTensor>().map_or(tensor, |shared| shared);
    let Some(object) = shared.owner_ref::<Object<Pyclesperanto>>() else {
        let what =
            "memory of a device that is not pyclesperanto's, or a part of an array".to_owned();
        return Err(Error::Unsupported { what, remedy: "convert the whole array".to_owned() });
    };
    let array = object.get().bind(py).call_method0(intern!(py, "get")).map_err(told)?;
    let pulled = Numpy::export(&array)?;
    if (pulled.data_type(), pulled.shape()) != (tensor.data_type(), tensor.shape()) {
        let what = format!("an array of {} and shape {:?}", tensor.data_type(), tensor.shape());
        let remedy = format!("it gave {} of shape {:?}", pulled.data_type(), pulled.shape());
        return Err(Error::Unsupported { what, remedy });
    }
    Ok(pulled.limited_to(Access::Shared))
}

/// The tensor, without an owner.
///
/// # Safety
///
/// It is dropped before `tensor` is, and not written to.
unsafe fn borrowed(tensor: &ManagedTensor) -> Result<ManagedTensor> {
    tensor.require_host()?;
    let owner = bridge_core::Owner::nothing();
    // SAFETY: as the caller promises.
    let borrowed = unsafe {
        ManagedTensor::from_parts(
            tensor.data(),
            tensor.spec(),
            tensor.device(),
            Access::ReadOnly,
            owner,
        )
    };
    Ok(borrowed?)
}
