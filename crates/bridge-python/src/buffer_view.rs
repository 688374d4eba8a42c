//! Our own tensor by the buffer protocol (PEP 3118): what `memoryview`, `bytes` and NumPy read where it lies.

use std::ffi::{CStr, c_int, c_long};
use std::ptr::NonNull;

use bridge_core::{Access, DataType, ManagedTensor};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The strides in bytes, as views count them. Those of axes with no second element mean nothing.
pub(crate) fn byte_strides(tensor: &ManagedTensor) -> Box<[isize]> {
    let item = tensor.data_type().size_in_bytes().unwrap_or(1).cast_signed();
    let in_bytes = |&stride: &isize| stride.checked_mul(item).unwrap_or(item);
    tensor.layout().strides().iter().map(in_bytes).collect()
}

/// Fills in a view of the tensor's memory, as `flags` ask for it.
///
/// # Errors
///
/// `BufferError`: where the memory is not the host's or not ready, the element type has no format, a
/// read-only tensor is asked for as writable, or one with gaps as if it had none. The view has no owner then.
///
/// # Safety
///
/// - `view` is null, or leads to memory for a view, which nobody else uses meanwhile.
/// - `owner` keeps the tensor, and `byte_strides`, which are [`byte_strides`] of it, in place.
pub(crate) unsafe fn fill(
    view: *mut ffi::Py_buffer,
    flags: c_int,
    tensor: &ManagedTensor,
    byte_strides: &[isize],
    owner: Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some(view) = NonNull::new(view) else {
        return Err(PyBufferError::new_err("there is no view to be filled in"));
    };
    // SAFETY: the pointer leads to memory for a view, which is the caller's to write; an empty view, which has no
    // owner, is what a failure leaves.
    unsafe { view.write(ffi::Py_buffer::new()) };
    let format = checked(flags, tensor).map_err(PyBufferError::new_err)?;
    let layout = tensor.layout();
    let bytes = layout
        .compact_bytes(tensor.data_type())
        .map_err(|error| PyBufferError::new_err(error.to_string()))?;
    let asks = |flag: c_int| flags & flag == flag;
    let mut filled = ffi::Py_buffer::new();
    filled.buf = match layout.is_empty() {
        // Consumers take null for a failure.
        true => NonNull::<u64>::dangling().as_ptr().cast(),
        false => tensor.first_element().cast(),
    };
    filled.len = bytes.cast_signed();
    filled.itemsize = tensor.data_type().size_in_bytes().unwrap_or(1).cast_signed();
    filled.readonly = c_int::from(tensor.access() == Access::ReadOnly);
    if asks(ffi::PyBUF_FORMAT) {
        filled.format = format.as_ptr().cast_mut();
    }
    // Without a shape the memory is one run of bytes.
    filled.ndim = 1;
    if asks(ffi::PyBUF_ND) {
        filled.ndim = layout.rank() as c_int;
        if layout.rank() > 0 {
            // The extents of a layout fit `isize`.
            filled.shape = layout.shape().as_ptr().cast_mut().cast();
        }
    }
    if asks(ffi::PyBUF_STRIDES) && layout.rank() > 0 {
        filled.strides = byte_strides.as_ptr().cast_mut();
    }
    filled.obj = owner.into_ptr();
    // SAFETY:
    // - As above: the memory is the caller's to write.
    // - The view's pointers live as long as its owner, of which it has a reference: the memory, the shape and
    //   the strides, as the caller promises; the format is static. Consumers do not write through the latter three.
    // - The memory is the host's and is ready, and may be written where the view says so: `checked` has seen to it.
    unsafe { view.write(filled) };
    Ok(())
}

/// The format of the elements, where the view that is asked for can be given; else why not.
fn checked(flags: c_int, tensor: &ManagedTensor) -> Result<&'static CStr, String> {
    let (data_type, device, layout) = (tensor.data_type(), tensor.device(), tensor.layout());
    if !device.kind().is_host_accessible() {
        return Err(format!(
            "this tensor is on {device}, and the buffer protocol shows memory of the host only: \
             arraybridge.convert(tensor, \"numpy\") copies it there"
        ));
    }
    if let Some(stream) = tensor.stream() {
        return Err(format!(
            "this tensor is ready only when {device} has done the work on its stream {}, and the buffer \
             protocol cannot say so: arraybridge.convert(tensor, \"numpy\") waits for it",
            stream.0
        ));
    }
    let Some(format) = format_of(data_type) else {
        return Err(format!(
            "{data_type} has no format in the buffer protocol: numpy.asarray(tensor) makes an array of it \
             where the package ml_dtypes has the type, \
             arraybridge.convert(tensor, \"tensor\", dtype=\"float32\") casts it"
        ));
    };
    let asks = |flag: c_int| flags & flag == flag;
    if asks(ffi::PyBUF_WRITABLE) && tensor.access() == Access::ReadOnly {
        return Err("this tensor is read-only, as what it was made of is, and a writable view was asked for: \
             ask for a read-only one, or copy it, arraybridge.convert(tensor, \"tensor\", copy=True)"
            .to_owned());
    }
    let (in_rows, in_columns) = (layout.is_row_major(), layout.is_column_major());
    let refused = if asks(ffi::PyBUF_C_CONTIGUOUS) && !in_rows {
        "row-major memory"
    } else if asks(ffi::PyBUF_F_CONTIGUOUS) && !in_columns {
        "column-major memory"
    } else if asks(ffi::PyBUF_ANY_CONTIGUOUS) && !in_rows && !in_columns {
        "memory without gaps"
    } else if !asks(ffi::PyBUF_STRIDES) && !in_rows {
        "row-major memory, as a view without strides is,"
    } else {
        return Ok(format);
    };
    Err(format!(
        "this tensor has {layout:?}, and {refused} was asked for: take a view with strides, \
         memoryview(tensor), or a row-major copy, arraybridge.convert(tensor, \"tensor\", copy=True)"
    ))
}

/// The format of the module `struct` that means an element type, in the machine's own sizes and byte order.
fn format_of(data_type: DataType) -> Option<&'static CStr> {
    const LONG_IS_64: bool = size_of::<c_long>() == 8;
    let format = match data_type {
        DataType::BOOL => c"?",
        DataType::I8 => c"b",
        DataType::U8 => c"B",
        DataType::I16 => c"h",
        DataType::U16 => c"H",
        DataType::I32 => c"i",
        DataType::U32 => c"I",
        // As NumPy names them.
        DataType::I64 if LONG_IS_64 => c"l",
        DataType::U64 if LONG_IS_64 => c"L",
        DataType::I64 => c"q",
        DataType::U64 => c"Q",
        DataType::F16 => c"e",
        DataType::F32 => c"f",
        DataType::F64 => c"d",
        DataType::C64 => c"Zf",
        DataType::C128 => c"Zd",
        _ => return None,
    };
    Some(format)
}
