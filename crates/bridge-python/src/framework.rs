//! The frameworks of Python, by name.

use std::fmt;

use bridge_core::{Availability, Device};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use crate::errors;
use crate::object::{PythonFramework, check_ready};

/// A framework whose arrays are Python objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Framework {
    Numpy,
    Cupy,
    Torch,
    Tensorflow,
    Jax,
    Pyclesperanto,
}

impl Framework {
    pub(crate) const ALL: [Self; 6] =
        [Self::Numpy, Self::Cupy, Self::Torch, Self::Tensorflow, Self::Jax, Self::Pyclesperanto];

    /// The name it is asked for by, which is also the name of its module.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Numpy => "numpy",
            Self::Cupy => "cupy",
            Self::Torch => "torch",
            Self::Tensorflow => "tensorflow",
            Self::Jax => "jax",
            Self::Pyclesperanto => "pyclesperanto",
        }
    }

    /// The name as a string of Python, made once.
    pub(crate) fn interned(self, py: Python<'_>) -> Bound<'_, PyString> {
        static NAMES: [PyOnceLock<Py<PyString>>; 6] = [const { PyOnceLock::new() }; 6];
        let name = &NAMES[self as usize];
        name.get_or_init(py, || PyString::intern(py, self.name()).unbind()).bind(py).clone()
    }

    /// The framework that a string of Python or a member of its `MemoryType` names.
    #[inline]
    pub(crate) fn told(name: &Bound<'_, PyAny>) -> Option<Self> {
        match name.cast_exact::<PyString>() {
            Ok(text) => Self::named(text.to_str().ok()?),
            Err(_) => Self::of_member(name),
        }
    }

    /// The framework that a member of `MemoryType` is.
    fn of_member(member: &Bound<'_, PyAny>) -> Option<Self> {
        static MEMBERS: PyOnceLock<Vec<Py<PyAny>>> = PyOnceLock::new();
        let py = member.py();
        let members = MEMBERS.get_or_try_init(py, || {
            let class = py.import("arraybridge.types")?.getattr("MemoryType")?;
            let member = |one: Self| class.call1((one.name(),)).map(Bound::unbind);
            Self::ALL.into_iter().map(member).collect::<PyResult<Vec<_>>>()
        });
        let place = members.ok()?.iter().position(|one| one.is(member))?;
        Some(Self::ALL[place])
    }

    /// Whether it has no device here but the host. It is imported to find out, once.
    ///
    /// # Errors
    ///
    /// What interrupts the import.
    #[inline]
    pub(crate) fn is_on_the_host_here(self, py: Python<'_>) -> PyResult<bool> {
        use crate::frameworks::{Cupy, Jax, Numpy, Pyclesperanto, Tensorflow, Torch};
        match self {
            Self::Numpy => host_alone::<Numpy>(py),
            Self::Torch => host_alone::<Torch>(py),
            Self::Jax => host_alone::<Jax>(py),
            Self::Tensorflow => host_alone::<Tensorflow>(py),
            Self::Cupy => host_alone::<Cupy>(py),
            Self::Pyclesperanto => host_alone::<Pyclesperanto>(py),
        }
    }

    /// The name for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Numpy => "NumPy",
            Self::Cupy => "CuPy",
            Self::Torch => "PyTorch",
            Self::Tensorflow => "TensorFlow",
            Self::Jax => "JAX",
            Self::Pyclesperanto => "pyclesperanto",
        }
    }

    /// What brings it.
    pub(crate) fn remedy(self) -> String {
        match self {
            Self::Cupy => {
                "install it, pip install cupy-cuda12x, on a machine with an NVIDIA GPU and \
                           CUDA, or use another framework"
                    .to_owned()
            }
            other => format!("install it: pip install {}", other.name()),
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The framework that a class belongs to whose module is this.
    pub(crate) fn of_module(module: &str) -> Option<Self> {
        match module.split('.').next().unwrap_or_default() {
            "jaxlib" => Some(Self::Jax),
            "pyclesperanto_opencl" | "pyclesperanto_cuda" => Some(Self::Pyclesperanto),
            top => Self::named(top),
        }
    }
}

#[inline]
fn host_alone<F: PythonFramework>(py: Python<'_>) -> PyResult<bool> {
    if let Err(error) = check_ready::<F>() {
        return errors::interruption(py, &error).map_or(Ok(false), Err);
    }
    Ok(
        matches!(F::kept().get(), Some(Availability::Ready { devices }) if **devices == [Device::CPU]),
    )
}

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
