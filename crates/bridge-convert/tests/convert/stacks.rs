//! Stacking arrays, and taking stacks apart, on the host and on devices.

use bridge_convert::{ConvertByName, Stacker, map_slices, stack, unstack};
use bridge_core::{Array, DataType, Device, ManagedTensor, Options, Refused};

use crate::accelerator::{PINNED, SECOND, lying_on};
use crate::support::{array, numbers, registry};

fn values(array: Array) -> (Vec<usize>, Vec<f32>) {
    let on_host = registry().convert(array, "takes", Options::default()).unwrap();
    let rows = bridge_host::to_row_major(&on_host.export().unwrap()).unwrap();
    (rows.shape().to_vec(), rows.as_slice::<f32>().unwrap().to_vec())
}

fn on(device: Device, shape: &[usize]) -> Array {
    Array::new(lying_on(device, numbers(shape)))
}

fn pairs() -> Vec<Array> {
    let pair = |first: f32| ManagedTensor::from_vec(vec![first, first + 1.0], &[2]).unwrap();
    [0.0, 10.0, 20.0].map(|first| Array::new(pair(first))).into()
}

#[test]
fn what_was_stacked_along_an_axis_comes_apart_along_it() {
    for (axis, shape, elements) in [
        (0, [3, 2], [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]),
        (1, [2, 3], [0.0, 10.0, 20.0, 1.0, 11.0, 21.0]),
    ] {
        let stacked = || stack(registry(), pairs(), axis, "takes", Options::default()).unwrap();
        assert_eq!(values(stacked()), (shape.to_vec(), elements.to_vec()), "axis {axis}");
        let slices = unstack(registry(), stacked(), axis, "takes", &Options::default()).unwrap();
        let apart: Vec<_> = slices.into_iter().map(values).collect();
        assert_eq!(apart, pairs().into_iter().map(values).collect::<Vec<_>>(), "axis {axis}");

        let mut order = 0..;
        let (same, indices) =
            map_slices(registry(), stacked(), axis, |slice| Ok((slice, order.next()))).unwrap();
        assert_eq!(values(same), (shape.to_vec(), elements.to_vec()), "axis {axis}");
        assert_eq!(indices, [Some(0), Some(1), Some(2)]);
    }
    let alone = stack(registry(), vec![array(&[2])], 0, "takes", Options::default()).unwrap();
    assert_eq!(values(alone), (vec![1, 2], vec![0.0, 1.0]));
    let none = unstack(registry(), array(&[0, 2]), 0, "takes", &Options::default()).unwrap();
    assert!(none.is_empty());
}

#[test]
fn a_stack_stays_on_the_device_of_its_arrays_where_the_target_can_be_there() {
    let there = || vec![on(SECOND, &[2]), on(SECOND, &[2])];
    let stacked = |arrays, target, options| {
        stack(registry(), arrays, 0, target, options).unwrap().describe().unwrap().device
    };
    let ask = Options::default();
    assert_eq!(stacked(there(), "accelerator", ask), SECOND);
    assert_eq!(stacked(there(), "accelerator", ask.on(PINNED)), PINNED, "the caller says so");
    assert_eq!(stacked(there(), "takes", ask), Device::CPU);
    // Host memory is host memory, however it was allocated.
    assert_eq!(stacked(vec![array(&[2]), on(PINNED, &[2])], "takes", ask), Device::CPU);
    assert_eq!(stacked(vec![on(PINNED, &[2]), array(&[2])], "takes", ask), Device::CPU);
    // What was on a device when it is mapped over comes back there.
    let array = registry().convert(on(SECOND, &[2, 2]), "accelerator", ask).unwrap();
    let (array, _) = map_slices(registry(), array, 0, |slice| Ok((slice, ()))).unwrap();
    assert_eq!(array.describe().unwrap().device, SECOND);
}

#[test]
fn arrays_that_do_not_stack_come_back_with_the_reason() {
    let bytes = || Array::new(ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap());
    let pair = || array(&[2]);
    let cases = [
        (vec![], 0, "takes", "the number of arrays is 0: a stack needs at least one"),
        (vec![pair(), pair()], 2, "takes", "the axis is 2: it must be below 2"),
        (vec![pair(), pair()], 0, "nowhere", "there is no backend \"nowhere\""),
        (
            vec![pair(), pair(), array(&[3])],
            0,
            "takes",
            "array 2 has shape [3], array 0 has [2]: they must agree; nothing is broadcast",
        ),
        (
            vec![pair(), bytes()],
            0,
            "takes",
            "array 1 has data type uint8, array 0 has float32: they must agree; nothing is cast",
        ),
        (
            vec![pair(), pair(), on(SECOND, &[2])],
            0,
            "takes",
            "array 2 has device cuda:1, array 0 has cpu: they must agree; convert it with \
             Options::on first",
        ),
    ];
    for (arrays, axis, target, reason) in cases {
        let before: Vec<_> = arrays.iter().map(|array| array.describe().unwrap()).collect();
        let refused = stack(registry(), arrays, axis, target, Options::default()).unwrap_err();
        let (arrays, error) = refused.into_parts();
        assert!(error.to_string().contains(reason), "{error}");
        let after: Vec<_> = arrays.iter().map(|array| array.describe().unwrap()).collect();
        assert_eq!(format!("{after:?}"), format!("{before:?}"), "{reason}");
    }
}

#[test]
fn a_stack_that_grows_takes_what_is_like_its_first_array_until_it_is_full() {
    let text = |refused: Result<(), Refused<Array>>| refused.unwrap_err().to_string();
    let mut stacker = Stacker::new(registry(), 3, 1);
    let early = stacker.finish("takes", Options::default()).unwrap_err().to_string();
    assert!(early.contains("is 0: the stack needs 3"), "{early}");
    stacker.push(array(&[2])).unwrap();
    let shape = text(stacker.push(array(&[4])));
    assert!(shape.contains("array 1 has shape [4], array 0 has [2]"), "{shape}");
    let bytes = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap();
    let data_type = text(stacker.push(Array::new(bytes)));
    assert!(data_type.contains("array 1 has data type uint8, array 0 has float32"), "{data_type}");
    stacker.push(on(SECOND, &[2])).unwrap();
    stacker.push(array(&[2])).unwrap();
    let full = text(stacker.push(array(&[2])));
    assert!(full.contains("the number of arrays is 4: the stack was made for 3"), "{full}");

    // A target that refuses leaves the stack as it was; one that takes it leaves room for another.
    assert!(stacker.finish("nowhere", Options::default()).is_err());
    for _ in 0..2 {
        let array = stacker.finish("takes", Options::default()).unwrap();
        assert_eq!(values(array), (vec![2, 3], vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0]));
        for _ in 0..3 {
            stacker.push(self::array(&[2])).unwrap();
        }
    }
    let double = Options::default().cast(DataType::F64);
    let doubles = stacker.finish("takes", double).unwrap().describe().unwrap();
    assert_eq!((doubles.data_type, doubles.layout.shape()), (DataType::F64, &[2, 3][..]));

    let mut deep = Stacker::new(registry(), 1, 3);
    let axis = text(deep.push(array(&[2, 2])));
    assert!(axis.contains("the axis is 3: it must be below 3"), "{axis}");
}
