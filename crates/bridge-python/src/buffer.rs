//! Arrays by the buffer protocol: memory of the host, described by the object that keeps it.

use bridge_core::{
    Access, DataType, Device, Layout, ManagedTensor, Owner, Result, Strides, TensorSpec,
};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::release::Released;

/// The tensor of an object's buffer, kept by the buffer; None where it has none, or one of other elements
/// than numbers, or one in parts.
pub(crate) fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Result<ManagedTensor>> {
    // A memory view counts strides where the object itself leaves them out.
    let viewed = || PyMemoryView::from(object).and_then(|view| PyUntypedBuffer::get(&view));
    let Ok(buffer) = PyUntypedBuffer::get(object).or_else(|_| viewed()) else {
        return of_one_element(object);
    };
    let data_type = data_type(buffer.format().to_bytes(), buffer.item_size())?;
    if buffer.suboffsets().is_some() {
        return None;
    }
    let layout = match buffer.is_c_contiguous() {
        true => Layout::row_major(buffer.shape()),
        false => {
            let item = isize::try_from(buffer.item_size()).ok()?;
            let mut strides = Strides::new();
            for &stride in buffer.strides() {
                if stride % item != 0 {
                    return None;
                }
                strides.push(stride / item);
            }
            Layout::new(buffer.shape(), &strides, 0)
        }
    };
    Some(layout.map_err(Into::into).and_then(|layout| kept_by(buffer, data_type, layout)))
}

/// The tensor of a buffer without axes, of whose one element a view of bytes is taken.
fn of_one_element(object: &Bound<'_, PyAny>) -> Option<Result<ManagedTensor>> {
    let view = PyMemoryView::from(object).ok()?;
    let ndim: usize = view.getattr("ndim").ok()?.extract().ok()?;
    let format: String = view.getattr("format").ok()?.extract().ok()?;
    let size: usize = view.getattr("itemsize").ok()?.extract().ok()?;
    let data_type = data_type(format.as_bytes(), size).filter(|_| ndim == 0)?;
    let bytes = PyUntypedBuffer::get(&view.call_method1("cast", ("B",)).ok()?).ok()?;
    if bytes.len_bytes() != size {
        return None;
    }
    let layout = Layout::row_major(&[]).map_err(Into::into);
    Some(layout.and_then(|layout| kept_by(bytes, data_type, layout)))
}

/// The tensor of this layout in the memory of a buffer, which holds all its elements and is kept.
fn kept_by(buffer: PyUntypedBuffer, data_type: DataType, layout: Layout) -> Result<ManagedTensor> {
    let spec = TensorSpec { data_type, layout };
    let access = if buffer.readonly() { Access::ReadOnly } else { Access::Shared };
    let (data, owner) = (buffer.buf_ptr(), Owner::keep(Released::new(buffer)));
    // SAFETY: the protocol's owner keeps the memory as it is described until the buffer is released, which the owner
    // does when it is dropped, on any thread; numbers have no invalid bytes but `bool`, which is checked where it is read.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, access, owner) };
    Ok(tensor?)
}

/// The element type of a format of the module `struct`, in the machine's byte order.
fn data_type(format: &[u8], size: usize) -> Option<DataType> {
    let native: &[u8] = if cfg!(target_endian = "little") { b"@=<" } else { b"@=>!" };
    let format = match format.split_first() {
        Some((first, rest)) if native.contains(first) => rest,
        _ => format,
    };
    let found = match (format, size) {
        (b"?", 1) => DataType::BOOL,
        (b"b", 1) => DataType::I8,
        (b"B", 1) => DataType::U8,
        (b"h", 2) => DataType::I16,
        (b"H", 2) => DataType::U16,
        (b"i" | b"l", 4) => DataType::I32,
        (b"I" | b"L", 4) => DataType::U32,
        (b"l" | b"q", 8) => DataType::I64,
        (b"L" | b"Q", 8) => DataType::U64,
        (b"e", 2) => DataType::F16,
        (b"f", 4) => DataType::F32,
        (b"d", 8) => DataType::F64,
        (b"Zf", 8) => DataType::C64,
        (b"Zd", 16) => DataType::C128,
        _ => return None,
    };
    Some(found)
}
