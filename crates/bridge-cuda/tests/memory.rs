//! Memory over a long time. A file of its own: nothing else may allocate meanwhile.

mod support;

use bridge_core::Backend;
use bridge_cuda::CudaArray;
use support::{GPU, counted, cuda};

#[test]
fn ten_thousand_round_trips_take_no_memory() {
    let backend = cuda();
    let host = counted(&[16, 16]);
    let trip = || CudaArray::from_host(&host, GPU).unwrap().to_host().unwrap();
    (0..100).for_each(|_| drop(trip()));
    backend.synchronize(GPU).unwrap();
    let before = backend.usage(GPU).unwrap();
    (0..10_000).for_each(|_| drop(trip()));
    backend.synchronize(GPU).unwrap();
    let after = backend.usage(GPU).unwrap();
    assert!(after.free + (1 << 20) >= before.free, "{before:?} {after:?}");
}
