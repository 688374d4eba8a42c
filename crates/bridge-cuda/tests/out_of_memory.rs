//! Memory that really runs out, on hardware too: an error with the device and the bytes, and all of it
//! can be had again. A file of its own: nothing else may allocate meanwhile.

mod support;

use bridge_core::{Backend, DataType, Error, Overflow, TensorError};
use bridge_cuda::CudaArray;
use support::{GPU, counted, cuda};

#[test]
fn a_device_that_is_full_says_so_and_works_on() {
    let backend = cuda();
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
