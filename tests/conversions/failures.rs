//! A failed call loses nothing and aborts nothing.

use arraybridge::ConvertByName;
use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{
    Array, Batch, Convert, CopyPolicy, DataType, Device, Error, ManagedTensor, Options,
    TensorError, convert_all, convert_each,
};
use bridge_tests::{address, counting, registry};
use candle_core::Tensor;
use ndarray::{Array2, ArrayD, array};

/// A tensor that says it has 2⁴⁸ elements, all of them the one byte it has.
fn giant() -> ManagedTensor {
    let byte = ManagedTensor::from_vec(vec![7_u8], &[1, 1]).unwrap();
    byte.broadcast_to(&[1 << 24, 1 << 24]).unwrap()
}

#[test]
fn memory_that_cannot_be_had_is_an_error_and_the_source_comes_back() {
    let source = giant();
    let before = address(&source);
    let refused = source.convert::<Tensor>().unwrap_err();
    assert!(
        matches!(refused.error(), Error::Tensor(TensorError::OutOfMemory { requested, .. }) if *requested == 1 << 48),
        "{refused}"
    );
    let source = refused.into_value();
    assert_eq!((address(&source), source.shape()), (before, &[1 << 24, 1 << 24][..]));

    let wider = Options::default().cast(DataType::F64);
    let refused = source.convert_to::<ArrayD<f64>>(wider).unwrap_err();
    assert!(refused.error().out_of_memory().is_some(), "{refused}");
}

#[test]
fn a_size_beyond_the_address_space_is_an_error() {
    let byte = ManagedTensor::from_vec(vec![7_u8], &[1, 1]).unwrap();
    let giant = byte.broadcast_to(&[1 << 31, 1 << 31]).unwrap();
    let refused = giant.convert_to::<ArrayD<f64>>(Options::default().cast(DataType::F64));
    assert!(matches!(refused.unwrap_err().error(), Error::Tensor(TensorError::TooLarge { .. })));
}

#[test]
fn a_refused_owned_array_is_the_same_array() {
    let array = array![[1_i8, 2], [3, 4]];
    let before = array.as_ptr();
    let refused = array.convert::<Tensor>().unwrap_err();
    assert!(refused.to_string().contains("candle has no int8; cast to int16"), "{refused}");
    assert_eq!(refused.into_value().as_ptr(), before);
}

#[test]
fn a_refused_erased_array_is_the_same_array() {
    let array = array![1.5_f64, -1.0];
    let before = array.as_ptr();
    let unknown = registry().convert(Array::new(array), "tensorflow", Options::default());
    let refused = unknown.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("\"tensorflow\": linked are ndarray, candle"), "{text}");
    let never = Options::default().cast(DataType::F32).copy(CopyPolicy::Never);
    let refused = registry().convert(refused.into_value(), "candle", never).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("float64 has to be cast to float32"), "{text}");
    let away = Options::default().on(Device::opencl(3));
    let refused = registry().convert(refused.into_value(), "ndarray", away).unwrap_err();
    let array: ndarray::Array1<f64> = refused.into_value().downcast().unwrap();
    assert_eq!(array.as_ptr(), before);
}

#[test]
fn a_rank_that_does_not_fit_is_refused() {
    let refused = array![1.0_f32].convert_to::<Array2<f32>>(Options::default()).unwrap_err();
    assert!(refused.to_string().contains("it takes rank 2"), "{refused}");
    assert_eq!(refused.into_value(), array![1.0]);
}

#[test]
fn a_batch_is_planned_before_the_first_array_moves() {
    let good = || Array::new(array![1.0_f32, 2.0]);
    let bad = Array::new(array![1_u64]);
    let arrays = vec![good(), good(), bad, good()];
    let refused = convert_all(registry(), arrays, "candle", &Options::default()).unwrap_err();
    assert!(refused.to_string().starts_with("array 2 of the batch: candle has no uint64"));
    let Batch { index, remaining, .. } = refused.into_value();
    assert_eq!((index, remaining.len()), (2, 4));
    assert!(remaining[0].downcast_ref::<ndarray::Array1<f32>>().is_some());

    let arrays = vec![good(), good()];
    let tensors = convert_all(registry(), arrays, "candle", &Options::default()).unwrap();
    assert!(tensors.iter().all(|tensor| tensor.descriptor().name == "candle"));
}

#[test]
fn a_batch_can_go_on_after_a_failure() {
    let arrays = vec![Array::new(array![1_u64]), Array::new(array![1.0_f32])];
    let results = convert_each(registry(), arrays, "candle", &Options::default());
    let [failed, converted] = results.try_into().unwrap_or_else(|_| panic!("one an array"));
    let refused = failed.unwrap_err();
    assert!(refused.into_value().downcast::<ndarray::Array1<u64>>().is_ok());
    assert_eq!(converted.unwrap().descriptor().name, "candle");
}

#[test]
fn a_batch_that_fails_half_way_gives_back_both_halves() {
    let arrays = vec![Array::new(counting(DataType::F32)), Array::new(giant())];
    let refused = convert_all(registry(), arrays, "candle", &Options::default()).unwrap_err();
    let Batch { index, converted, remaining } = refused.into_value();
    assert_eq!((index, converted.len(), remaining.len()), (1, 1, 1));
    assert_eq!(converted[0].descriptor().name, "candle");
    assert!(remaining[0].downcast_ref::<ManagedTensor>().is_some());
}

#[test]
fn misaligned_memory_is_copied_to_aligned_memory() {
    let bytes: Vec<u8> = std::iter::once(0).chain(2.5_f32.to_ne_bytes()).chain([0; 3]).collect();
    let first = bytes.as_ptr().wrapping_add(1);
    let spec = arraybridge::TensorSpec::row_major(DataType::F32, &[1]).unwrap();
    let owner = arraybridge::Owner::keep(bytes);
    // SAFETY: the four bytes from the second one on belong to the vector that the owner keeps.
    let tensor = unsafe {
        ManagedTensor::from_parts(
            first.cast_mut().cast(),
            spec,
            Device::CPU,
            arraybridge::Access::Exclusive,
            owner,
        )
    }
    .unwrap();
    let (shared, report) = tensor.convert_reported::<SharedArray<f32>>(Options::default()).unwrap();
    assert!(report.declined[0].to_string().contains("aligned to 4 bytes"), "{report}");
    assert_eq!(shared.view(), array![2.5].into_dyn());
}

#[test]
fn empty_shapes_of_forged_extents_are_refused() {
    for shape in [&[0, usize::MAX][..], &[1 << 40, 1 << 40, 0]] {
        let refused = ManagedTensor::from_vec::<u8>(vec![], shape).unwrap_err();
        assert!(matches!(refused.error(), TensorError::TooLarge { .. }), "{refused}");
    }
    let many = ManagedTensor::from_vec::<u8>(vec![], &[1 << 60, 0]).unwrap();
    let refused = many.unstack(0).unwrap_err();
    assert!(matches!(refused.error(), TensorError::OutOfMemory { .. }), "{refused}");
    let refused = arraybridge::unstack(
        registry(),
        Array::new(refused.into_value()),
        0,
        "ndarray",
        &Options::default(),
    );
    assert!(matches!(refused.unwrap_err().error(), Error::Tensor(TensorError::OutOfMemory { .. })));
}

#[test]
fn memory_that_a_stream_still_writes_is_not_read() {
    let tensor = ManagedTensor::from_vec(vec![1.0_f32], &[1]).unwrap();
    // SAFETY: 2 is no pointer, and the vector was filled above.
    let busy = unsafe { tensor.ready_on(Some(arraybridge::Stream(2))) };
    assert!(busy.as_slice::<f32>().unwrap_err().to_string().contains("synchronize"));
    // Nobody here knows a stream of the processor's, so nobody can wait for it.
    let refused = busy.convert::<SharedArray<f32>>().unwrap_err();
    assert!(refused.to_string().contains("synchronize"), "{refused}");
    // SAFETY: as above.
    let ready = unsafe { refused.into_value().ready_on(None) };
    let shared: SharedArray<f32> = ready.convert().unwrap();
    assert_eq!(shared.view()[0], 1.0);
}
