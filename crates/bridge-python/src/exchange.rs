//! DLPack's exchange interface: the C functions that an array class offers, found once for each class.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

use bridge_core::dlpack::{
    DLDeviceType, DLManagedTensorVersioned, DLPackExchangeAPI, DLPackExchangeAPIHeader, DLTensor,
};
use bridge_core::{Access, Device, Error, ManagedTensor, Stream, TensorView};
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use crate::object::given_back;

/// The name of the capsule that leads to a table.
pub(crate) const NAME: &CStr = c"dlpack_exchange_api";

/// The functions of one array class. They live as long as the program, as DLPack demands.
#[derive(Clone, Copy)]
pub(crate) struct Exchange(NonNull<DLPackExchangeAPI>);

// SAFETY: the functions are those of a library, which may be called from any thread that is attached to
// the interpreter; the table is never written.
unsafe impl Send for Exchange {}
// SAFETY: as above.
unsafe impl Sync for Exchange {}

impl Exchange {
    /// What `class` offers under `__dlpack_c_exchange_api__`, in the version that we know.
    ///
    /// # Safety
    ///
    /// A capsule of that attribute and of DLPack's name holds such a table.
    pub(crate) unsafe fn of(class: &Bound<'_, PyType>) -> Option<Self> {
        let capsule = class.getattr(intern!(class.py(), "__dlpack_c_exchange_api__")).ok()?;
        // SAFETY: the object is alive; the call checks that it is a capsule of that name.
        let table = unsafe {
            if ffi::PyCapsule_IsValid(capsule.as_ptr(), NAME.as_ptr()) != 1 {
                return None;
            }
            ffi::PyCapsule_GetPointer(capsule.as_ptr(), NAME.as_ptr())
        };
        let mut header = NonNull::new(table.cast::<DLPackExchangeAPIHeader>())?;
        loop {
            // SAFETY: DLPack's table begins with this header in every version, and each leads to one of an
            // older version or to none.
            let found = unsafe { header.as_ref() };
            if found.version.major == bridge_core::dlpack::VERSION.major {
                return Some(Self(header.cast()));
            }
            header = NonNull::new(found.prev_api)?;
        }
    }

    fn table(&self) -> &DLPackExchangeAPI {
        // SAFETY: the table lives as long as the program and is never written.
        unsafe { self.0.as_ref() }
    }

    /// Reads the tensor of an array, for as long as the array is borrowed, without copying; false where the library has
    /// no function for it.
    ///
    /// # Errors
    ///
    /// What `told` makes of the library's own; the tensor's.
    ///
    /// # Safety
    ///
    /// - `object` is of the class that the functions were found at, keeps its memory as long as the view lives, and
    ///   lets it be used as `access` says.
    /// - No other thread changes its shape or strides until this returns.
    #[inline]
    pub(crate) unsafe fn view<'a>(
        &self,
        object: &'a Bound<'_, PyAny>,
        access: Access,
        view: &mut TensorView<'a>,
        told: impl FnOnce(PyErr) -> Error,
    ) -> Result<bool, Error> {
        let Some(export) = self.table().dltensor_from_py_object_no_sync else { return Ok(false) };
        let mut header = MaybeUninit::<DLTensor>::uninit();
        // SAFETY: the class offers the function for its objects, and the interpreter is attached.
        let done = unsafe { export(object.as_ptr().cast(), header.as_mut_ptr()) };
        if done != 0 {
            return Err(told(PyErr::fetch(object.py())));
        }
        // SAFETY:
        // - The function has written the header where it returns 0.
        // - Shape and strides are those of the library's own tensor, which the object keeps; they are read here and
        //   not needed afterwards, and nobody changes them meanwhile, as the caller promises.
        // - The object keeps the elements, as the caller promises.
        unsafe { view.read_dlpack_header(header.assume_init_ref(), access) }?;
        Ok(true)
    }

    /// The stream that the library submits work on at a device now; CUDA's null stream is the legacy one.
    pub(crate) fn current_stream(&self, py: Python<'_>, device: Device) -> PyResult<Stream> {
        let mut handle: *mut c_void = null_mut();
        let Some(current) = self.table().current_work_stream else { return Ok(Stream(1)) };
        let kind = DLDeviceType(device.kind() as u32);
        // SAFETY: the function writes the handle, and the interpreter is attached.
        let done = unsafe { current(kind, device.ordinal().cast_signed(), &raw mut handle) };
        if done != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Stream((handle.addr() as u64).max(1)))
    }

    /// The tensor of an array, without copying, kept by the library.
    ///
    /// # Safety
    ///
    /// `object` is of the class that the functions were found at.
    pub(crate) unsafe fn export(
        &self,
        object: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Result<ManagedTensor, bridge_core::TensorError>>> {
        let Some(export) = self.table().managed_tensor_from_py_object_no_sync else {
            return Ok(None);
        };
        let mut tensor: *mut DLManagedTensorVersioned = null_mut();
        // SAFETY: the class offers the function for its objects, and the interpreter is attached.
        let done = unsafe { export(object.as_ptr().cast(), &raw mut tensor) };
        if done != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: the library has handed over a tensor of its own.
        Ok(Some(unsafe { ManagedTensor::from_dlpack(tensor) }))
    }

    /// An array of the tensor, without copying.
    ///
    /// # Errors
    ///
    /// The library's own; the tensor comes back.
    ///
    /// # Safety
    ///
    /// The library takes such tensors.
    pub(crate) unsafe fn import(
        &self,
        py: Python<'_>,
        tensor: ManagedTensor,
    ) -> Result<Py<PyAny>, (ManagedTensor, PyErr)> {
        let Some(import) = self.table().managed_tensor_to_py_object_no_sync else {
            return Err((tensor, PyBufferError::new_err("no import in its exchange table")));
        };
        let shared = tensor.into_shared();
        // SAFETY: nobody uses the shared tensor but below, where the library has refused what it was lent.
        let lent = unsafe { shared.lend_dlpack() };
        let mut object: *mut c_void = null_mut();
        // SAFETY: the tensor is handed over, and the interpreter is attached.
        let done = unsafe { import(lent.as_ptr(), &raw mut object) };
        if done != 0 {
            return Err((given_back(shared), PyErr::fetch(py)));
        }
        // SAFETY: the function has returned an object that is ours.
        match unsafe { Bound::from_owned_ptr_or_err(py, object.cast()) } {
            Ok(object) => Ok(object.unbind()),
            Err(error) => Err((given_back(shared), error)),
        }
    }
}
