//! The frameworks of Python, by name.

use std::fmt;

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

    /// What brings it, for pip.
    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::Cupy => "cupy-cuda12x",
            other => other.name(),
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

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
