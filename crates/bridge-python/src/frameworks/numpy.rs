//! NumPy: arrays are read and made through its C interface, which knows all that DLPack cannot say.

use std::ffi::c_void;

use bridge_core::{
    Accepts, Access, Descriptor, Device, Error, Layout, ManagedTensor, Refused, Result, Strides,
    TensorSpec, TensorView, Unavailable,
};
use numpy::npyffi::{
    NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_WRITEABLE, NpyTypes, PY_ARRAY_API,
    get_type_object, npy_intp,
};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::PyTypeInfo;
use pyo3::prelude::*;

use super::{kept, numpy_dtypes};
use crate::classes;
use crate::framework::Framework;
use crate::object::{Object, PythonFramework, failed};
use crate::python_module;

pub(crate) struct Numpy;

impl PythonFramework for Numpy {
    const FRAMEWORK: Framework = Framework::Numpy;
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor { name: "numpy", aliases: &["np"], framework: "NumPy", priority: 90 };
    const ACCEPTS: Accepts = Accepts::host(&numpy_dtypes::ALL);

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let view = view_of(object)?;
        // SAFETY: the array keeps the memory, and the owner the array; `resize` refuses while there are references.
        Ok(unsafe { view.kept_by(Object::<Self>::owner(object)) })
    }

    fn view<'a>(
        object: &'a Bound<'_, PyAny>,
        view: &mut TensorView<'a>,
    ) -> Result<Option<ManagedTensor>> {
        *view = view_of(object)?;
        Ok(None)
    }

    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        array_of(py, tensor)
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        python_module::of(py, Framework::Numpy).map(|_| vec![Device::CPU])
    }

    kept!();
}

/// The tensor of an array as long as the array is borrowed.
#[inline]
fn view_of<'a>(object: &'a Bound<'_, PyAny>) -> Result<TensorView<'a>> {
    let Ok(array) = object.cast::<PyUntypedArray>() else {
        let what = "an object whose class only claims to be NumPy's".to_owned();
        return Err(Error::Unsupported { what, remedy: "make an array of it first".to_owned() });
    };
    let class = object.get_type();
    let is_own = class.is(PyUntypedArray::type_object(object.py()));
    if !is_own && classes::is_made_of(&class, "MaskedArray") {
        return Err(Error::Unsupported {
            what: "a masked array".to_owned(),
            remedy: "fill it first: `array.filled(0)`, and hand the mask over on its own"
                .to_owned(),
        });
    }
    let dtype = array.dtype();
    let data_type = numpy_dtypes::data_type(&dtype)?;
    let layout = layout_of(array, dtype.itemsize())?;
    // SAFETY: the array is alive, and its fields may be read while the interpreter is attached.
    let (data, writeable) = unsafe {
        let array = &(*array.as_array_ptr()).fields;
        (array.data.cast::<c_void>(), array.flags & NPY_ARRAY_WRITEABLE != 0)
    };
    let access = if writeable { Access::Shared } else { Access::ReadOnly };
    let spec = TensorSpec { data_type, layout };
    // SAFETY:
    // - NumPy keeps the memory that shape and strides reach as long as the array lives, which is borrowed;
    //   `resize` refuses while there are references, of which the caller's is one.
    // - The elements are initialized, as NumPy has no uninitialized ones that it would not read itself.
    // - An array that is not writeable may share memory with one that is: nothing in this crate makes a Rust
    //   reference to elements, which are copied through raw pointers only (docs/soundness.md).
    let view = unsafe { TensorView::from_parts(data, spec, Device::CPU, access) };
    Ok(view?)
}

/// Whether an array is row-major and may be written: then every framework of the host takes it as it lies, if it
/// has the element type.
pub(crate) fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    const PLAIN: i32 = NPY_ARRAY_WRITEABLE | NPY_ARRAY_ALIGNED | NPY_ARRAY_C_CONTIGUOUS;
    let Ok(array) = object.cast_exact::<PyUntypedArray>() else { return false };
    // SAFETY: the array is alive, and its fields may be read while the interpreter is attached.
    unsafe { (*array.as_array_ptr()).fields.flags & PLAIN == PLAIN }
}

/// The layout of an array, whose strides NumPy counts in bytes.
fn layout_of(array: &Bound<'_, PyUntypedArray>, item: usize) -> Result<Layout> {
    let (shape, strides) = (array.shape(), array.strides());
    if array.is_c_contiguous() {
        return Ok(Layout::row_major(shape)?);
    }
    let item = isize::try_from(item).unwrap_or(1).max(1);
    let mut found = Strides::new();
    for (axis, &stride) in strides.iter().enumerate() {
        // The stride of one element, or of none, means nothing.
        if stride % item != 0 && shape[axis] > 1 {
            return Err(Error::Unsupported {
                what: format!(
                    "an array whose axis {axis} goes on by {stride} bytes of {item} each"
                ),
                remedy: "copy it first: `numpy.ascontiguousarray(array)`".to_owned(),
            });
        }
        found.push(stride / item);
    }
    Ok(Layout::new(shape, &found, 0)?)
}

/// An array of the tensor's memory, which keeps the tensor, or the object that it was exported from.
pub(crate) fn array_of(
    py: Python<'_>,
    tensor: ManagedTensor,
) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
    let dtype = match numpy_dtypes::dtype(py, tensor.data_type()) {
        Ok(dtype) => dtype,
        Err(error) => return Err(Refused::new(tensor, error)),
    };
    let layout = tensor.layout();
    let item = tensor.data_type().bits() as npy_intp / 8;
    let mut shape: [npy_intp; 64] = [0; 64];
    let mut strides: [npy_intp; 64] = [0; 64];
    let rank = layout.shape().len();
    for axis in 0..rank {
        // The extents and the strides in bytes of a checked layout fit.
        shape[axis] = layout.shape()[axis] as npy_intp;
        strides[axis] = layout.strides()[axis] as npy_intp * item;
    }
    let flags = if tensor.access() == Access::ReadOnly { 0 } else { NPY_ARRAY_WRITEABLE };
    let data = match layout.is_empty() {
        // Without elements NumPy allocates nothing of its own where there is any pointer.
        true => std::ptr::NonNull::<u64>::dangling().as_ptr().cast(),
        false => tensor.first_element().cast::<c_void>(),
    };
    // SAFETY: NumPy is loaded, as there is a dtype; the dtype's reference is given up, in a failure too; the arrays
    // have `rank` values; the memory is kept by the base that is set below, before anybody sees the array.
    let array = unsafe {
        let class = get_type_object(py, NpyTypes::PyArray_Type);
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            class,
            dtype,
            rank as i32,
            shape.as_mut_ptr(),
            strides.as_mut_ptr(),
            data,
            flags,
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, array)
    };
    let array = match array {
        Ok(array) => array,
        Err(error) => {
            let error = failed(Framework::Numpy, "make an array", py, error);
            return Err(Refused::new(tensor, error));
        }
    };
    let base = crate::keeper::base_of(py, tensor)?;
    // SAFETY: the array is new and has no base; the reference to the base is given up, in a failure too.
    let set =
        unsafe { PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), base.into_ptr()) };
    assert_eq!(set, 0, "a new array takes a base");
    Ok(array.unbind())
}
