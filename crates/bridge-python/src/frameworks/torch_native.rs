//! Whether the elements of a tensor are what its memory holds, asked of the C++ functions behind PyTorch's own.
//!
//! `is_neg` and `is_conj` of Python give the interpreter's lock back and take it again, which takes many times as long
//! as the answer. The library that they lead to is loaded wherever PyTorch is, and exports the functions.

use std::path::Path;

use libloading::Library;
use pyo3::types::{IntoPyDict, PyType};
use pyo3::{IntoPyObjectExt, ffi, intern, prelude::*};

/// PyTorch's functions, which have been seen to answer as its methods do.
pub(super) struct Questions {
    requires_grad: unsafe extern "C" fn(*const TensorImpl) -> bool,
    is_neg: unsafe extern "C" fn(*const Tensor) -> bool,
    is_conj: unsafe extern "C" fn(*const Tensor) -> bool,
    // The functions are theirs.
    _libraries: [Library; 2],
}

/// `c10::TensorImpl`, whose contents are PyTorch's.
#[repr(C)]
struct TensorImpl([u8; 0]);

/// `at::Tensor`: a pointer that counts.
type Tensor = *const TensorImpl;

/// How the tensor lies in an object of Python: right behind its head.
#[repr(C)]
struct TensorObject {
    head: ffi::PyObject,
    tensor: Tensor,
}

impl Questions {
    /// The functions, where this PyTorch has them, keeps its tensors where they are looked for, and answers by them as its
    /// methods do.
    pub(super) fn of(torch: &Bound<'_, PyModule>, class: &Bound<'_, PyType>) -> Option<Self> {
        let questions = Self::in_libraries_of(torch)?;
        questions.answer_as_methods(torch, class).ok()?.then_some(questions)
    }

    fn in_libraries_of(torch: &Bound<'_, PyModule>) -> Option<Self> {
        use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
        let file = torch.filename().ok()?;
        let folder = Path::new(file.to_str().ok()?).parent()?.join("lib");
        let of_torch = |name| loaded(&folder.join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}")));
        let (tensors, core) = (of_torch("torch_cpu")?, of_torch("c10")?);
        // SAFETY: the names say what the functions take: `c10::TensorImpl::requires_grad() const`, and of
        // `at::native`, `is_neg(at::Tensor const&)` and `is_conj(at::Tensor const&)`. All return a `bool`, which these
        // names do not say, but the declarations of PyTorch do.
        unsafe {
            Some(Self {
                requires_grad: *core.get(b"_ZNK3c1010TensorImpl13requires_gradEv\0").ok()?,
                is_neg: *tensors.get(b"_ZN2at6native6is_negERKNS_6TensorE\0").ok()?,
                is_conj: *tensors.get(b"_ZN2at6native7is_conjERKNS_6TensorE\0").ok()?,
                _libraries: [tensors, core],
            })
        }
    }

    /// Whether tensors lie where they are looked for, and the functions tell those apart that the methods tell apart.
    fn answer_as_methods(
        &self,
        torch: &Bound<'_, PyModule>,
        class: &Bound<'_, PyType>,
    ) -> PyResult<bool> {
        let py = torch.py();
        // SAFETY: the class is alive.
        let size = unsafe { (*class.as_type_ptr()).tp_basicsize };
        if size.cast_unsigned() < size_of::<TensorObject>() {
            return Ok(false);
        }
        for example in examples(torch)? {
            if !example.get_type().is(class) {
                return Ok(false);
            }
            let held: usize = example.getattr(intern!(py, "_cdata"))?.extract()?;
            // SAFETY: an object of this class is large enough, and is kept; nobody writes to it.
            if held == 0 || unsafe { tensor_in(&example).read() }.addr() != held {
                return Ok(false);
            }
            // SAFETY: the object is of this class, and its tensor has been seen to lie there.
            let answers = unsafe { self.asked(&example) };
            let methods = [
                example.getattr(intern!(py, "requires_grad"))?,
                example.call_method0(intern!(py, "is_neg"))?,
                example.call_method0(intern!(py, "is_conj"))?,
            ];
            for (answer, method) in answers.into_iter().zip(methods) {
                if answer != method.extract::<bool>()? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a tensor does not require grad, and nothing is pending that its elements in memory lack.
    ///
    /// # Safety
    ///
    /// The object is of exactly the class that was given to [`of`](Self::of), and PyTorch has shown its memory.
    #[inline]
    pub(super) unsafe fn are_all_denied(&self, object: &Bound<'_, PyAny>) -> bool {
        // SAFETY: tensors of this class lie there, as has been seen, and one that has memory is there.
        let answers = unsafe { self.asked(object) };
        answers == [false; 3]
    }

    /// Whether it requires grad, is negated, is conjugated.
    ///
    /// # Safety
    ///
    /// The object has a tensor right behind its head, which is not null.
    #[inline]
    unsafe fn asked(&self, object: &Bound<'_, PyAny>) -> [bool; 3] {
        let tensor = tensor_in(object);
        // SAFETY: the functions only read what they are given, the tensor in the object, which keeps it; those of a tensor
        // take a reference to one, that of its contents the pointer in it.
        unsafe {
            [(self.requires_grad)(tensor.read()), (self.is_neg)(tensor), (self.is_conj)(tensor)]
        }
    }
}

/// Where the tensor of an object lies.
#[inline]
fn tensor_in(object: &Bound<'_, PyAny>) -> *const Tensor {
    object.as_ptr().wrapping_byte_add(std::mem::offset_of!(TensorObject, tensor)).cast()
}

/// Tensors that answer each question differently, on the host, whatever the defaults of the thread are.
fn examples<'py>(torch: &Bound<'py, PyModule>) -> PyResult<[Bound<'py, PyAny>; 4]> {
    let py = torch.py();
    // Tensors of that mode cannot require grad.
    let mode = torch.getattr("inference_mode")?.call1((false,))?;
    mode.call_method0("__enter__")?;
    let made = (|| {
        let zeros = |data_type| {
            let options =
                [("dtype", torch.getattr(data_type)?), ("device", "cpu".into_bound_py_any(py)?)];
            torch.getattr("zeros")?.call((1,), Some(&options.into_py_dict(py)?))
        };
        let plain = zeros("float32")?;
        let requires_grad = plain.call_method0("detach")?.call_method0("requires_grad_")?;
        let conjugated = zeros("complex64")?.call_method0("conj")?;
        let negated = conjugated.getattr("imag")?;
        Ok([plain, requires_grad, conjugated, negated])
    })();
    mode.call_method1("__exit__", (py.None(), py.None(), py.None()))?;
    made
}

/// A library that is loaded already.
#[cfg(unix)]
fn loaded(file: &Path) -> Option<Library> {
    use libloading::os::unix::{Library, RTLD_LAZY};
    // SAFETY: nothing is loaded here, and so nothing runs.
    let library = unsafe { Library::open(Some(file), RTLD_LAZY | libc::RTLD_NOLOAD) };
    library.ok().map(Into::into)
}

/// The names below are those of compilers for Unix.
#[cfg(not(unix))]
fn loaded(_: &Path) -> Option<Library> {
    None
}
