//! Arrays of Python's frameworks as array types, so that they convert as those of Rust do.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use bridge_core::{
    Accepts, Availability, Backend, Description, Descriptor, Device, DeviceKind, Error,
    ManagedTensor, NativeArray, NativeType, Owner, Refused, Result, SharedTensor, Unavailable,
};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::errors;
use crate::framework::Framework;

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

    /// An array of a tensor, without copying. The object that a tensor was exported from has been
    /// found before.
    fn import(py: Python<'_>, tensor: ManagedTensor) -> Result<Py<PyAny>, Refused<ManagedTensor>>;

    /// Where it can run here, asked once.
    fn devices(py: Python<'_>) -> Result<Vec<Device>, Unavailable>;

    /// Where the answer of [`devices`](Self::devices) is kept.
    fn kept() -> &'static OnceLock<Availability>;
}

/// The answer of [`PythonFramework::devices`]. What is not there may be installed later, and is looked for again.
pub(crate) fn availability<F: PythonFramework>() -> Availability {
    if let Some(known) = F::kept().get() {
        return known.clone();
    }
    match Python::try_attach(|py| F::devices(py)) {
        Some(Ok(devices)) => {
            F::kept().get_or_init(|| Availability::Ready { devices: devices.into() }).clone()
        }
        Some(Err(why)) => Availability::Unavailable(why),
        None => Availability::Unavailable(Unavailable::new(
            "the interpreter is ending",
            "convert before it does",
        )),
    }
}

/// Checks that a framework can run here.
#[inline]
pub(crate) fn check_ready<F: PythonFramework>() -> Result<()> {
    if F::kept().get().is_some() {
        return Ok(());
    }
    match availability::<F>() {
        Availability::Ready { .. } => Ok(()),
        Availability::Unavailable(why) => {
            Err(Error::Unavailable { backend: F::FRAMEWORK.name(), why })
        }
    }
}

/// The backend of a framework.
pub(crate) struct Of<F>(pub(crate) PhantomData<fn() -> F>);

/// An array of a framework: a reference to a Python object.
pub(crate) struct Object<F> {
    object: ManuallyDrop<Py<PyAny>>,
    framework: PhantomData<fn() -> F>,
}

impl<F> Drop for Object<F> {
    /// A framework that lets go of memory holds the interpreter often, which only it knows: then the object goes
    /// at once. On other threads it goes when the interpreter is held next.
    fn drop(&mut self) {
        // SAFETY: the object is dropped once, here.
        let object = unsafe { ManuallyDrop::take(&mut self.object) };
        // SAFETY: the function may be called at any time; it is 1 where this thread holds the interpreter.
        if unsafe { ffi::PyGILState_Check() } == 1 {
            // SAFETY: this thread holds the interpreter, and the reference is ours.
            unsafe { ffi::Py_DECREF(object.into_ptr()) };
        }
    }
}

impl<F: PythonFramework> Object<F> {
    pub(crate) const fn new(object: Py<PyAny>) -> Self {
        Self { object: ManuallyDrop::new(object), framework: PhantomData }
    }

    pub(crate) fn get(&self) -> &Py<PyAny> {
        &self.object
    }

    pub(crate) fn into_inner(self) -> Py<PyAny> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: the object is taken once, as `drop` does not run.
        unsafe { ManuallyDrop::take(&mut this.object) }
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
struct Exported<F> {
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
