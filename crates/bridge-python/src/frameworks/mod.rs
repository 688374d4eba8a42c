//! The frameworks, each as a backend.

mod capsules;
mod cupy;
mod jax;
mod numpy;
mod numpy_dtypes;
mod pyclesperanto;
mod tensorflow;
mod torch;
mod torch_flags;
mod torch_native;

pub(crate) use capsules::{capsule_of, on_the_default_stream};
pub(crate) use cupy::Cupy;
pub(crate) use jax::Jax;
pub(crate) use numpy::{Numpy, array_of, is_plain};
pub(crate) use pyclesperanto::Pyclesperanto;
pub(crate) use tensorflow::Tensorflow;
pub(crate) use torch::{Torch, of_numpy};

use std::marker::PhantomData;

use bridge_core::{Backend, Registration};

use crate::object::Of;

static NUMPY: Of<Numpy> = Of(PhantomData);
static CUPY: Of<Cupy> = Of(PhantomData);
static TORCH: Of<Torch> = Of(PhantomData);
static TENSORFLOW: Of<Tensorflow> = Of(PhantomData);
static JAX: Of<Jax> = Of(PhantomData);
static PYCLESPERANTO: Of<Pyclesperanto> = Of(PhantomData);

inventory::submit! { Registration::backend(&NUMPY) }
inventory::submit! { Registration::backend(&CUPY) }
inventory::submit! { Registration::backend(&TORCH) }
inventory::submit! { Registration::backend(&TENSORFLOW) }
inventory::submit! { Registration::backend(&JAX) }
inventory::submit! { Registration::backend(&PYCLESPERANTO) }
inventory::submit! { Registration::runtime(&pyclesperanto::RUNTIME) }

/// The backend of each framework, in the order of [`Framework::ALL`](crate::framework::Framework::ALL).
pub(crate) fn backend(framework: crate::framework::Framework) -> &'static dyn Backend {
    use crate::framework::Framework as F;
    match framework {
        F::Numpy => &NUMPY,
        F::Cupy => &CUPY,
        F::Torch => &TORCH,
        F::Tensorflow => &TENSORFLOW,
        F::Jax => &JAX,
        F::Pyclesperanto => &PYCLESPERANTO,
    }
}

/// Where a framework keeps the answer about its devices.
macro_rules! kept {
    () => {
        fn kept() -> &'static std::sync::OnceLock<bridge_core::Availability> {
            static ANSWER: std::sync::OnceLock<bridge_core::Availability> =
                std::sync::OnceLock::new();
            &ANSWER
        }
    };
}
pub(crate) use kept;

/// The host, and this many GPUs.
fn host_and(gpus: u32) -> Vec<bridge_core::Device> {
    use bridge_core::Device;
    std::iter::once(Device::CPU).chain((0..gpus).map(Device::cuda)).collect()
}
