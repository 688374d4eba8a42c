//! Copies on the device, uploads and downloads keep every bit, whatever the strides.

use crate::support;
use crate::support::on_every_device;
use bridge_core::{DataType, Device, Error, ManagedTensor, NativeArray, Runtime, TensorError};
use bridge_opencl::{ClArray, OpenCl};
use bridge_testkit::bytes_of;
use proptest::prelude::*;

/// A tensor of 2 x 3 x 4 x 5 numbers of 1, 2, 4, 8 or 16 bytes.
fn numbers(size: usize) -> ManagedTensor {
    fn of<T: bridge_core::Element>(make: impl Fn(u8) -> T) -> ManagedTensor {
        ManagedTensor::from_vec((0..120).map(make).collect(), &[2, 3, 4, 5]).unwrap()
    }
    match size {
        1 => of(|n| n),
        2 => of(|n| u16::from(n) * 257),
        4 => of(|n| u32::from(n) * 0x0101_0101),
        8 => of(|n| f64::from(n) * 1.1),
        _ => {
            let plain = of(|n| f64::from(n) + 0.25);
            bridge_host::to_data_type(&plain, DataType::C128, bridge_core::Overflow::Refuse)
                .unwrap()
        }
    }
}

/// One change of the layout.
#[derive(Debug, Clone)]
enum View {
    Permute(usize),
    Slice { axis: usize, start: usize, step: bool, backwards: bool },
    Select { axis: usize },
}

fn viewed(tensor: ManagedTensor, view: &View) -> ManagedTensor {
    let shape = tensor.shape().to_vec();
    let rank = shape.len();
    match *view {
        View::Permute(by) => {
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.rotate_left(by % rank.max(1));
            tensor.permuted(&axes).unwrap()
        }
        View::Slice { axis, start, step, backwards } if rank > 0 => {
            let axis = axis % rank;
            let start = start % shape[axis];
            let step = if step { 2 } else { 1 };
            let (count, step) = if backwards {
                (start / step + 1, -(step.cast_signed()))
            } else {
                ((shape[axis] - start).div_ceil(step), step.cast_signed())
            };
            tensor.sliced(axis, start, count, step).unwrap()
        }
        View::Select { axis } if rank > 1 => tensor.selected(axis % rank, 0).unwrap(),
        _ => tensor,
    }
}

fn view() -> impl Strategy<Value = View> {
    prop_oneof![
        (0..4_usize).prop_map(View::Permute),
        (0..4_usize, 0..5_usize, any::<bool>(), any::<bool>()).prop_map(
            |(axis, start, step, backwards)| View::Slice { axis, start, step, backwards }
        ),
        (0..4_usize).prop_map(|axis| View::Select { axis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_view_is_copied_exactly(
        size in prop::sample::select(&[1_usize, 2, 4, 8, 16][..]),
        views in prop::collection::vec(view(), 0..4),
    ) {
        on_every_device(|queue| {
            let device = queue.device().device();
            // The whole goes up; the view is taken there, and on the host to compare.
            let mut there = OpenCl.transfer(&numbers(size), device).unwrap();
            let mut here = numbers(size);
            for view in &views {
                there = viewed(there, view);
                here = viewed(here, view);
            }
            let expected = bytes_of(&here);
            let copy = OpenCl.copy(&there).unwrap();
            assert!(copy.layout().is_row_major());
            for tensor in [&copy, &there] {
                let down = OpenCl.transfer(tensor, Device::CPU).unwrap();
                assert_eq!(bytes_of(&down), expected);
            }
            // The view of the host goes up, packed once.
            let up = OpenCl.transfer(&here, device).unwrap();
            assert_eq!(bytes_of(&OpenCl.transfer(&up, Device::CPU).unwrap()), expected);
        });
    }
}

#[test]
fn many_axes_that_do_not_join_go_through_the_host() {
    on_every_device(|queue| {
        let host = ManagedTensor::from_vec((0..1 << 12).collect::<Vec<u16>>(), &[2; 12]).unwrap();
        let axes: Vec<usize> = (0..12).rev().collect();
        let array = ClArray::upload(queue, &host).unwrap().permuted(&axes).unwrap();
        let expected = bytes_of(&host.permuted(&axes).unwrap());
        assert_eq!(bytes_of(&array.copy().unwrap().download().unwrap()), expected);
    });
}

#[test]
fn a_strided_source_is_free_when_the_upload_returns() {
    on_every_device(|queue| {
        let mut host = ManagedTensor::from_vec((0..4096_i32).collect(), &[64, 64]).unwrap();
        let view = {
            let alias = ManagedTensor::from_vec((0..4096_i32).collect(), &[64, 64]).unwrap();
            alias.permuted(&[1, 0]).unwrap()
        };
        let expected = bytes_of(&view);
        let up = ClArray::upload(queue, &view).unwrap();
        drop(view);
        host.as_mut_slice::<i32>().unwrap().fill(-1);
        assert_eq!(bytes_of(&up.download().unwrap()), expected);
    });
}

#[test]
fn what_comes_down_is_a_vector() {
    on_every_device(|queue| {
        let array = support::array(queue, &[1.5_f64, 2.5]);
        let (vec, _) = array.download().unwrap().into_vec::<f64>().unwrap();
        assert_eq!(vec, [1.5, 2.5]);
    });
}

/// Few elements that lie without gaps come down by another way.
#[test]
fn views_come_down_as_vectors_of_their_own_elements_only() {
    on_every_device(|queue| {
        let rows = || ClArray::from_slice(queue, &[0_u16, 1, 2, 3, 4, 5], &[3, 2]).unwrap();
        let expected: [&[u16]; 4] = [&[2, 3, 4, 5], &[3, 2, 1, 0], &[1, 3, 5], &[]];
        let views = [
            rows().sliced(0, 1, 2, 1).unwrap(),
            rows().sliced(0, 1, 2, -1).unwrap().sliced(1, 1, 2, -1).unwrap(),
            rows().selected(1, 1).unwrap(),
            rows().sliced(0, 0, 0, 1).unwrap(),
        ];
        for (view, expected) in views.iter().zip(expected) {
            assert_eq!(view.to_vec::<u16>().unwrap(), expected);
            for error in [view.to_vec::<i16>().unwrap_err(), view.to_vec::<u8>().unwrap_err()] {
                assert!(
                    matches!(error, Error::Tensor(TensorError::WrongElementType { .. })),
                    "{error}"
                );
            }
        }
    });
}

/// From 16 MiB on, an array that lies without gaps comes down by another way on a processor.
#[test]
fn large_arrays_come_down_whole_and_may_be_written_again() {
    const COUNT: usize = (16 << 20) / 4 + 5;
    on_every_device(|queue| {
        let numbers: Vec<u32> = (0..COUNT as u32).map(|number| number.rotate_left(11)).collect();
        let mut array = support::array(queue, &numbers);
        assert!(array.to_vec::<u32>().unwrap() == numbers);
        array.fill(7_u32).unwrap();
        let part = array.sliced(0, 3, COUNT - 3, 1).unwrap();
        assert!(part.to_vec::<u32>().unwrap() == vec![7; COUNT - 3]);
    });
}

#[test]
fn filling_writes_every_element_of_a_view_without_gaps() {
    on_every_device(|queue| {
        let rows = ClArray::from_slice(queue, &[1_u32; 12], &[3, 4]).unwrap();
        let mut row = rows.selected(0, 1).unwrap();
        row.fill(5_u32).unwrap();
        assert_eq!(row.to_vec::<u32>().unwrap(), [5; 4]);
        let whole = row.export().unwrap();
        assert_eq!(whole.layout().byte_offset(), 16);
        let mut column =
            ClArray::from_slice(queue, &[1_u32; 12], &[3, 4]).unwrap().selected(1, 0).unwrap();
        let error = column.fill(5_u32).unwrap_err();
        assert!(error.to_string().contains("without gaps"), "{error}");
        assert!(column.fill(5_i32).is_err(), "another element type");
    });
}
