//! Memory over a long time, and memory that really runs out, on hardware too. A program of its own:
//! nothing else may allocate meanwhile.

use bridge_core::Allocator;
use bridge_core::Runtime;
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bridge_core::{DataType, Error, Overflow, TensorError};
use bridge_cuda::{Cuda, CudaArray};
use simulated_cuda::Config;
use support::{GPU, counted, cuda_with};

/// The backend, for one test at a time.
fn alone() -> (&'static Cuda, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (cuda_with(&Config::default().memory(64 << 20)), alone)
}

#[test]
fn ten_thousand_round_trips_take_no_memory() {
    let (backend, _alone) = alone();
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

#[test]
fn a_device_that_is_full_says_so_and_works_on() {
    let (backend, _alone) = alone();
    let total = backend.usage(GPU).unwrap().total;
    let kept = CudaArray::from_host(&counted(&[100, 10]), GPU).unwrap();

    // More than there is at all.
    let bytes = usize::try_from(total).unwrap() + (1 << 20);
    match CudaArray::zeros(DataType::U8, &[bytes], GPU).unwrap_err() {
        Error::Tensor(TensorError::OutOfMemory { device, requested }) => {
            assert_eq!((device, requested), (GPU, bytes as u64));
        }
        error => panic!("{error}"),
    }

    // Piece by piece, twice: what was freed after the first time is all there is for the second.
    let piece = usize::try_from(total / 16).unwrap();
    let mut counts = Vec::new();
    for _ in 0..2 {
        let mut arrays = Vec::new();
        let error = loop {
            match CudaArray::zeros(DataType::U8, &[piece], GPU) {
                Ok(array) => arrays.push(array),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Tensor(TensorError::OutOfMemory { .. })), "{error}");
        assert!((4..=16).contains(&arrays.len()), "{} pieces", arrays.len());
        // What is small still works beside, and so does what was there.
        assert_eq!(kept.to_host().unwrap().as_slice::<f32>().unwrap()[999], 999.0);
        counts.push(arrays.len());
        drop(arrays);
        let large = CudaArray::zeros(DataType::U8, &[2 * piece], GPU).unwrap();
        large.wait().unwrap();
    }
    assert_eq!(counts[0], counts[1]);

    // A conversion that fails so leaves its source alone.
    let large = CudaArray::zeros(DataType::U8, &[5 * piece], GPU).unwrap();
    let error = large.cast(DataType::F64, Overflow::Wrap).unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::OutOfMemory { .. })), "{error}");
    drop(large);
    backend.synchronize(GPU).unwrap();
    let given_back = backend.trim(GPU).unwrap();
    assert!(given_back > 0);
    assert_eq!(kept.to_host().unwrap().as_slice::<f32>().unwrap()[999], 999.0);
}
