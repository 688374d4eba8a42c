//! Stacking, unstacking and mapping over slices, on any backend.

use arraybridge::backends::ndarray::SharedArray;
use arraybridge::{
    Array, Convert, DataType, Error, ManagedTensor, Options, Result, Stacker, map_slices, stack,
    unstack,
};
use bridge_tests::{registry, values};
use candle_core::{Device, Tensor};
use ndarray::{Array2, Array3, array};

fn plane(start: f32) -> Array2<f32> {
    Array2::from_shape_fn((2, 3), |(i, j)| start + (i * 3 + j) as f32)
}

fn candle_plane(start: f32) -> Tensor {
    plane(start).convert().unwrap()
}

fn stacked(arrays: Vec<Array>, axis: usize) -> Array3<f32> {
    let array = stack(registry(), arrays, axis, "ndarray", Options::default()).unwrap();
    array.convert().unwrap()
}

#[test]
fn arrays_of_several_backends_stack_along_any_axis() {
    for axis in 0..3 {
        let planes = vec![Array::new(plane(0.0)), Array::new(candle_plane(100.0))];
        let stacked = stacked(planes, axis);
        let expected =
            ndarray::stack(ndarray::Axis(axis), &[plane(0.0).view(), plane(100.0).view()]).unwrap();
        assert_eq!(stacked, expected, "axis {axis}");
    }
}

#[test]
fn a_stack_reaches_candle_without_a_second_copy() {
    let planes = (0..4).map(|i| Array::new(plane(i as f32 * 10.0))).collect();
    let counters = std::sync::Arc::new(arraybridge::Counters::default());
    let watching = arraybridge::observe(counters.clone());
    let volume = stack(registry(), planes, 0, "candle", Options::default()).unwrap();
    drop(watching);
    let tensor: Tensor = volume.downcast().unwrap();
    assert_eq!(tensor.dims(), [4, 2, 3]);
    assert_eq!(counters.rows()[0].way, "move");
}

#[test]
fn nothing_is_broadcast_or_cast_and_all_arrays_come_back() {
    let refused = |arrays| stack(registry(), arrays, 0, "ndarray", Options::default()).unwrap_err();
    let wrong_shape =
        refused(vec![Array::new(plane(0.0)), Array::new(array![[1.0_f32, 2.0, 3.0]])]);
    let text = wrong_shape.to_string();
    assert!(text.contains("array 1 has shape [1, 3], array 0 has [2, 3]"), "{text}");
    assert_eq!(wrong_shape.into_value().len(), 2);

    let bytes = plane(0.0).mapv(|value| value as u8);
    let wrong_type = refused(vec![Array::new(plane(0.0)), Array::new(bytes)]);
    let text = wrong_type.to_string();
    assert!(text.contains("array 1 has data type uint8, array 0 has float32"), "{text}");

    assert!(refused(vec![]).to_string().contains("at least one"));
    let planes = || vec![Array::new(plane(0.0)), Array::new(candle_plane(1.0))];
    for (axis, target) in [(3, "ndarray"), (0, "nowhere")] {
        let refused = stack(registry(), planes(), axis, target, Options::default()).unwrap_err();
        let back = refused.into_value();
        assert!(back[0].downcast_ref::<Array2<f32>>().is_some());
        assert!(back[1].downcast_ref::<Tensor>().is_some());
    }
}

#[test]
fn slices_share_memory_and_can_be_written() {
    let volume = Array3::from_shape_fn((3, 2, 2), |(z, y, x)| (z * 4 + y * 2 + x) as f32);
    let before = volume.as_ptr();
    let slices =
        unstack(registry(), Array::new(volume), 0, "ndarray", &Options::default()).unwrap();
    assert_eq!(slices.len(), 3);
    for (index, slice) in slices.into_iter().enumerate() {
        let mut slice: SharedArray<f32> = slice.downcast().unwrap();
        assert_eq!(slice.as_ptr(), before.wrapping_add(index * 4));
        assert_eq!(slice.view()[[1, 1]], (index * 4 + 3) as f32);
        slice.view_mut().unwrap().fill(0.0);
    }
    let refused = unstack(registry(), Array::new(plane(0.0)), 2, "ndarray", &Options::default());
    assert!(refused.unwrap_err().to_string().contains("the axis is 2"));
}

#[test]
fn candle_slices_of_a_candle_tensor() {
    let tensor = Tensor::arange(0_f32, 12.0, &Device::Cpu).unwrap().reshape((3, 4)).unwrap();
    let slices = unstack(registry(), Array::new(tensor), 1, "candle", &Options::default()).unwrap();
    let second: Tensor = slices.into_iter().nth(1).unwrap().downcast().unwrap();
    assert_eq!(second.to_vec1::<f32>().unwrap(), [1.0, 5.0, 9.0]);
}

#[test]
fn map_slices_stacks_results_and_collects_extras() {
    for axis in 0..2 {
        let double = |slice: Array| {
            let slice: SharedArray<f32> = slice.convert()?;
            let sum = slice.view().sum();
            Ok((Array::new(slice.view().mapv(|value| value * 2.0)), sum))
        };
        let (array, sums) = map_slices(registry(), Array::new(plane(0.0)), axis, double).unwrap();
        let doubled: Array2<f32> = array.convert().unwrap();
        assert_eq!(doubled, plane(0.0) * 2.0);
        assert_eq!(sums, plane(0.0).sum_axis(ndarray::Axis(1 - axis)).to_vec());
    }
    let tensor = candle_plane(0.0);
    let (array, _) =
        map_slices(registry(), Array::new(tensor), 0, |slice| Ok((slice, ()))).unwrap();
    assert_eq!(array.descriptor().name, "candle", "the result stays in the array's backend");
}

#[test]
fn a_map_that_fails_gives_the_array_back() {
    let fails = |_: Array| -> Result<(Array, ())> {
        Err(Error::Unsupported { what: "this".to_owned(), remedy: "that".to_owned() })
    };
    let array = plane(0.0);
    let before = array.as_ptr();
    let refused = map_slices(registry(), Array::new(array), 0, fails).unwrap_err();
    let array: Array2<f32> = refused.into_value().downcast().unwrap();
    assert_eq!(array.as_ptr(), before);

    // Even where the function keeps a slice: then as an alias of the memory.
    let mut kept = Vec::new();
    let keeps = |slice: Array| {
        kept.push(slice);
        fails(Array::new(plane(0.0)))
    };
    let refused = map_slices(registry(), Array::new(plane(5.0)), 0, keeps).unwrap_err();
    let alias: ManagedTensor = refused.into_value().convert().unwrap();
    assert_eq!(values(&alias), [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
    // What is kept cannot be written behind the alias's back.
    let mut slice: SharedArray<f32> = kept.remove(0).downcast().unwrap();
    assert!(slice.view_mut().is_err());
    assert!(map_slices(registry(), Array::new(plane(0.0)), 7, fails).is_err());
}

#[test]
fn a_stack_can_be_built_one_array_at_a_time() {
    let mut stacker = Stacker::new(registry(), 3, 1);
    for start in [0.0, 10.0] {
        stacker.push(Array::new(plane(start))).unwrap();
    }
    let refused = stacker.push(Array::new(array![1.0_f32])).unwrap_err();
    assert!(refused.to_string().contains("array 2 has shape [1]"), "{refused}");
    stacker.push(Array::new(candle_plane(20.0))).unwrap();
    assert!(stacker.push(Array::new(plane(0.0))).is_err(), "one too many");
    let half = Options::default().cast(DataType::F16);
    let tensor: Tensor = stacker.finish("candle", half).unwrap().downcast().unwrap();
    assert_eq!(tensor.dims(), [2, 3, 3]);
    assert_eq!(tensor.dtype(), candle_core::DType::F16);

    let mut patient = Stacker::new(registry(), 1, 0);
    patient.push(Array::new(plane(7.0))).unwrap();
    assert!(patient.finish("nowhere", Options::default()).is_err());
    let too_large = Options::default().cast(DataType::U8).overflow(arraybridge::Overflow::Refuse);
    let minus = patient.finish("candle", too_large.cast(DataType::C64)).unwrap_err();
    assert!(matches!(minus, Error::UnsupportedDataType { .. }), "{minus}");
    let volume: Array3<f32> =
        patient.finish("ndarray", Options::default()).unwrap().convert().unwrap();
    assert_eq!(volume[[0, 0, 0]], 7.0, "a refused stack is still there");

    let mut incomplete = Stacker::new(registry(), 2, 0);
    incomplete.push(Array::new(plane(0.0))).unwrap();
    let error = incomplete.finish("ndarray", Options::default()).unwrap_err();
    assert!(error.to_string().contains("is 1: the stack needs 2"), "{error}");
}

#[test]
fn tensors_from_files_are_mapped_too() {
    let tensor = ManagedTensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
    let (array, sums) = map_slices(registry(), Array::new(tensor), 0, |slice| {
        let slice: SharedArray<f32> = slice.convert()?;
        let sum = slice.view().sum();
        Ok((Array::new(slice), sum))
    })
    .unwrap();
    assert_eq!(sums, [3.0, 7.0]);
    assert_eq!(values(&array.convert().unwrap()), [1.0, 2.0, 3.0, 4.0]);
}
