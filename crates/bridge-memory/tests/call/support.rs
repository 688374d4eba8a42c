//! What the tests of several modules have.

use bridge_core::{Array, Element, ManagedTensor, Registration, Registry};
use bridge_testkit::fake_accelerator;

pub(crate) fn tensor<T: Element>(values: &[T], shape: &[usize]) -> ManagedTensor {
    ManagedTensor::from_vec(values.to_vec(), shape).unwrap()
}

pub(crate) fn array<T: Element>(values: &[T], shape: &[usize]) -> Array {
    Array::new(tensor(values, shape))
}

/// The fake accelerator, ndarray and the host tools.
pub(crate) fn registry() -> Registry {
    let host = [
        Registration::host_tools(&bridge_host::HostKernels),
        Registration::backend(&bridge_cpu::ndarray::Ndarray),
    ];
    Registry::new(fake_accelerator::REGISTRATIONS.iter().copied().chain(host))
}

/// The elements of an array of any framework on the host.
pub(crate) fn elements<T: Element + PartialEq>(array: Array) -> Vec<T> {
    let tensor = array.export().unwrap();
    tensor.as_slice::<T>().unwrap().to_vec()
}
