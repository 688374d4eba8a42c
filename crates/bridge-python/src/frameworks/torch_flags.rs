//! Questions to a tensor of PyTorch that are answered by yes or no.

use std::ffi::c_void;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// An attribute or a method without arguments of PyTorch's tensors. The C function behind it is called at once: looking
/// it up and the call by the interpreter take as long as its answer.
pub(super) struct Flag {
    asked: Asked,
    /// What was found at the class, which keeps the functions.
    found: Py<PyAny>,
}

enum Asked {
    Attribute(ffi::getter, Closure),
    Method(ffi::PyCFunction),
    /// A function that takes the tensor, where it is neither.
    Call,
    /// An attribute of another kind.
    Look(&'static str),
}

/// What the C function of an attribute wants to be given.
#[derive(Clone, Copy)]
struct Closure(*mut c_void);

// SAFETY: it belongs to the function, which may be called on every thread that is attached to the interpreter.
unsafe impl Send for Closure {}
// SAFETY: as above.
unsafe impl Sync for Closure {}

impl Flag {
    /// What `class` has under this name.
    pub(super) fn of(class: &Bound<'_, PyType>, name: &'static str) -> PyResult<Self> {
        let found = class.getattr(name)?;
        // SAFETY: the object is alive.
        let kind = unsafe { ffi::Py_TYPE(found.as_ptr()) };
        let asked = if kind == &raw mut ffi::PyGetSetDescr_Type {
            // SAFETY: an object of exactly this class has this layout; what it leads to lives as long as it does.
            let of = unsafe { &*found.as_ptr().cast::<ffi::PyGetSetDescrObject>() };
            // SAFETY: as above.
            let (is_of_class, attribute) =
                unsafe { (is_part_of(class, &of.d_common), &*of.d_getset) };
            match attribute.get {
                Some(get) if is_of_class => Asked::Attribute(get, Closure(attribute.closure)),
                _ => Asked::Look(name),
            }
        } else if kind == &raw mut ffi::PyMethodDescr_Type {
            // SAFETY: as above.
            let of = unsafe { &*found.as_ptr().cast::<ffi::PyMethodDescrObject>() };
            // SAFETY: as above.
            let (is_of_class, method) = unsafe { (is_part_of(class, &of.d_common), &*of.d_method) };
            if is_of_class && method.ml_flags == ffi::METH_NOARGS {
                // SAFETY: with these flags it is such a function.
                Asked::Method(unsafe { method.ml_meth.PyCFunction })
            } else {
                Asked::Call
            }
        } else if found.is_callable() {
            Asked::Call
        } else {
            Asked::Look(name)
        };
        Ok(Self { asked, found: found.unbind() })
    }

    /// Whether the tensor says yes.
    ///
    /// # Safety
    ///
    /// The object is an instance of the class that the flag was found at.
    #[inline]
    pub(super) unsafe fn is_set(&self, tensor: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (py, object) = (tensor.py(), tensor.as_ptr());
        // SAFETY: the functions were found at a descriptor of a class that the object is an instance of, as the caller
        // promises, which is all that the interpreter checks before it calls them as is done here; the
        // interpreter is attached; they return a new reference, or null with an exception.
        let answer = unsafe {
            match &self.asked {
                Asked::Attribute(get, closure) => get(object, closure.0),
                Asked::Method(method) => method(object, std::ptr::null_mut()),
                Asked::Call => ffi::PyObject_CallOneArg(self.found.as_ptr(), object),
                Asked::Look(name) => tensor.getattr(*name)?.into_ptr(),
            }
        };
        // SAFETY: as above.
        let answer = unsafe { Bound::from_owned_ptr_or_err(py, answer) }?;
        // SAFETY: the object lives as long as the interpreter.
        if answer.as_ptr() == unsafe { ffi::Py_False() } {
            return Ok(false);
        }
        answer.is_truthy()
    }
}

/// Whether an instance of `class` is one of the class that a descriptor belongs to.
///
/// # Safety
///
/// The descriptor is alive.
unsafe fn is_part_of(class: &Bound<'_, PyType>, descriptor: &ffi::PyDescrObject) -> bool {
    // SAFETY: both classes are alive, the second as long as the descriptor.
    unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), descriptor.d_type) == 1 }
}
