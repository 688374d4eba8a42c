//! PyTorch, through DLPack's exchange interface on its tensor class. libtorch is not linked.

use bridge_core::{
    Accepts, Access, DataType, Descriptor, Device, DeviceKind, Error, LayoutRule, ManagedTensor,
    Refused, Result, TensorView, TypeCode, Unavailable,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{ffi, intern};

use super::torch_flags::Flag;
use super::torch_native::Questions;
use super::{capsules, host_and, kept, numpy_dtypes};
use crate::exchange::Exchange;
use crate::framework::Framework;
use crate::object::{Object, PythonFramework, failed};
use crate::streams::{fenced, unfenced};
use crate::{errors, python_module};

pub(crate) struct Torch;

/// The element types of tensors that go over DLPack.
const DATA_TYPES: &[DataType] = &numpy_dtypes::own_and::<20>(&[
    DataType::BF16,
    DataType::F8E4M3FN,
    DataType::F8E5M2,
    DataType::F8E4M3FNUZ,
    DataType::F8E5M2FNUZ,
    DataType::F8E8M0FNU,
]);

/// Memory of the host comes first: what lies nowhere else goes there.
const KINDS: &[DeviceKind] =
    &[DeviceKind::Cpu, DeviceKind::Cuda, DeviceKind::CudaHost, DeviceKind::CudaManaged];

impl PythonFramework for Torch {
    const FRAMEWORK: Framework = Framework::Torch;
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor { name: "torch", aliases: &["pytorch"], framework: "PyTorch", priority: 80 };
    const ACCEPTS: Accepts =
        Accepts::on(KINDS, DATA_TYPES).layout(LayoutRule::Forward).ignores_read_only();

    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor> {
        let mut view = TensorView::nothing();
        match Self::view(object, &mut view)? {
            Some(tensor) => Ok(tensor),
            // SAFETY: the object keeps its memory, as said below, and the owner the object.
            None => Ok(unsafe { view.kept_by(Object::<Self>::owner(object)) }),
        }
    }

    #[inline]
    fn view<'a>(
        object: &'a Bound<'_, PyAny>,
        view: &mut TensorView<'a>,
    ) -> Result<Option<ManagedTensor>> {
        let py = object.py();
        let torch = Known::get(py).map_err(unavailable)?;
        torch.check_class(object)?;
        if let Some(exchange) = &torch.exchange {
            let told = |error| {
                let error = failed(Framework::Torch, "hand a tensor over", py, error);
                without_memory(object).unwrap_or(error)
            };
            // SAFETY: the object is a tensor of PyTorch, as has been checked, whose class has the functions; it keeps
            // its memory as long as nobody gives it another storage or resizes that, which docs/python.md
            // asks of whoever shares a tensor, as PyTorch's own `Tensor.numpy` and DLPack do; that page asks, too, that
            // no other thread changes it in place meanwhile, as PyTorch does of its own functions.
            if unsafe { exchange.view(object, Access::Shared, view, told) }? {
                torch.check(object, view.data_type())?;
                on_its_stream(py, exchange, view)?;
                return Ok(None);
            }
        }
        let tensor = capsules::from_object(Framework::Torch, object)?;
        torch.check(object, tensor.data_type())?;
        Object::<Self>::keeping(object, tensor).map(Some)
    }

    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>> {
        let torch = match Known::get(py) {
            Ok(torch) => torch,
            Err(why) => return Err(Refused::new(tensor, unavailable(why))),
        };
        let Some(exchange) = torch.exchange else {
            let from = torch.module(py).and_then(|module| {
                module
                    .getattr(intern!(py, "utils"))?
                    .getattr(intern!(py, "dlpack"))?
                    .getattr(intern!(py, "from_dlpack"))
            });
            return capsules::to_object(Framework::Torch, py, tensor, from);
        };
        if let Err(error) = wait_for(py, &tensor) {
            let error = failed(Framework::Torch, "wait for a stream", py, error);
            return Err(Refused::new(tensor, error));
        }
        // SAFETY: PyTorch takes what its `ACCEPTS` says, which has been checked.
        unsafe { exchange.import(py, fenced(tensor)) }.map_err(|(tensor, error)| {
            Refused::new(
                unfenced(tensor),
                failed(Framework::Torch, "take a tensor over", py, error),
            )
        })
    }

    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable> {
        let module = python_module::of(py, Framework::Torch)?;
        let count = || -> PyResult<u32> {
            let cuda = module.getattr("cuda")?;
            // Asked without making a context on any GPU.
            cuda.call_method0("device_count")?.extract()
        };
        let gpus = count().unwrap_or(0);
        Ok(host_and(gpus))
    }

    kept!();
}

/// What is known of the PyTorch of this process.
struct Known {
    class: Py<PyType>,
    exchange: Option<Exchange>,
    from_numpy: Py<PyAny>,
    requires_grad: Flag,
    is_neg: Flag,
    is_conj: Flag,
    /// The same three, where PyTorch's C++ can be asked.
    questions: Option<Questions>,
}

impl Known {
    fn get(py: Python<'_>) -> Result<&'static Self, Unavailable> {
        static KNOWN: PyOnceLock<Known> = PyOnceLock::new();
        if let Some(known) = KNOWN.get(py) {
            return Ok(known);
        }
        let module = python_module::of(py, Framework::Torch)?;
        let known = KNOWN.get_or_try_init(py, || -> PyResult<Self> {
            let class = module.getattr("Tensor")?.cast_into::<PyType>()?;
            // SAFETY: PyTorch's table is DLPack's.
            let exchange = unsafe { Exchange::of(&class) };
            let from_numpy = module.getattr("from_numpy")?.unbind();
            let requires_grad = Flag::of(&class, "requires_grad")?;
            let (is_neg, is_conj) = (Flag::of(&class, "is_neg")?, Flag::of(&class, "is_conj")?);
            let questions = Questions::of(&module, &class);
            let class = class.unbind();
            Ok(Self { class, exchange, from_numpy, requires_grad, is_neg, is_conj, questions })
        });
        known.map_err(|error| {
            Unavailable::new(
                format!("its torch has no tensors: {}", errors::message(py, &error)),
                "install PyTorch again: pip install torch",
            )
        })
    }

    fn module<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
        py.import(intern!(py, "torch"))
    }

    /// Whether the object is a tensor of PyTorch's own class, not of one that derives from it.
    #[inline]
    fn is_of_class(&self, object: &Bound<'_, PyAny>) -> bool {
        // SAFETY: the object is alive.
        unsafe { ffi::Py_TYPE(object.as_ptr()) == self.class.as_ptr().cast() }
    }

    /// Checks that the object is a tensor.
    #[inline]
    fn check_class(&self, object: &Bound<'_, PyAny>) -> Result<()> {
        if self.is_of_class(object)
            || object.is_instance(self.class.bind(object.py())).unwrap_or(false)
        {
            return Ok(());
        }
        Err(unsupported(
            "an object whose class only claims to be PyTorch's",
            "make a tensor of it first",
        ))
    }

    /// Checks that a tensor needs no gradient, and that the elements in memory are its own: PyTorch may still have to
    /// negate or to conjugate them.
    #[inline]
    fn check(&self, object: &Bound<'_, PyAny>, data_type: DataType) -> Result<()> {
        if let Some(questions) = &self.questions
            && self.is_of_class(object)
            // SAFETY: the object is of that class, and its memory has been shown.
            && unsafe { questions.are_all_denied(object) }
        {
            return Ok(());
        }
        self.check_in_turn(object, data_type)
    }

    /// As `check`, by the questions of Python, which a class that derives from PyTorch's may answer itself.
    fn check_in_turn(&self, object: &Bound<'_, PyAny>, data_type: DataType) -> Result<()> {
        let asked = |flag: &Flag| {
            let told = |error| failed(Framework::Torch, "look at a tensor", object.py(), error);
            // SAFETY: the object is a tensor of PyTorch.
            unsafe { flag.is_set(object) }.map_err(told)
        };
        if asked(&self.requires_grad)? {
            return Err(unsupported(
                "a tensor that requires grad",
                "hand over `tensor.detach()`, whose memory is the same; gradients do not cross frameworks",
            ));
        }
        let is_complex = data_type.code() == TypeCode::Complex;
        if is_complex && asked(&self.is_conj)? {
            return Err(unsupported(
                "a tensor whose conjugation is pending",
                "resolve it: `tensor.resolve_conj()`",
            ));
        }
        // The imaginary part of a conjugated tensor is the usual way to one.
        let may_be_negated = !matches!(data_type.code(), TypeCode::Bool | TypeCode::UInt);
        if may_be_negated && asked(&self.is_neg)? {
            return Err(unsupported(
                "a tensor whose negation is pending",
                "resolve it: `tensor.resolve_neg()`",
            ));
        }
        Ok(())
    }
}

#[cold]
fn unsupported(what: &str, remedy: &str) -> Error {
    Error::Unsupported { what: what.to_owned(), remedy: remedy.to_owned() }
}

/// What PyTorch's own error does not say of a tensor that has no memory to show.
#[cold]
fn without_memory(object: &Bound<'_, PyAny>) -> Option<Error> {
    let is =
        |name: &str| object.getattr(name).is_ok_and(|answer| answer.is_truthy().unwrap_or(false));
    let layout = object.getattr("layout").and_then(|layout| layout.str()).ok()?.to_string();
    let (what, remedy) = if is("is_meta") {
        (
            "a tensor on the device meta, which has no elements",
            "make it on a device: `torch.empty_like(tensor, device='cpu')`",
        )
    } else if is("is_quantized") {
        ("a quantized tensor", "make numbers of it: `tensor.dequantize()`")
    } else if is("is_nested") {
        ("a nested tensor", "pad it: `torch.nested.to_padded_tensor(tensor, 0.0)`")
    } else if layout != "torch.strided" {
        ("a tensor that is not stored element by element", "make it dense: `tensor.to_dense()`")
    } else {
        return None;
    };
    Some(Error::Unsupported { what: what.to_owned(), remedy: remedy.to_owned() })
}

/// A tensor over an array of NumPy, made by PyTorch's own `from_numpy`, where nothing stands against it: the
/// same as over DLPack, and quicker. None where it does not take the array as it is.
///
/// # Errors
///
/// Where PyTorch cannot be imported.
pub(crate) fn of_numpy(array: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let py = array.py();
    let torch =
        Known::get(py).map_err(|why| errors::raised(py, "numpy", "torch", &unavailable(why)))?;
    let taken = torch.from_numpy.bind(py).call1((array,));
    // The general way says what is wrong.
    Ok(taken.ok().map(Bound::unbind))
}

/// On a GPU the tensor is ready on PyTorch's current stream there.
#[inline]
fn on_its_stream(py: Python<'_>, exchange: &Exchange, view: &mut TensorView<'_>) -> Result<()> {
    if view.device().kind() != DeviceKind::Cuda {
        return Ok(());
    }
    let told = |error| failed(Framework::Torch, "find the current stream", py, error);
    let stream = exchange.current_stream(py, view.device()).map_err(told)?;
    // SAFETY: PyTorch submits its work on that stream.
    unsafe { view.set_stream(Some(stream)) };
    Ok(())
}

/// Makes PyTorch's current stream wait for the one that a tensor on a GPU becomes ready on.
fn wait_for(py: Python<'_>, tensor: &ManagedTensor) -> PyResult<()> {
    let (DeviceKind::Cuda, Some(stream)) = (tensor.device().kind(), tensor.stream()) else {
        return Ok(());
    };
    let (cuda, ordinal) = (py.import(intern!(py, "torch.cuda"))?, tensor.device().ordinal());
    let theirs = cuda.call_method1(intern!(py, "ExternalStream"), (stream.0, ordinal))?;
    let ours = cuda.call_method1(intern!(py, "current_stream"), (ordinal,))?;
    ours.call_method1(intern!(py, "wait_stream"), (theirs,))?;
    Ok(())
}

fn unavailable(why: Unavailable) -> Error {
    Error::Unavailable { backend: "torch", why }
}
