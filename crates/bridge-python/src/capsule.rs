//! DLPack's capsules: tensors on their way between two libraries of Python.

use std::ffi::CStr;

use bridge_core::dlpack::{DLManagedTensor, DLManagedTensorVersioned};
use bridge_core::{ManagedTensor, TensorError};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;

const VERSIONED: &CStr = c"dltensor_versioned";
const LEGACY: &CStr = c"dltensor";
const USED_VERSIONED: &CStr = c"used_dltensor_versioned";
const USED_LEGACY: &CStr = c"used_dltensor";

/// A capsule of the tensor. Whoever takes it renames it; else it drops the tensor with itself.
pub(crate) fn versioned(py: Python<'_>, tensor: ManagedTensor) -> PyResult<Bound<'_, PyAny>> {
    let raw = tensor.into_dlpack();
    // SAFETY: the pointer is not null, the name is static, and the destructor is made for both.
    let capsule = unsafe {
        let capsule =
            ffi::PyCapsule_New(raw.as_ptr().cast(), VERSIONED.as_ptr(), Some(drop_versioned));
        Bound::from_owned_ptr_or_err(py, capsule)
    };
    if capsule.is_err() {
        // SAFETY: no capsule was made, so the tensor is still ours.
        drop(unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) });
    }
    capsule
}

/// A capsule as consumers take it that know no versions.
///
/// # Errors
///
/// Where the tensor is read-only, which they cannot be told.
pub(crate) fn legacy(py: Python<'_>, tensor: ManagedTensor) -> PyResult<Bound<'_, PyAny>> {
    let raw = tensor.into_dlpack_legacy().map_err(|_| {
        PyBufferError::new_err(
            "this tensor is read-only, which a DLPack capsule without a version cannot say: ask for \
             one with `max_version=(1, 0)`, or copy the tensor",
        )
    })?;
    // SAFETY: as in `versioned`.
    let capsule = unsafe {
        let capsule = ffi::PyCapsule_New(raw.as_ptr().cast(), LEGACY.as_ptr(), Some(drop_legacy));
        Bound::from_owned_ptr_or_err(py, capsule)
    };
    if capsule.is_err() {
        // SAFETY: no capsule was made, so the tensor is still ours.
        drop(unsafe { ManagedTensor::from_dlpack_legacy(raw.as_ptr()) });
    }
    capsule
}

/// Takes the tensor out of a capsule, of either kind.
///
/// # Safety
///
/// A capsule with one of DLPack's names holds a tensor as [`ManagedTensor::from_dlpack`] wants it.
pub(crate) unsafe fn take(capsule: &Bound<'_, PyAny>) -> Result<ManagedTensor, TensorError> {
    // Where the interpreter has no lock, a capsule that two threads come with has one.
    // SAFETY: as the caller promises.
    with_critical_section(capsule, || unsafe { take_alone(capsule) })
}

/// As [`take`], while no other thread takes from this capsule.
///
/// # Safety
///
/// As [`take`].
unsafe fn take_alone(capsule: &Bound<'_, PyAny>) -> Result<ManagedTensor, TensorError> {
    let raw = capsule.as_ptr();
    let refused = |reason: &str| Err(TensorError::InvalidTensor { reason: reason.to_owned() });
    // SAFETY: the object is alive; each call checks that it is a capsule of that name.
    unsafe {
        if ffi::PyCapsule_IsValid(raw, VERSIONED.as_ptr()) == 1 {
            let tensor = ffi::PyCapsule_GetPointer(raw, VERSIONED.as_ptr());
            ffi::PyCapsule_SetName(raw, USED_VERSIONED.as_ptr());
            return ManagedTensor::from_dlpack(tensor.cast());
        }
        if ffi::PyCapsule_IsValid(raw, LEGACY.as_ptr()) == 1 {
            let tensor = ffi::PyCapsule_GetPointer(raw, LEGACY.as_ptr());
            ffi::PyCapsule_SetName(raw, USED_LEGACY.as_ptr());
            return ManagedTensor::from_dlpack_legacy(tensor.cast());
        }
        for used in [USED_VERSIONED, USED_LEGACY] {
            if ffi::PyCapsule_IsValid(raw, used.as_ptr()) == 1 {
                return refused(
                    "its DLPack capsule has been taken by somebody else already; each `__dlpack__()` \
                     has to make a new one",
                );
            }
        }
    }
    refused("its `__dlpack__` did not return a DLPack capsule")
}

/// # Safety
///
/// Called by the interpreter, with a capsule of [`versioned`].
unsafe extern "C" fn drop_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: the capsule is alive until this returns; where it has its first name, nobody took the
    // tensor, which is still ours.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, VERSIONED.as_ptr()) == 1 {
            let tensor = ffi::PyCapsule_GetPointer(capsule, VERSIONED.as_ptr());
            drop(ManagedTensor::from_dlpack(tensor.cast::<DLManagedTensorVersioned>()));
        }
    }
}

/// # Safety
///
/// Called by the interpreter, with a capsule of [`legacy`].
unsafe extern "C" fn drop_legacy(capsule: *mut ffi::PyObject) {
    // SAFETY: as in `drop_versioned`.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, LEGACY.as_ptr()) == 1 {
            let tensor = ffi::PyCapsule_GetPointer(capsule, LEGACY.as_ptr());
            drop(ManagedTensor::from_dlpack_legacy(tensor.cast::<DLManagedTensor>()));
        }
    }
}
