//! Tensors that somebody else keeps: read from a header, looked at, and kept.

use std::sync::Arc;

use bridge_tensor::dlpack::{DLDeviceType, DLTensor};
use bridge_tensor::{
    Access, DataType, Device, Error, Layout, ManagedTensor, Owner, Stream, TensorSpec, TensorView,
};
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice};

/// A header of float32 elements over these.
fn header(data: &mut [f32], shape: &mut [i64], strides: &mut [i64]) -> DLTensor {
    DLTensor {
        data: data.as_mut_ptr().cast(),
        device: DLDevice { device_type: DLDeviceType::CPU, device_id: 0 },
        ndim: shape.len() as i32,
        dtype: DLDataType::new(DLDataTypeCode::FLOAT, 32, 1),
        shape: shape.as_mut_ptr(),
        strides: strides.as_mut_ptr(),
        byte_offset: 0,
    }
}

#[test]
fn a_view_is_what_the_header_says_and_does_not_need_it_any_more() {
    let (mut data, mut shape, mut strides) = ([0_f32; 6], [3_i64, 2], [1_i64, 3]);
    let mut view = TensorView::nothing();
    let written = header(&mut data, &mut shape, &mut strides);
    // SAFETY: the header is that of the arrays above, which outlive the view.
    unsafe { view.read_dlpack_header(&written, Access::Shared) }.unwrap();
    (shape, strides) = ([0; 2], [0; 2]);
    assert_eq!((shape, strides), ([0; 2], [0; 2]));
    assert_eq!((view.layout().shape(), view.layout().strides()), (&[3, 2][..], &[1, 3][..]));
    assert_eq!((view.layout().element_count(), view.layout().is_row_major()), (6, false));
    assert_eq!((view.data_type(), view.device()), (DataType::F32, Device::CPU));
    assert_eq!((view.access(), view.data().cast()), (Access::Shared, data.as_mut_ptr()));
}

#[test]
fn a_view_of_any_rank_is_read_over_one_of_another() {
    let mut data = [0_f32; 64];
    let mut view = TensorView::nothing();
    for rank in [1, 64, 0, 4, 5, 2] {
        let (mut shape, mut strides) = (vec![1_i64; rank], vec![7_i64; rank]);
        if let Some(last) = shape.last_mut() {
            *last = 9;
        }
        let written = header(&mut data, &mut shape, &mut strides);
        // SAFETY: no more than the first of 64 elements are counted by strides of 7.
        unsafe { view.read_dlpack_header(&written, Access::Shared) }.unwrap();
        assert_eq!(view.layout().rank(), rank);
        assert_eq!(view.layout().element_count(), if rank == 0 { 1 } else { 9 });
    }
}

#[test]
fn what_a_header_may_not_say_is_refused_and_leaves_nothing() {
    let (mut data, mut shape, mut strides) = ([0_f32; 6], [2_i64, 3], [3_i64, 1]);
    let good = header(&mut data, &mut shape, &mut strides);
    let (mut negative, mut huge, mut far) = ([2_i64, -3], [i64::MAX, 3], [i64::MAX, 1]);
    let forged: [(&str, DLTensor); 9] = [
        ("rank", DLTensor { ndim: -1, ..good }),
        ("rank", DLTensor { ndim: 65, ..good }),
        ("shape is null", DLTensor { shape: std::ptr::null_mut(), ..good }),
        ("axis 1 is -3", DLTensor { shape: negative.as_mut_ptr(), ..good }),
        ("address space", DLTensor { shape: huge.as_mut_ptr(), ..good }),
        ("address space", DLTensor { strides: far.as_mut_ptr(), ..good }),
        ("null", DLTensor { data: std::ptr::null_mut(), ..good }),
        ("ordinal", DLTensor { device: DLDevice { device_id: -1, ..good.device }, ..good }),
        ("bits", DLTensor { dtype: DLDataType::new(DLDataTypeCode::BOOL, 32, 1), ..good }),
    ];
    for (words, header) in forged {
        let mut view = TensorView::nothing();
        // SAFETY: shape and strides lead to two values, and at most 64 axes are looked at.
        unsafe { view.read_dlpack_header(&good, Access::Shared) }.unwrap();
        // SAFETY: as above; the rank of 65 and the shape of null are refused before any value is read.
        let refused = unsafe { view.read_dlpack_header(&header, Access::Shared) };
        let told = refused.unwrap_err().to_string();
        assert!(told.contains(words), "{words}: {told}");
        assert!(view.layout().is_empty() && view.data().is_null());
    }
}

#[test]
fn a_view_that_is_kept_is_a_tensor_that_its_owner_keeps() {
    let keeper = Arc::new(vec![1_f32, 2.0, 3.0]);
    let spec = TensorSpec::row_major(DataType::F32, &[3]).unwrap();
    let data = keeper.as_ptr().cast_mut().cast();
    // SAFETY: the vector outlives the view, and nobody writes to it.
    let mut view =
        unsafe { TensorView::from_parts(data, spec, Device::CPU, Access::ReadOnly) }.unwrap();
    // SAFETY: nothing is pending, so that it is ready on every stream.
    unsafe { view.set_stream(Some(Stream(1))) };
    // SAFETY: the owner keeps the vector.
    let tensor = unsafe { view.kept_by(Owner::keep(Arc::clone(&keeper))) };
    assert_eq!((tensor.shape(), tensor.access()), (&[3][..], Access::ReadOnly));
    assert_eq!(tensor.stream(), Some(Stream(1)));
    assert_eq!(Arc::strong_count(&keeper), 2);
    drop(tensor);
    assert_eq!(Arc::strong_count(&keeper), 1);
}

#[test]
fn a_view_of_an_owned_tensor_says_nothing_more_than_it_does() {
    let tensor = ManagedTensor::from_vec(vec![1_u8, 2, 3], &[3]).unwrap();
    assert_eq!(tensor.access(), Access::Exclusive);
    assert_eq!(tensor.view().access(), Access::Shared);
    assert!(tensor.view().layout().is_same_as(tensor.layout()));
    assert_eq!(tensor.into_read_only().view().access(), Access::ReadOnly);
}

#[test]
fn parts_that_describe_no_memory_make_no_view() {
    let spec = TensorSpec { data_type: DataType::F32, layout: Layout::row_major(&[2]).unwrap() };
    let at = std::ptr::null_mut();
    // SAFETY: it is refused.
    let refused = unsafe { TensorView::from_parts(at, spec, Device::CPU, Access::Shared) };
    assert!(matches!(refused, Err(Error::InvalidTensor { .. })));
}
