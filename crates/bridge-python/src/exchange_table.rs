//! DLPack's C exchange interface of our own tensor: the functions that other libraries find at its class.
//!
//! None of them waits for a device or makes one wait: a tensor that is not ready on the host, or on the default
//! stream of its device, is refused.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};

use bridge_core::dlpack::{
    DLDeviceType, DLManagedTensorVersioned, DLPackExchangeAPI, DLPackExchangeAPIHeader, DLTensor,
    VERSION,
};
use bridge_core::{
    DataType, Device, DeviceKind, Error, HostMemory, MAX_RANK, ManagedTensor, Stream, TensorError,
    TensorSpec,
};
use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::exchange::NAME;
use crate::tensor::Tensor;

struct Table(DLPackExchangeAPI);

// SAFETY: it is never written, and its functions may be called on any thread that holds the interpreter.
unsafe impl Sync for Table {}

static TABLE: Table = Table(DLPackExchangeAPI {
    header: DLPackExchangeAPIHeader { version: VERSION, prev_api: null_mut() },
    managed_tensor_allocator: Some(allocate),
    managed_tensor_from_py_object_no_sync: Some(export),
    managed_tensor_to_py_object_no_sync: Some(import),
    // Such a header cannot say that nobody may write.
    dltensor_from_py_object_no_sync: None,
    current_work_stream: Some(current_work_stream),
});

/// The capsule that leads to the functions.
pub(crate) fn capsule(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let table = (&raw const TABLE.0).cast_mut().cast();
    // SAFETY: the pointer is not null, and it and the name are static; nobody writes to the table.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(table, NAME.as_ptr(), None)) }
}

/// Runs what an entry of the table does: 0, or -1 with the exception set.
fn answered(work: impl FnOnce(Python<'_>) -> PyResult<()>) -> c_int {
    Python::attach(|py| {
        let done = catch_unwind(AssertUnwindSafe(|| work(py)));
        match done.unwrap_or_else(|_| Err(PyRuntimeError::new_err("arraybridge panicked"))) {
            Ok(()) => 0,
            Err(error) => {
                error.restore(py);
                -1
            }
        }
    })
}

/// `managed_tensor_from_py_object_no_sync`: another tensor over the memory of one of ours.
///
/// # Safety
///
/// The interpreter is held; `object` is null or an object; `out` is null or may be written.
unsafe extern "C" fn export(object: *mut c_void, out: *mut *mut DLManagedTensorVersioned) -> c_int {
    answered(|py| {
        let out = NonNull::new(out).ok_or_else(no_place)?;
        // SAFETY: null or an object, which the caller keeps.
        let object = unsafe { Bound::from_borrowed_ptr_or_opt(py, object.cast()) };
        let object = object.ok_or_else(|| PyTypeError::new_err("there is no object to export"))?;
        let tensor = object.cast::<Tensor>()?.get().handed_out();
        let device = tensor.device();
        if device.kind() == DeviceKind::Extension {
            return Err(PyBufferError::new_err(
                "this tensor is pyclesperanto's own: arraybridge.convert(tensor, \"numpy\") reads it",
            ));
        }
        if !matches!(tensor.stream(), None | Some(Stream(1))) {
            return Err(PyBufferError::new_err(format!(
                "this tensor is ready on a stream of {device} that the exchange interface cannot name: \
                 take it by __dlpack__"
            )));
        }
        // SAFETY: the place may be written, and the tensor in it is the caller's from now on.
        unsafe { out.write(tensor.into_dlpack().as_ptr()) };
        Ok(())
    })
}

/// `managed_tensor_to_py_object_no_sync`: a tensor of ours over the memory of one that is handed over. Where it is
/// refused its deleter has run.
///
/// # Safety
///
/// The interpreter is held; `tensor` is null or a tensor of DLPack that is handed over; `out` is null or may be written.
unsafe extern "C" fn import(tensor: *mut DLManagedTensorVersioned, out: *mut *mut c_void) -> c_int {
    answered(|py| {
        // SAFETY: the caller hands over a tensor as DLPack says, or null, which is refused.
        let tensor = unsafe { ManagedTensor::from_dlpack(tensor) }
            .map_err(|error| PyBufferError::new_err(error.to_string()))?;
        let out = NonNull::new(out).ok_or_else(no_place)?;
        let stream = (tensor.device().kind() == DeviceKind::Cuda).then_some(Stream(1));
        // SAFETY: the caller has ordered its work before that of the stream that `current_work_stream` names.
        let tensor = unsafe { tensor.ready_on(stream) };
        let object = Bound::new(py, Tensor::new(tensor, "tensor"))?;
        // SAFETY: the place may be written, and the reference in it is the caller's from now on.
        unsafe { out.write(object.into_ptr().cast()) };
        Ok(())
    })
}

/// `current_work_stream`: none on the host, and on devices the default one, which is null too.
///
/// # Safety
///
/// The interpreter is held; `out` is null or may be written.
unsafe extern "C" fn current_work_stream(_: DLDeviceType, _: i32, out: *mut *mut c_void) -> c_int {
    answered(|_| {
        let out = NonNull::new(out).ok_or_else(no_place)?;
        // SAFETY: the place may be written.
        unsafe { out.write(null_mut()) };
        Ok(())
    })
}

fn no_place() -> PyErr {
    PyBufferError::new_err("there is no place for the result: its pointer is null")
}

type SetError = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char);

/// `managed_tensor_allocator`: a row-major tensor of zeros on the host, of the type and shape of `prototype`.
///
/// # Safety
///
/// `prototype` is null or a header of DLPack whose shape leads to as many extents as it has axes; `out` is null or may
/// be written; `set_error` may be called with `context`. The interpreter need not be held.
unsafe extern "C" fn allocate(
    prototype: *mut DLTensor,
    out: *mut *mut DLManagedTensorVersioned,
    context: *mut c_void,
    set_error: Option<SetError>,
) -> c_int {
    let made = catch_unwind(|| {
        // SAFETY: null or a header, as the caller promises.
        let prototype = unsafe { prototype.as_ref() };
        let (Some(prototype), Some(out)) = (prototype, NonNull::new(out)) else {
            return Err(invalid("there is no prototype, or no place for the result"));
        };
        // SAFETY: the header is the caller's, with as many extents as axes.
        let made = unsafe { zeros_like(prototype) };
        made.map(|made| (made, out))
    });
    let (kind, message) = match made {
        Ok(Ok((tensor, out))) => {
            // SAFETY: the place may be written, and the tensor in it is the caller's from now on.
            unsafe { out.write(tensor.into_dlpack().as_ptr()) };
            return 0;
        }
        Ok(Err(error)) if error.out_of_memory().is_some() => (c"MemoryError", error.to_string()),
        Ok(Err(error)) => (c"BufferError", error.to_string()),
        Err(_) => (c"RuntimeError", "arraybridge panicked".to_owned()),
    };
    if let Some(set_error) = set_error {
        let message = std::ffi::CString::new(message).unwrap_or_default();
        let kind: &CStr = kind;
        // SAFETY: both texts end, and live until the function returns.
        unsafe { set_error(context, kind.as_ptr(), message.as_ptr()) };
    }
    -1
}

/// # Safety
///
/// The shape of `prototype`, where it is not null, leads to as many extents as it has axes.
unsafe fn zeros_like(prototype: &DLTensor) -> Result<ManagedTensor, Error> {
    let (dtype, device) = (prototype.dtype, prototype.device);
    let data_type = DataType::from_dlpack(dtype.code.0, dtype.bits, dtype.lanes)?;
    let device = Device::from_dlpack(device.device_type.0, device.device_id)?;
    if device != Device::CPU {
        return Err(Error::Unsupported {
            what: format!("memory of {device} from the tensor of arraybridge"),
            remedy: "ask for memory of the host, or ask a library of that device".to_owned(),
        });
    }
    let rank = usize::try_from(prototype.ndim).ok().filter(|&rank| rank <= MAX_RANK);
    let rank = rank.ok_or_else(|| invalid("it has a negative number of axes, or more than 64"))?;
    let mut shape = Vec::with_capacity(rank);
    for axis in 0..rank {
        if prototype.shape.is_null() {
            return Err(invalid("its shape is null, but it has axes"));
        }
        // SAFETY: there is an extent for each axis.
        let extent = unsafe { prototype.shape.add(axis).read() };
        shape.push(usize::try_from(extent).map_err(|_| invalid("an extent is negative"))?);
    }
    let spec = TensorSpec::row_major(data_type, &shape)?;
    let bytes = spec.layout.compact_bytes(data_type)?;
    let memory = HostMemory::zeroed(bytes, ALIGNMENT)?;
    // SAFETY: the memory is initialized; zeros are values of every element type.
    Ok(unsafe { ManagedTensor::from_host_memory(memory, spec) }?)
}

/// What JAX and TensorFlow take without a copy.
const ALIGNMENT: usize = 64;

fn invalid(reason: &str) -> Error {
    Error::Tensor(TensorError::InvalidTensor { reason: reason.to_owned() })
}
