//! Arrays of Apache Arrow, by its C data interface and its C device interface, in capsules of Python.
//!
//! Numbers without nulls are taken as they lie, fixed-size lists of them with a further axis; always read-only,
//! as Arrow's arrays are. Nothing is taken out of a capsule before all of it has been checked.

mod elements;
mod formats;
mod structs;

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use bridge_core::{Access, Device, Error, ManagedTensor, Owner, Result, TensorError};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section2;
use pyo3::{ffi, intern};

use self::elements::Elements;
use self::structs::{Array, DeviceArray, Schema};
use crate::errors;
use crate::release::Released;

/// The tensor of an object that offers an array of Arrow, which keeps that array; None where it offers none.
///
/// # Safety
///
/// Capsules that the object's methods of Arrow return, if they have Arrow's names, hold what Arrow says: structures
/// whose pointers lead to as many things as they count, which are the object's until they are released.
pub(crate) unsafe fn tensor_of(object: &Bound<'_, PyAny>) -> Option<Result<ManagedTensor>> {
    let py = object.py();
    for (method, of_device) in
        [(intern!(py, "__arrow_c_device_array__"), true), (intern!(py, "__arrow_c_array__"), false)]
    {
        let told =
            |error| Err(errors::told(py, "hand its memory over by Arrow's interface", error));
        match object.getattr(method) {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {}
            Err(error) => return Some(told(error)),
            Ok(method) => {
                // SAFETY: as the caller promises.
                let taken = method.call0().map(|pair| unsafe { take(&pair, of_device) });
                return Some(taken.unwrap_or_else(told));
            }
        }
    }
    None
}

/// Takes the array out of the second of two capsules; the first says of what type it is, and is only looked at.
///
/// # Safety
///
/// As [`tensor_of`].
unsafe fn take(pair: &Bound<'_, PyAny>, of_device: bool) -> Result<ManagedTensor> {
    let capsules = pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>();
    let Ok((schema, array)) = capsules else {
        return Err(invalid("its method did not return a pair of capsules"));
    };
    // Where the interpreter has no lock, capsules that two threads come with have one.
    // SAFETY: as the caller promises.
    with_critical_section2(&schema, &array, || unsafe { take_alone(&schema, &array, of_device) })
}

/// As [`take`], while no other thread takes from these capsules.
///
/// # Safety
///
/// As [`tensor_of`].
unsafe fn take_alone(
    schema: &Bound<'_, PyAny>,
    array: &Bound<'_, PyAny>,
    of_device: bool,
) -> Result<ManagedTensor> {
    let schema = content::<Schema>(schema, c"arrow_schema")?;
    let (array, device) = if of_device {
        let whole = content::<DeviceArray>(array, c"arrow_device_array")?;
        // SAFETY: the capsule holds such a structure, which nobody changes meanwhile.
        let device = unsafe { device_of(whole.as_ref()) }?;
        // SAFETY: the array is part of the structure.
        (unsafe { NonNull::new_unchecked(&raw mut (*whole.as_ptr()).array) }, device)
    } else {
        (content::<Array>(array, c"arrow_array")?, Device::CPU)
    };
    // SAFETY: the capsules hold what their names say, and both live until this returns.
    let Elements { spec, data } = unsafe { Elements::of(schema.as_ref(), array.as_ref(), device) }?;
    // SAFETY: the structure is Arrow's, and was not released yet: `Elements::of` has looked.
    let owner = Owner::keep(Released::new(unsafe { Moved::out_of(array) }));
    // SAFETY:
    // - The producer keeps the buffers as the structure says until it is released, which the owner does once when it
    //   is dropped; `Elements::of` has checked that all elements are among those that it counts, and has none that
    //   are null, whose bytes need not be initialized.
    // - `Released` drops the owner on a thread that holds the interpreter.
    // - Nobody writes to an array of Arrow.
    let tensor = unsafe { ManagedTensor::from_parts(data, spec, device, Access::ReadOnly, owner) };
    Ok(tensor?)
}

/// What a capsule of this name leads to.
fn content<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> Result<NonNull<T>> {
    // SAFETY: the object is alive; the first call checks that it is a capsule of that name.
    let pointer = unsafe {
        match ffi::PyCapsule_IsValid(capsule.as_ptr(), name.as_ptr()) {
            1 => ffi::PyCapsule_GetPointer(capsule.as_ptr(), name.as_ptr()),
            _ => std::ptr::null_mut::<c_void>(),
        }
    };
    NonNull::new(pointer.cast::<T>()).filter(|pointer| pointer.is_aligned()).ok_or_else(|| {
        invalid(&format!("its method did not return a capsule \"{}\"", name.to_string_lossy()))
    })
}

fn device_of(whole: &DeviceArray) -> Result<Device> {
    if !whole.sync_event.is_null() {
        return Err(Error::Unsupported {
            what: "an array of Arrow that is ready only after an event".to_owned(),
            remedy: "wait for its device first in its own library, or hand it over by DLPack"
                .to_owned(),
        });
    }
    let kind = u32::try_from(whole.device_type)
        .map_err(|_| invalid(&format!("its device type is {}", whole.device_type)))?;
    // Arrow counts the host as -1, or not at all.
    let is_host = kind == Device::CPU.kind() as u32;
    let ordinal = if is_host { Ok(0) } else { i32::try_from(whole.device_id) };
    let ordinal =
        ordinal.map_err(|_| invalid(&format!("its device has the number {}", whole.device_id)))?;
    let device = Device::from_dlpack(kind, ordinal)?;
    if !device.kind().has_addresses() {
        return Err(Error::Unsupported {
            what: format!("an array of Arrow on {device}, whose memory has no addresses"),
            remedy: "copy it to the host first in its own library".to_owned(),
        });
    }
    Ok(device)
}

/// An array that has been moved out of its capsule: it is released once, when this is dropped.
struct Moved(Array);

// SAFETY: what is done with it is to release it, which Arrow's producers allow on any thread.
unsafe impl Send for Moved {}

impl Moved {
    /// Moves the structure, as Arrow says: what stays in its place counts as released.
    ///
    /// # Safety
    ///
    /// `array` leads to a structure of Arrow that is not released, and that nobody else uses meanwhile.
    unsafe fn out_of(array: NonNull<Array>) -> Self {
        // SAFETY: the caller promises a structure; it has no address that its producer relies on.
        unsafe {
            let moved = Self(array.read());
            (*array.as_ptr()).release = None;
            moved
        }
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: the structure is not released, and this is the only time that it is.
            unsafe { release(&raw mut self.0) };
        }
    }
}

fn invalid(reason: &str) -> Error {
    Error::Tensor(TensorError::InvalidTensor { reason: format!("of Arrow's interface: {reason}") })
}
