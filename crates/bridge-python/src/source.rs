//! Where arrays come from: the frameworks, and whatever offers its memory.

use bridge_core::{Error, ManagedTensor, Result, TensorView};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::classes;
use crate::exchange::Exchange;
use crate::framework::Framework;
use crate::frameworks::{Cupy, Jax, Numpy, Pyclesperanto, Tensorflow, Torch};
use crate::object::PythonFramework;
use crate::release::drop_deferred;
use crate::tensor::Tensor;
use crate::{arrow, buffer, capsule, cuda_interface, errors};

/// An array's tensor, and the name of where it comes from.
pub(crate) struct Source {
    pub(crate) tensor: ManagedTensor,
    pub(crate) framework: Option<Framework>,
}

impl Source {
    pub(crate) fn name(&self) -> &'static str {
        self.framework.map_or("object", Framework::name)
    }
}

/// The tensor of an array of a framework, without copying.
#[inline]
pub(crate) fn export(framework: Framework, object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
    match framework {
        Framework::Numpy => Numpy::export(object),
        Framework::Cupy => Cupy::export(object),
        Framework::Torch => Torch::export(object),
        Framework::Tensorflow => Tensorflow::export(object),
        Framework::Jax => Jax::export(object),
        Framework::Pyclesperanto => Pyclesperanto::export(object),
    }
}

/// The tensor of any object that is an array or offers its memory, without copying.
pub(crate) fn source_of(object: &Bound<'_, PyAny>) -> Result<Source> {
    drop_deferred(object.py());
    if let Some(framework) = classes::framework_of(object) {
        let tensor = export(framework, object)?;
        return Ok(Source { tensor, framework: Some(framework) });
    }
    let tensor = foreign(object)?;
    Ok(Source { tensor, framework: None })
}

/// As [`source_of`], for a function that only looks at the tensor while its caller holds the object: most are views
/// then, and only the others' tensors are returned.
#[inline]
pub(crate) fn view_of<'a>(
    object: &'a Bound<'_, PyAny>,
    view: &mut TensorView<'a>,
) -> Result<Option<ManagedTensor>> {
    match classes::framework_of(object) {
        Some(Framework::Torch) => Torch::view(object, view),
        Some(Framework::Numpy) => Numpy::view(object, view),
        _ => source_of(object).map(|source| Some(source.tensor)),
    }
}

/// Our own tensor; else Arrow's interfaces, whose arrays say there that nobody may write to them, DLPack, the CUDA array
/// interface, and what NumPy understands: the buffer protocol and the array interface.
fn foreign(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
    let py = object.py();
    if let Ok(own) = object.cast::<Tensor>() {
        return Ok(own.get().view());
    }
    if object.cast::<PyType>().is_ok() {
        return Err(without_memory(object));
    }
    // SAFETY: the class says that its table is DLPack's.
    if let Some(exchange) = unsafe { Exchange::of(&object.get_type()) } {
        // SAFETY: the object is of that class.
        let exported = unsafe { exchange.export(object) };
        let exported = exported.map_err(|error| {
            errors::told(py, "hand its memory over by its exchange interface", error)
        })?;
        if let Some(tensor) = exported {
            return Ok(tensor?);
        }
    }
    // SAFETY: the object says that its capsules are Arrow's.
    if let Some(tensor) = unsafe { arrow::tensor_of(object) } {
        return tensor;
    }
    let has = |name| object.hasattr(name).unwrap_or(false);
    if has(intern!(py, "__dlpack__")) {
        let capsule = crate::frameworks::capsule_of(object)
            .map_err(|error| errors::told(py, "hand its memory over by __dlpack__", error))?;
        // SAFETY: the object says that its capsule is DLPack's.
        let tensor = unsafe { capsule::take(&capsule) }?;
        return Ok(crate::frameworks::on_the_default_stream(tensor));
    }
    if let Some(tensor) = cuda_interface::tensor_of(object) {
        return tensor;
    }
    if let Some(tensor) = buffer::tensor_of(object) {
        return tensor;
    }
    if has(intern!(py, "__array_interface__")) || has(intern!(py, "__array_struct__")) {
        let view = py
            .import(intern!(py, "numpy"))
            .and_then(|numpy| numpy.getattr(intern!(py, "asarray")))
            .and_then(|asarray| asarray.call1((object,)))
            .map_err(|error| errors::told(py, "hand its memory over to NumPy", error))?;
        return Numpy::export(&view);
    }
    Err(without_memory(object))
}

/// Why an object gives no tensor.
#[cold]
fn without_memory(object: &Bound<'_, PyAny>) -> Error {
    let class =
        object.get_type().fully_qualified_name().map_or_else(|_| "it".into(), |n| n.to_string());
    let is_stream = object.hasattr(intern!(object.py(), "__arrow_c_stream__")).unwrap_or(false);
    let remedy = if is_stream && object.cast::<PyType>().is_err() {
        "it is a stream of Arrow, of any number of arrays: make one array of it, \
         `array.combine_chunks()`, or hand the columns of a table over one by one"
    } else {
        "it is no array of a known framework, and has neither __dlpack__, nor an interface of Arrow or \
         CUDA, nor an array interface, nor a buffer; make an array of it: numpy.asarray(...)"
    };
    Error::Unsupported { what: format!("an object of {class}"), remedy: remedy.to_owned() }
}
