//! Conversions, as Python calls them.

use bridge_convert::{Convert, ConvertByName, Plan, Report};
use bridge_core::{
    Array, CopyPolicy, Device, DeviceKind, Dlpack, Error, ManagedTensor, NativeType, Options,
    Refused, Registry, Result,
};
use pyo3::prelude::*;

use crate::errors::Signals;
use crate::framework::Framework;
use crate::frameworks::{Cupy, Jax, Numpy, Pyclesperanto, Tensorflow, Torch};
use crate::object::{Object, PythonFramework, check_ready};
use crate::source::Source;
use crate::tensor::Tensor;
use crate::{errors, frameworks};

/// What is converted to.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Framework(Framework),
    /// The tensor that is nobody's.
    Tensor,
    /// A backend that is written in Rust.
    Backend(&'a str),
}

impl<'a> Target<'a> {
    #[inline]
    pub(crate) fn named(name: &'a str) -> Self {
        match Framework::named(name) {
            Some(framework) => Self::Framework(framework),
            None => Self::by_alias(name),
        }
    }

    fn by_alias(name: &'a str) -> Self {
        let answers = |one: &Framework| frameworks::backend(*one).answers_to(name);
        match Framework::ALL.iter().find(|one| answers(one)) {
            Some(&framework) => Self::Framework(framework),
            None if matches!(name, "tensor" | "dlpack") => Self::Tensor,
            None => Self::Backend(name),
        }
    }

    pub(crate) fn name(self) -> &'a str {
        match self {
            Self::Framework(framework) => framework.name(),
            Self::Tensor => "tensor",
            Self::Backend(name) => name,
        }
    }
}

/// From this size on, other threads of Python run while elements are copied. They always do where a budget or a pool is
/// asked, since those may ask functions of Python for memory, on whichever thread.
const WORTH_DETACHING: usize = 64 << 10;

/// Converts a tensor; the report too, where it is asked for.
pub(crate) fn convert(
    py: Python<'_>,
    source: Source,
    target: Target<'_>,
    options: Options<'_>,
    reported: bool,
) -> PyResult<(Py<PyAny>, Option<Report>)> {
    let (from, device) = (source.name(), source.tensor.device());
    let done = match target {
        Target::Framework(Framework::Numpy) => to::<Numpy>(py, source.tensor, options, reported),
        Target::Framework(Framework::Torch) => to::<Torch>(py, source.tensor, options, reported),
        Target::Framework(Framework::Jax) => to::<Jax>(py, source.tensor, options, reported),
        Target::Framework(Framework::Tensorflow) => {
            to::<Tensorflow>(py, source.tensor, options, reported)
        }
        Target::Framework(Framework::Cupy) => to::<Cupy>(py, source.tensor, options, reported),
        Target::Framework(Framework::Pyclesperanto) => {
            to::<Pyclesperanto>(py, source.tensor, options, reported)
        }
        Target::Tensor => to_tensor(py, source.tensor, options),
        Target::Backend(name) => to_backend(py, source.tensor, name, options),
    };
    done.map_err(|error| errors::raised(py, from, target.name(), &for_python(error, device)))
}

/// As the registry's error, which asks for a backend to be linked, with what Python can do about it.
fn for_python(error: Error, device: Device) -> Error {
    match error {
        Error::Unsupported { what, .. } if what == format!("memory of {device}") => {
            Error::Unsupported {
                what: format!("{what}, which this package itself does not copy,"),
                remedy: format!(
                    "copy it to the host first in its own library (PyTorch: tensor.cpu(), CuPy: array.get()), \
                     or convert it to a framework that works on {device}"
                ),
            }
        }
        other => other,
    }
}

/// An array of a framework, and what was done where it is to be reported.
///
/// # Errors
///
/// As [`Convert::convert_reported`]; [`Error::Unavailable`] where the framework is not there.
pub(crate) fn to<F: PythonFramework>(
    py: Python<'_>,
    tensor: ManagedTensor,
    options: Options<'_>,
    reported: bool,
) -> Result<(Py<PyAny>, Option<Report>)> {
    check_ready::<F>()?;
    let options = in_its_words::<F>(options);
    check_device::<F>(&options)?;
    let mut tensor = tensor;
    let bytes = tensor.layout().compact_bytes(tensor.data_type()).unwrap_or(usize::MAX);
    let run = |tensor: ManagedTensor, options: Options<'_>| {
        if reported {
            let done = tensor.convert_reported::<Object<F>>(options);
            done.map(|(array, report)| (array, Some(report)))
        } else {
            tensor.convert_to::<Object<F>>(options).map(|array| (array, None))
        }
    };
    let asks = options.admission().is_some() || options.memory_source().is_some();
    let detaches = asks || bytes >= WORTH_DETACHING;
    if detaches && options.copy_policy() == CopyPolicy::IfNeeded {
        match run(tensor, options.copy(CopyPolicy::Never)) {
            Ok((array, report)) => return Ok((array.into_inner(), report)),
            Err(refused) if matches!(refused.error(), Error::WouldCopy { .. }) => {
                tensor = refused.into_value();
            }
            Err(refused) => return Err(refused.into_error()),
        }
    }
    let done = if detaches && options.copy_policy() != CopyPolicy::Never {
        py.detach(|| run(tensor, options.interrupted_by(&Signals)))
    } else {
        run(tensor, options)
    };
    let (array, report) = done.map_err(Refused::into_error)?;
    Ok((array.into_inner(), report))
}

/// The options, where a device of OpenCL means the one that pyclesperanto keeps for itself.
fn in_its_words<F: PythonFramework>(options: Options<'_>) -> Options<'_> {
    match options.device() {
        Some(device)
            if F::FRAMEWORK == Framework::Pyclesperanto && device.kind() == DeviceKind::OpenCl =>
        {
            options.on(Device::new(DeviceKind::Extension, device.ordinal()))
        }
        _ => options,
    }
}

/// Checks that the framework has the device that is asked for, where it is not the host.
#[inline]
fn check_device<F: PythonFramework>(options: &Options<'_>) -> Result<()> {
    let Some(device) = options.device() else { return Ok(()) };
    if device == Device::CPU && F::accepts().is_on(device.kind()) {
        return Ok(());
    }
    let backend = frameworks::backend(F::FRAMEWORK);
    match backend.devices()?.contains(&device) {
        true => Ok(()),
        false => Err(backend.lacks(device)),
    }
}

fn to_tensor(
    py: Python<'_>,
    tensor: ManagedTensor,
    options: Options<'_>,
) -> Result<(Py<PyAny>, Option<Report>)> {
    let options = options.interrupted_by(&Signals);
    let done = py.detach(|| tensor.convert_reported::<ManagedTensor>(options));
    let (tensor, report) = done.map_err(Refused::into_error)?;
    object_of(py, Tensor::new(tensor, "tensor")).map(|object| (object, Some(report)))
}

fn to_backend(
    py: Python<'_>,
    tensor: ManagedTensor,
    name: &str,
    options: Options<'_>,
) -> Result<(Py<PyAny>, Option<Report>)> {
    let registry = Registry::global()?;
    let backend = registry.backend(name).map_err(|error| unknown(registry, name, error))?;
    let options = options.interrupted_by(&Signals);
    let done = py.detach(|| registry.convert_reported(Array::new(tensor), name, options));
    let (array, report) = done.map_err(Refused::into_error)?;
    let tensor = array.export().map_err(Refused::into_error)?;
    object_of(py, Tensor::new(tensor, backend.name())).map(|object| (object, Some(report)))
}

/// As the registry's error, with what Python can do about it.
fn unknown(registry: &Registry, name: &str, error: Error) -> Error {
    if !matches!(error, Error::UnknownBackend { .. }) {
        return error;
    }
    if name == "opencl" {
        return Error::Unsupported {
            what: "converting to \"opencl\" in this build of the package".to_owned(),
            remedy: "build it with that feature, `maturin develop --release --features opencl`, or convert to \
                     \"pyclesperanto\""
                .to_owned(),
        };
    }
    let names: Vec<_> = registry.backends().iter().map(|backend| backend.name()).collect();
    Error::Unsupported {
        what: format!("converting to {name:?}"),
        remedy: format!("invalid name: it is one of {}, tensor", names.join(", ")),
    }
}

fn object_of(py: Python<'_>, tensor: Tensor) -> Result<Py<PyAny>> {
    let made = Py::new(py, tensor).map(Py::into_any);
    made.map_err(|error| {
        let remedy = errors::message(py, &error);
        Error::Unsupported { what: "a new object of Python".to_owned(), remedy }
    })
}

/// What [`convert`] would do.
pub(crate) fn plan(
    py: Python<'_>,
    source: &Source,
    target: Target<'_>,
    options: &Options<'_>,
) -> PyResult<Plan> {
    fn of<F: PythonFramework>(tensor: &ManagedTensor, options: &Options<'_>) -> Result<Plan> {
        check_ready::<F>()?;
        let options = in_its_words::<F>(*options);
        check_device::<F>(&options)?;
        tensor.plan_to::<Object<F>>(&options)
    }
    let tensor = &source.tensor;
    let planned = match target {
        Target::Framework(Framework::Numpy) => of::<Numpy>(tensor, options),
        Target::Framework(Framework::Torch) => of::<Torch>(tensor, options),
        Target::Framework(Framework::Jax) => of::<Jax>(tensor, options),
        Target::Framework(Framework::Tensorflow) => of::<Tensorflow>(tensor, options),
        Target::Framework(Framework::Cupy) => of::<Cupy>(tensor, options),
        Target::Framework(Framework::Pyclesperanto) => of::<Pyclesperanto>(tensor, options),
        Target::Tensor => tensor.plan_to::<ManagedTensor>(options),
        Target::Backend(name) => Registry::global().and_then(|registry| {
            const SOURCE: &NativeType = &NativeType::of::<ManagedTensor, Dlpack>();
            let planned = registry.plan_for(SOURCE, &tensor.describe(), name, options);
            planned.map_err(|error| unknown(registry, name, error))
        }),
    };
    planned.map_err(|error| errors::raised(py, source.name(), target.name(), &error))
}
