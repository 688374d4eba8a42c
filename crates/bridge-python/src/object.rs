//! Arrays of Python's frameworks as array types, so that they convert as those of Rust do.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use bridge_core::{
    Accepts, Availability, Backend, Description, Descriptor, Device, DeviceKind, Error,
    ManagedTensor, NativeArray, NativeType, Owner, Refused, Result, SharedTensor, TensorView,
    Unavailable,
};
use pyo3::prelude::*;

use crate::errors;
use crate::framework::Framework;
use crate::python_module::{self, State};
use crate::release::Released;

/// What a framework of Python can do; [`Of`] makes a backend of it, and [`Object`] its array type.
///
/// All calls are made with the interpreter attached.
pub(crate) trait PythonFramework: Send + Sync + 'static {
    const FRAMEWORK: Framework;
    const DESCRIPTOR: &'static Descriptor;
    const ACCEPTS: Accepts;

    /// As [`ACCEPTS`](Self::ACCEPTS), where what is installed decides.
    fn accepts() -> &'static Accepts {
        const { &Self::ACCEPTS }
    }

    /// The tensor of an array, without copying; its owner is an [`Object`] of this framework, or was
    /// made with [`Owner::keep_for`] it.
    fn export(object: &Bound<'_, PyAny>) -> Result<ManagedTensor>;

    /// Reads the tensor of an array for a function that only looks at it, without copying; where the array gives no such
    /// view, a tensor of its own.
    #[inline]
    fn view<'a>(
        object: &'a Bound<'_, PyAny>,
        _view: &mut TensorView<'a>,
    ) -> Result<Option<ManagedTensor>> {
        Self::export(object).map(Some)
    }

    /// An array of a tensor, without copying. The object that a tensor was exported from has been
    /// found before.
    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>>;

    /// Where it can run wherever it is installed.
    const EVERYWHERE: &'static [Device] = &[Device::CPU];

    /// Where it can run here, asked once; it is imported for that.
    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable>;

    /// Where the answer of [`devices`](Self::devices) is kept.
    fn kept() -> &'static OnceLock<Availability>;
}

/// The answer of [`PythonFramework::devices`], for which the framework is imported. What is not there may be
/// installed later, and is looked for again.
fn devices<F: PythonFramework>(py: Python<'_>) -> Availability {
    match F::devices(py) {
        Ok(devices) => {
            F::kept().get_or_init(|| Availability::Ready { devices: devices.into() }).clone()
        }
        Err(why) => Availability::Unavailable(why),
    }
}

/// Where a framework can run, as far as that can be told without importing it: one that is installed and that
/// nobody has used is ready on what it has everywhere.
fn availability<F: PythonFramework>() -> Availability {
    if let Some(known) = F::kept().get() {
        return known.clone();
    }
    let asked = Python::try_attach(|py| match python_module::state(py, F::FRAMEWORK) {
        State::Loaded => devices::<F>(py),
        State::Installed if F::EVERYWHERE.is_empty() => {
            Availability::Unavailable(Unavailable::new(
                format!("{} has not been imported, which tells its devices", F::FRAMEWORK.title()),
                format!("import {} first", F::FRAMEWORK.name()),
            ))
        }
        State::Installed => match python_module::failure_of(F::FRAMEWORK).clone() {
            Some(why) => Availability::Unavailable(why),
            None => Availability::Ready { devices: F::EVERYWHERE.into() },
        },
        State::Absent => Availability::Unavailable(python_module::absent(F::FRAMEWORK)),
    });
    asked.unwrap_or_else(|| {
        let (reason, remedy) = ("the interpreter is ending", "convert before it does");
        Availability::Unavailable(Unavailable::new(reason, remedy))
    })
}

/// Checks that a framework can run here.
#[inline]
pub(crate) fn check_ready<F: PythonFramework>() -> Result<()> {
    if F::kept().get().is_some() {
        return Ok(());
    }
    let backend = F::FRAMEWORK.name();
    match Python::attach(|py| devices::<F>(py)) {
        Availability::Ready { .. } => Ok(()),
        Availability::Unavailable(why) => Err(Error::Unavailable { backend, why }),
    }
}

/// The backend of a framework.
pub(crate) struct Of<F>(pub(crate) PhantomData<fn() -> F>);

/// An array of a framework: a reference to a Python object.
pub(crate) struct Object<F> {
    object: Released<Py<PyAny>>,
    framework: PhantomData<fn() -> F>,
}

impl<F: PythonFramework> Object<F> {
    pub(crate) const fn new(object: Py<PyAny>) -> Self {
        Self { object: Released::new(object), framework: PhantomData }
    }

    pub(crate) fn get(&self) -> &Py<PyAny> {
        &self.object
    }

    pub(crate) fn into_inner(self) -> Py<PyAny> {
        self.object.into_inner()
    }

    /// An owner that keeps `object` alive, which imports find again.
    pub(crate) fn owner(object: &Bound<'_, PyAny>) -> Owner {
        Owner::keep(Self::new(object.clone().unbind()))
    }

    /// The same tensor, kept by `object` beside what keeps it now.
    pub(crate) fn keeping(
        object: &Bound<'_, PyAny>,
        tensor: ManagedTensor,
    ) -> Result<ManagedTensor> {
        let (data, spec) = (tensor.data(), tensor.spec());
        let (device, access, stream) = (tensor.device(), tensor.access(), tensor.stream());
        let kept = Exported { object: Self::new(object.clone().unbind()), _tensor: tensor };
        // SAFETY: all is as the tensor says, which lives as long as the new owner.
        let tensor = unsafe {
            ManagedTensor::from_parts(data, spec, device, access, Owner::keep_for::<Self, _>(kept))
        }?;
        // SAFETY: it is ready when the tensor that it is made of was.
        Ok(unsafe { tensor.ready_on(stream) })
    }
}

/// What keeps an exported tensor: the object, and the tensor that it gave.
pub(crate) struct Exported<F> {
    object: Object<F>,
    _tensor: ManagedTensor,
}

impl<F: PythonFramework> NativeArray<Of<F>> for Object<F> {
    const ACCEPTS: Accepts = F::ACCEPTS;

    fn accepts() -> &'static Accepts {
        F::accepts()
    }

    fn descriptor() -> &'static Descriptor {
        F::DESCRIPTOR
    }

    fn describe(&self) -> Result<Description> {
        Python::attach(|py| F::export(self.object.bind(py))).map(|tensor| tensor.describe())
    }

    fn export(self) -> Result<ManagedTensor, Refused<Self>> {
        match Python::attach(|py| F::export(self.object.bind(py))) {
            Ok(tensor) => Ok(tensor),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn import(tensor: ManagedTensor) -> Result<Self, Refused<ManagedTensor>> {
        let tensor = match tensor.into_owner::<Self>() {
            Ok(object) => return Ok(object),
            Err(tensor) => match tensor.into_owner::<Exported<F>>() {
                Ok(exported) => return Ok(exported.object),
                Err(tensor) => tensor,
            },
        };
        if let Err(error) = acceptable(F::FRAMEWORK, Self::accepts(), &tensor) {
            return Err(Refused::new(tensor, error));
        }
        Python::attach(|py| F::import(py, tensor)).map(Self::new)
    }
}

/// Checks what a framework says that it takes, which imports rely on.
fn acceptable(framework: Framework, accepts: &Accepts, tensor: &ManagedTensor) -> Result<()> {
    let (data_type, layout) = (tensor.data_type(), tensor.layout());
    let aligned = || {
        layout.is_empty()
            || !tensor.device().kind().has_addresses()
            || tensor.first_element().addr().is_multiple_of(accepts.alignment_for(data_type))
    };
    let what = if !accepts.is_on(tensor.device().kind()) {
        format!("a tensor on {}", tensor.device())
    } else if !accepts.has(data_type) {
        format!("{data_type}")
    } else if !accepts.has_shape(tensor.shape()) {
        format!("a tensor of shape {:?}", tensor.shape())
    } else if !accepts.layout_rule().allows(layout) {
        format!("a tensor without {}", accepts.layout_rule())
    } else if !aligned() {
        format!("{data_type} with another alignment")
    } else if accepts.may_write_read_only() && tensor.access() == bridge_core::Access::ReadOnly {
        "read-only memory".to_owned()
    } else {
        return Ok(());
    };
    let what = format!("{what} as an array of {}", framework.title());
    Err(Error::Unsupported { what, remedy: "convert it, which copies".to_owned() })
}

impl<F: PythonFramework> Backend for Of<F> {
    fn descriptor(&self) -> &'static Descriptor {
        F::DESCRIPTOR
    }

    fn availability(&self) -> Availability {
        availability::<F>()
    }

    fn lacks(&self, device: Device) -> Error {
        let (backend, title) = (F::FRAMEWORK.name(), F::FRAMEWORK.title());
        let available = match availability::<F>() {
            Availability::Ready { devices } => devices.into_owned(),
            Availability::Unavailable(why) => return Error::Unavailable { backend, why },
        };
        if device.kind() != DeviceKind::Cuda || !F::accepts().is_on(DeviceKind::Cuda) {
            return Error::DeviceUnavailable { backend, asked: device, available };
        }
        let names: Vec<_> = available.iter().map(ToString::to_string).collect();
        let why = Unavailable::new(
            format!("{title} has no CUDA device {device} here, it has {}", names.join(", ")),
            format!(
                "use a machine with an NVIDIA GPU and a CUDA build of {title}, or ask for the host: \
                 device='cpu', or gpu_id=None"
            ),
        );
        Error::Unavailable { backend, why }
    }

    fn native_types(&self) -> &'static [NativeType] {
        const { &[NativeType::of::<Object<F>, Of<F>>()] }
    }
}

impl<F> fmt::Debug for Object<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?})", *self.object)
    }
}

/// A tensor to hand over, and the one to give back where it is refused.
pub(crate) fn lent(tensor: ManagedTensor) -> (ManagedTensor, SharedTensor) {
    let (data, spec) = (tensor.data(), tensor.spec());
    let (device, access, stream) = (tensor.device(), tensor.access(), tensor.stream());
    let shared = tensor.into_shared();
    let owner = Owner::keep(shared.clone());
    // SAFETY: all is as the tensor says, which the owner keeps; the other one is not used while this lives.
    let lent = unsafe { ManagedTensor::from_parts(data, spec, device, access, owner) }
        .unwrap_or_else(|error| unreachable!("the parts of a tensor make one: {error:?}"));
    // SAFETY: it is ready when the tensor that it is made of was.
    (unsafe { lent.ready_on(stream) }, shared)
}

/// The tensor that was lent, and refused.
pub(crate) fn given_back(shared: SharedTensor) -> ManagedTensor {
    shared.try_unwrap().unwrap_or_else(|shared| ManagedTensor::alias(&shared))
}

/// The error of a framework's own.
pub(crate) fn failed(
    framework: Framework,
    operation: &'static str,
    py: Python<'_>,
    error: PyErr,
) -> Error {
    let message = errors::message(py, &error);
    errors::keep_cause(error, &message);
    Error::Framework { backend: framework.name(), operation, message }
}
