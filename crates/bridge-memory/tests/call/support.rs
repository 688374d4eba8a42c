//! What the tests of several modules have.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

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

/// What a future gives in which nothing waits for long.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..100 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
    panic!("it is never ready")
}

/// Is ready when it is asked for the second time.
#[derive(Default)]
pub(crate) struct NextTime(bool);

impl Future for NextTime {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
