//! Which conversions share or move memory: shown by addresses.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{AndConvert, Convert, CopyPolicy, ManagedTensor, Options};
use bridge_tests::address;
use candle_core::{Device, Tensor};
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Slice, array};

const NEVER: fn() -> Options<'static> = || Options::default().copy(CopyPolicy::Never);

fn candle_address(tensor: &Tensor) -> usize {
    address(&tensor.clone().convert::<ManagedTensor>().unwrap())
}

#[test]
fn an_owned_array_moves_into_candle() {
    let array = Array2::from_shape_fn((3, 5), |(i, j)| (i * 5 + j) as f32);
    let before = array.as_ptr().addr();
    let tensor: Tensor = array.convert_to(NEVER()).unwrap();
    assert_eq!(candle_address(&tensor), before);
    assert_eq!(tensor.get(2).unwrap().to_vec1::<f32>().unwrap(), [10.0, 11.0, 12.0, 13.0, 14.0]);
}

#[test]
fn a_transposed_array_moves_too_and_its_axes_are_permuted_back() {
    let array = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (i * 12 + j * 4 + k) as i64);
    let expected = array.clone().permuted_axes([2, 0, 1]);
    let array = array.permuted_axes([2, 0, 1]);
    let before = array.as_ptr().addr();
    let tensor: Tensor = array.convert_to(NEVER()).unwrap();
    assert_eq!(candle_address(&tensor), before);
    assert_eq!(tensor.dims(), [4, 2, 3]);
    let flat = tensor.flatten_all().unwrap().to_vec1::<i64>().unwrap();
    assert_eq!(flat, expected.iter().copied().collect::<Vec<_>>());
}

#[test]
fn candle_is_read_in_place() {
    let tensor = Tensor::arange(0_f64, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
    let slice = tensor.t().unwrap().narrow(0, 1, 2).unwrap();
    let before = candle_address(&slice);
    let shared: SharedArray<f64> = slice.convert_to(NEVER()).unwrap();
    drop(tensor);
    assert_eq!(shared.as_ptr().addr(), before);
    assert_eq!(shared.view(), array![[1.0, 5.0, 9.0], [2.0, 6.0, 10.0]].into_dyn());
}

#[test]
fn a_candle_tensor_comes_back_as_itself() {
    let tensor = Tensor::zeros((2, 2), candle_core::DType::BF16, &Device::Cpu).unwrap();
    let id = tensor.id();
    let shared: SharedArray<half::bf16> = tensor.convert_to(NEVER()).unwrap();
    let tensor: Tensor = shared.convert_to(NEVER()).unwrap();
    assert_eq!(tensor.id(), id);
}

#[test]
fn a_vector_is_taken_back_when_nobody_else_holds_it() {
    let array: ArrayD<i32> = array![[1, 2], [3, 4]].into_dyn();
    let before = array.as_ptr();
    let shared = SharedArray::from(array);
    assert_eq!(shared.as_ptr(), before);

    let clone = shared.clone();
    let refused = shared.try_into_owned().unwrap_err();
    assert!(refused.to_string().contains("it has clones"), "{refused}");
    drop(clone);
    let array = refused.into_value().try_into_owned().unwrap();
    assert_eq!(array.as_ptr(), before);
}

#[test]
fn identity_returns_the_same_allocation() {
    let array = array![1.0, 2.0];
    let before = array.as_ptr();
    let (array, report) = array.convert_reported::<Array1<f64>>(NEVER()).unwrap();
    assert_eq!((array.as_ptr(), report.steps.len()), (before, 1));
    assert_eq!(report.steps[0].name(), "stay");

    let tensor = Tensor::new(&[1_u8, 2], &Device::Cpu).unwrap();
    let id = tensor.id();
    assert_eq!(tensor.convert::<Tensor>().unwrap().id(), id);
}

#[test]
fn every_owned_array_survives_a_round_trip_in_place() {
    let whole = || Array2::from_shape_fn((4, 6), |(i, j)| (i * 6 + j) as u16);
    let mut reversed = whole();
    reversed.invert_axis(Axis(1));
    let arrays = [
        whole(),
        whole().reversed_axes(),
        reversed,
        // Cut out of a longer vector: at its end, and with gaps.
        whole().slice_axis_move(Axis(0), Slice::from(2..)),
        whole().slice_axis_move(Axis(1), Slice::from(1..3)),
        whole().slice_axis_move(Axis(1), Slice::new(0, None, 2)),
        Array2::zeros((0, 3)),
        Array2::zeros((1, 1)),
    ];
    for array in arrays {
        let expected = array.clone();
        let before = (array.as_ptr(), array.strides().to_vec());
        let tensor: ManagedTensor = array.convert_to(NEVER()).unwrap();
        let array: Array2<u16> = tensor.convert_to(NEVER()).unwrap();
        assert_eq!(array, expected);
        if !array.is_empty() && array.len() > 1 {
            assert_eq!((array.as_ptr(), array.strides().to_vec()), before);
        }
    }
}

#[test]
fn writing_through_a_shared_array_reaches_the_vector() {
    let array = array![[1.0_f32, 2.0], [3.0, 4.0]].into_dyn();
    let mut shared = SharedArray::from(array);
    shared.view_mut().unwrap()[[0, 1]] = 20.0;
    let tensor: Tensor = shared.convert_to(NEVER()).unwrap();
    assert_eq!(tensor.to_vec2::<f32>().unwrap(), [[1.0, 20.0], [3.0, 4.0]]);
}

#[test]
fn foreign_memory_of_any_strides_is_viewed() {
    let tensor = ManagedTensor::from_vec((0..24).collect::<Vec<i32>>(), &[4, 6]).unwrap();
    let odd = tensor.sliced(0, 3, 2, -2).unwrap().sliced(1, 5, 3, -2).unwrap();
    let shared: SharedArray<i32> = odd.convert_to(NEVER()).unwrap();
    assert_eq!(shared.view(), array![[23, 21, 19], [11, 9, 7]].into_dyn());
    let repeated = ManagedTensor::from_vec(vec![7_u8, 8], &[2, 1]).unwrap();
    let shared: SharedArray<u8> = repeated.broadcast_to(&[2, 3]).unwrap().convert().unwrap();
    assert_eq!(shared.view(), array![[7, 7, 7], [8, 8, 8]].into_dyn());
}

#[test]
fn a_changed_tensor_is_no_longer_its_owner_and_the_plan_knows() {
    let mut reversed = Array2::from_shape_fn((2, 3), |(i, j)| (i * 3 + j) as f32);
    reversed.invert_axis(Axis(1));
    let expected = reversed.t().to_owned();
    let tensor: ManagedTensor = reversed.convert_to(NEVER()).unwrap();
    let turned = tensor.permuted(&[1, 0]).unwrap();
    let plan = turned.plan_to::<Array2<f32>>(&Options::default()).unwrap();
    let (array, report) = turned.convert_reported::<Array2<f32>>(Options::default()).unwrap();
    assert_eq!(array, expected);
    assert_eq!(plan.steps, report.steps);
    assert!(!plan.is_zero_copy());
}

#[test]
fn a_plan_knows_the_alignment_that_the_export_will_have() {
    let array = Array1::<f32>::zeros(1 << 20);
    let said = bridge_tests::described(&array).alignment;
    let tensor: ManagedTensor = array.convert().unwrap();
    assert_eq!(said, tensor.describe().alignment);
}

#[test]
fn conversions_follow_each_other_and_the_array_of_the_one_that_fails_comes_back() {
    let array = Array2::from_shape_fn((2, 2), |(i, j)| (i * 2 + j) as f32);
    let before = array.as_ptr().addr();
    let there: SharedArray<f32> =
        array.convert::<Tensor>().and_convert::<SharedArray<f32>>().unwrap();
    let again = there.convert::<Tensor>().and_convert::<SharedArray<f32>>();
    let tensor: Tensor = again.and_convert().unwrap();
    assert_eq!(candle_address(&tensor), before);
    let chain = array![1_i16].convert::<SharedArray<i16>>();
    let refused = chain.and_convert::<Array2<i16>>().and_convert::<SharedArray<i16>>().unwrap_err();
    assert!(refused.error().to_string().contains("rank"), "{}", refused.error());
    let given = refused.into_value().downcast::<SharedArray<i16>>().unwrap();
    assert_eq!(given.view(), array![1_i16].into_dyn());
}
