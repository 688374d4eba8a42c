//! Memory lives as long as anybody needs it, and no longer.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{Convert, ManagedTensor, Options};
use candle_core::Tensor;
use ndarray::{Array2, ArrayD};

#[test]
fn the_source_may_go_first() {
    // mxnet#13658: a crash when the source goes out of scope before the consumer.
    let shared: SharedArray<f32> = {
        let tensor = Tensor::arange(0_f32, 1000.0, &candle_core::Device::Cpu).unwrap();
        tensor.convert().unwrap()
    };
    let dlpack = shared.clone().convert::<ManagedTensor>().unwrap().into_dlpack();
    drop(shared);
    // SAFETY: the tensor is owned here and comes from `into_dlpack`.
    let tensor = unsafe { ManagedTensor::from_dlpack(dlpack.as_ptr()) }.unwrap();
    let back: SharedArray<f32> = tensor.convert().unwrap();
    assert_eq!(back.view().sum(), 499_500.0);
}

#[test]
fn conversions_on_many_threads_drop_on_many_threads() {
    let threads: Vec<_> = (0..8)
        .map(|index| {
            std::thread::spawn(move || {
                let array = Array2::from_elem((50, 50), index as f64);
                let tensor: Tensor = array.convert().unwrap();
                let shared: SharedArray<f64> = tensor.convert().unwrap();
                shared
            })
        })
        .collect();
    for (index, thread) in threads.into_iter().enumerate() {
        let shared = thread.join().unwrap();
        let total = std::thread::spawn(move || shared.view().sum()).join().unwrap();
        assert_eq!(total, index as f64 * 2500.0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_round_trips_leave_memory_flat() {
    let round_trip = |array: ArrayD<f32>| -> ArrayD<f32> {
        let tensor: Tensor = array.convert().unwrap();
        let shared: SharedArray<f32> = tensor.convert().unwrap();
        let dlpack = shared.convert::<ManagedTensor>().unwrap().into_dlpack();
        // SAFETY: the tensor is owned here and comes from `into_dlpack`.
        let tensor = unsafe { ManagedTensor::from_dlpack(dlpack.as_ptr()) }.unwrap();
        tensor.convert_to(Options::default()).unwrap()
    };
    let mut array = ArrayD::zeros(ndarray::IxDyn(&[64, 64]));
    let grown = bridge_testkit::growth(100_000, || array = round_trip(std::mem::take(&mut array)));
    // One leaked array an iteration would be 1.6 GB, one leaked header 10 MB.
    assert!(grown < 4 << 20, "resident memory grew by {grown} bytes");
    assert_eq!(array.len(), 4096);
}
