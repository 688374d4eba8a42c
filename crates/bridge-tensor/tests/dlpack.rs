//! Tensors that come over the C interface: every forgery is refused, and every deleter runs once.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_tensor::dlpack::{DLManagedTensor, DLManagedTensorVersioned, DLPackVersion};
use bridge_tensor::{Access, DataType, Device, Error, ManagedTensor, Owner, TensorSpec};
use dlpark::DlpackFlags;
use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice, DLDeviceType, DLTensor};

/// What a producer keeps until its deleter runs.
struct Producer {
    data: Vec<f32>,
    shape: Vec<i64>,
    strides: Vec<i64>,
    deleted: Arc<AtomicUsize>,
}

/// A 2×3 float32 tensor that a test then forges.
fn producer(deleted: &Arc<AtomicUsize>) -> (Box<Producer>, DLTensor) {
    let mut producer = Box::new(Producer {
        data: (0..6).map(|value| value as f32).collect(),
        shape: vec![2, 3],
        strides: vec![3, 1],
        deleted: Arc::clone(deleted),
    });
    let tensor = DLTensor {
        data: producer.data.as_mut_ptr().cast(),
        device: DLDevice { device_type: DLDeviceType::CPU, device_id: 0 },
        ndim: 2,
        dtype: DLDataType::new(DLDataTypeCode::FLOAT, 32, 1),
        shape: producer.shape.as_mut_ptr(),
        strides: producer.strides.as_mut_ptr(),
        byte_offset: 0,
    };
    (producer, tensor)
}

unsafe extern "C" fn delete(raw: *mut DLManagedTensorVersioned) {
    // SAFETY: `raw` came from `Box::into_raw` in `versioned`, as did its context.
    unsafe {
        let header = Box::from_raw(raw);
        let producer = Box::from_raw(header.manager_ctx.cast::<Producer>());
        producer.deleted.fetch_add(1, Ordering::SeqCst);
    }
}

unsafe extern "C" fn delete_legacy(raw: *mut DLManagedTensor) {
    // SAFETY: `raw` came from `Box::into_raw` in `legacy`, as did its context.
    unsafe {
        let header = Box::from_raw(raw);
        let producer = Box::from_raw(header.manager_ctx.cast::<Producer>());
        producer.deleted.fetch_add(1, Ordering::SeqCst);
    }
}

fn versioned(
    deleted: &Arc<AtomicUsize>,
    forge: impl FnOnce(&mut DLManagedTensorVersioned),
) -> *mut DLManagedTensorVersioned {
    let (producer, dl_tensor) = producer(deleted);
    let mut header = Box::new(DLManagedTensorVersioned {
        version: DLPackVersion::CURRENT,
        manager_ctx: Box::into_raw(producer).cast::<c_void>(),
        deleter: Some(delete),
        flags: DlpackFlags::empty(),
        dl_tensor,
    });
    forge(&mut header);
    Box::into_raw(header)
}

fn legacy(deleted: &Arc<AtomicUsize>, forge: impl FnOnce(&mut DLTensor)) -> *mut DLManagedTensor {
    let (producer, mut dl_tensor) = producer(deleted);
    forge(&mut dl_tensor);
    Box::into_raw(Box::new(DLManagedTensor {
        dl_tensor,
        manager_ctx: Box::into_raw(producer).cast::<c_void>(),
        deleter: Some(delete_legacy),
    }))
}

/// Imports a forged tensor; says the error, after checking that the deleter ran exactly once.
fn refusal(forge: impl FnOnce(&mut DLManagedTensorVersioned)) -> String {
    let deleted = Arc::new(AtomicUsize::new(0));
    // SAFETY: the tensor is owned and its memory lives until the deleter runs; forged fields are
    // what is tested: each must be refused before it is followed.
    let error = unsafe { ManagedTensor::from_dlpack(versioned(&deleted, forge)) }.unwrap_err();
    assert_eq!(deleted.load(Ordering::SeqCst), 1, "the deleter of a refused tensor: {error}");
    error.to_string()
}

/// Imports a tensor that must be accepted.
fn accepted(
    forge: impl FnOnce(&mut DLManagedTensorVersioned),
) -> (ManagedTensor, Arc<AtomicUsize>) {
    let deleted = Arc::new(AtomicUsize::new(0));
    // SAFETY: the tensor is owned and its memory lives until the deleter runs.
    let tensor = unsafe { ManagedTensor::from_dlpack(versioned(&deleted, forge)) }.unwrap();
    assert_eq!(deleted.load(Ordering::SeqCst), 0);
    (tensor, deleted)
}

#[test]
fn a_tensor_comes_in_and_its_deleter_runs_once_on_another_thread() {
    let (tensor, deleted) = accepted(|_| {});
    let refused = tensor.as_slice::<f32>().unwrap_err().to_string();
    assert!(refused.contains("others may write"), "{refused}");
    // SAFETY: nobody writes to it meanwhile.
    assert_eq!(unsafe { tensor.as_shared_slice::<f32>() }.unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!((tensor.device(), tensor.data_type()), (Device::CPU, DataType::F32));
    std::thread::spawn(move || drop(tensor)).join().unwrap();
    assert_eq!(deleted.load(Ordering::SeqCst), 1);
}

#[test]
fn class_a_a_round_trip_deletes_once_however_it_ends() {
    for consume in [false, true] {
        let (tensor, deleted) = accepted(|_| {});
        let raw = tensor.into_dlpack();
        assert_eq!(deleted.load(Ordering::SeqCst), 0, "handing over does not delete");
        if consume {
            // SAFETY: `raw` is owned here and its memory lives until its deleter runs.
            drop(unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) }.unwrap());
        } else {
            // SAFETY: an unconsumed tensor's deleter is run by whoever holds it, once.
            unsafe { (raw.as_ref().deleter.unwrap())(raw.as_ptr()) };
        }
        assert_eq!(deleted.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn class_a_an_empty_tensor_deletes_too() {
    // pytorch#117273; cccl#11605: data may be null when there is no element.
    let (tensor, deleted) = accepted(|header| {
        header.dl_tensor.data = std::ptr::null_mut();
        // SAFETY: the producer's shape has two values.
        unsafe { *header.dl_tensor.shape = 0 };
    });
    // SAFETY: nobody writes to it meanwhile.
    assert!(unsafe { tensor.as_shared_slice::<f32>() }.unwrap().is_empty());
    let raw = tensor.into_dlpack();
    // SAFETY: `raw` is live.
    assert!(unsafe { raw.as_ref() }.dl_tensor.data.is_null());
    // SAFETY: `raw` is owned here.
    drop(unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) }.unwrap());
    assert_eq!(deleted.load(Ordering::SeqCst), 1);
}

#[test]
fn class_a_ten_thousand_round_trips_delete_ten_thousand_times() {
    let deleted = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let raw = versioned(&deleted, |_| {});
        // SAFETY: `raw` is owned here, and so is what comes out.
        unsafe {
            let out = ManagedTensor::from_dlpack(raw).unwrap().into_dlpack();
            drop(ManagedTensor::from_dlpack(out.as_ptr()).unwrap());
        }
    }
    assert_eq!(deleted.load(Ordering::SeqCst), 10_000);
}

#[test]
fn class_a_a_panicking_owner_does_not_cross_the_c_interface() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("a test's owner");
        }
    }
    static DATA: [u8; 1] = [7];
    let spec = TensorSpec::row_major(DataType::U8, &[1]).unwrap();
    let data = DATA.as_ptr().cast_mut().cast();
    let owner = Owner::keep(Panics);
    // SAFETY: the data is static and only read.
    let tensor =
        unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::ReadOnly, owner) };
    let raw = tensor.unwrap().into_dlpack();
    // SAFETY: `raw` is owned here; the deleter runs once and must return.
    unsafe { (raw.as_ref().deleter.unwrap())(raw.as_ptr()) };
}

#[test]
fn class_c_null_strides_are_row_major_up_to_1_1_only() {
    let null = |minor| {
        move |header: &mut DLManagedTensorVersioned| {
            header.version.minor = minor;
            header.dl_tensor.strides = std::ptr::null_mut();
        }
    };
    for minor in [0, 1] {
        assert_eq!(accepted(null(minor)).0.layout().strides(), [3, 1]);
    }
    for minor in [2, 3, 9] {
        assert!(refusal(null(minor)).contains("strides are null"), "minor {minor}");
    }
    let deleted = Arc::new(AtomicUsize::new(0));
    let raw = legacy(&deleted, |tensor| tensor.strides = std::ptr::null_mut());
    // SAFETY: the tensor is owned and its memory lives until the deleter runs.
    let tensor = unsafe { ManagedTensor::from_dlpack_legacy(raw) }.unwrap();
    assert_eq!(tensor.layout().strides(), [3, 1]);
    drop(tensor);
    assert_eq!(deleted.load(Ordering::SeqCst), 1);
}

#[test]
fn class_c_the_byte_offset_is_honoured() {
    // cuda-python#2576, nanobind#487
    let (tensor, _) = accepted(|header| {
        header.dl_tensor.byte_offset = 4;
        // SAFETY: the producer's shape has two values.
        unsafe { *header.dl_tensor.shape = 1 };
    });
    // SAFETY: nobody writes to it meanwhile.
    assert_eq!(unsafe { tensor.as_shared_slice::<f32>() }.unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn class_c_negative_strides_come_in_and_go_out() {
    // cupy#10172: a negative stride exported as a huge positive one.
    let (tensor, _) = accepted(|header| {
        header.dl_tensor.byte_offset = 20;
        // SAFETY: the producer's strides have two values.
        unsafe {
            *header.dl_tensor.strides = -3;
            *header.dl_tensor.strides.add(1) = -1;
        }
    });
    assert_eq!(tensor.layout().byte_offset(), 20, "the lowest element is the data pointer");
    let last_row = tensor.selected(0, 1).unwrap();
    let raw = last_row.into_dlpack();
    // SAFETY: `raw` is live; it has one axis.
    unsafe {
        let out = &raw.as_ref().dl_tensor;
        assert_eq!((*out.strides, out.byte_offset), (-1, 0));
        assert_eq!(*out.data.cast::<f32>(), 2.0);
        drop(ManagedTensor::from_dlpack(raw.as_ptr()));
    }
}

#[test]
fn class_d_forged_fields_are_refused() {
    let set_shape = |extents: [i64; 2]| {
        move |header: &mut DLManagedTensorVersioned| {
            // SAFETY: the producer's shape has two values.
            unsafe { header.dl_tensor.shape.copy_from(extents.as_ptr(), 2) };
        }
    };
    assert!(refusal(set_shape([-1, 3])).contains("axis 0 is -1"));
    assert!(refusal(set_shape([1 << 40, 1 << 40])).contains("address space"));
    assert!(refusal(set_shape([i64::MAX, 1])).contains("address space"));
    assert!(refusal(|h| h.dl_tensor.shape = std::ptr::null_mut()).contains("shape is null"));
    assert!(refusal(|h| h.dl_tensor.data = std::ptr::null_mut()).contains("data pointer is null"));
    assert!(refusal(|h| h.dl_tensor.ndim = -1).contains("rank is -1"));
    assert!(refusal(|h| h.dl_tensor.ndim = i32::MAX).contains("rank is 2147483647"));
    assert!(refusal(|h| h.dl_tensor.byte_offset = u64::MAX).contains("address space"));
    assert!(refusal(|h| h.dl_tensor.device.device_id = -1).contains("negative"));
    assert!(refusal(|h| h.dl_tensor.device.device_type = DLDeviceType(99)).contains("99"));
    assert!(refusal(|h| h.flags = DlpackFlags::IS_SUBBYTE_TYPE_PADDED).contains("padded"));
    assert!(refusal(|h| h.dl_tensor.dtype.code = DLDataTypeCode(18)).contains("codes 0 to 17"));
    assert!(refusal(|h| h.dl_tensor.dtype.bits = 0).contains("zero bits"));
    assert!(refusal(|h| h.dl_tensor.dtype.lanes = 0).contains("one lane"));
    assert!(
        refusal(|h| {
            // SAFETY: the producer's strides have two values.
            unsafe { *h.dl_tensor.strides = i64::MAX / 2 };
        })
        .contains("address space")
    );
}

#[test]
fn class_d_packed_elements_beyond_the_address_space_are_refused() {
    for byte_offset in [1 << 63, i64::MAX as u64, u64::MAX] {
        let said = refusal(|header| {
            header.dl_tensor.dtype = DLDataType::new(DLDataTypeCode(17), 4, 1);
            header.dl_tensor.byte_offset = byte_offset;
        });
        assert!(said.contains("address space"), "{byte_offset}: {said}");
    }
}

#[test]
fn class_d_another_major_version_is_only_deleted() {
    let text = refusal(|header| {
        header.version.major = 2;
        // Nothing of the rest may be looked at.
        header.dl_tensor.shape = std::ptr::without_provenance_mut(8);
        header.dl_tensor.strides = std::ptr::without_provenance_mut(8);
    });
    assert!(text.contains("major version"), "{text}");
    // SAFETY: null is allowed and refused.
    assert!(unsafe { ManagedTensor::from_dlpack(std::ptr::null_mut()) }.is_err());
    // SAFETY: as above.
    assert!(unsafe { ManagedTensor::from_dlpack_legacy(std::ptr::null_mut()) }.is_err());
}

#[test]
fn class_d_misaligned_data_is_kept_but_not_read_as_numbers() {
    let (tensor, _) = accepted(|header| {
        header.dl_tensor.byte_offset = 1;
        // SAFETY: the producer's shape has two values.
        unsafe { *header.dl_tensor.shape = 1 };
    });
    // SAFETY: nobody writes to it meanwhile.
    let refused = unsafe { tensor.as_shared_slice::<f32>() }.unwrap_err().to_string();
    assert!(refused.contains("not aligned to 4"), "{refused}");
}

#[test]
fn class_e_the_flags_say_who_may_write() {
    let with = |flags| accepted(move |header| header.flags = flags).0;
    assert_eq!(with(DlpackFlags::empty()).access(), Access::Shared);
    assert_eq!(with(DlpackFlags::READ_ONLY).access(), Access::ReadOnly);
    assert_eq!(with(DlpackFlags::IS_COPIED).access(), Access::Exclusive);
    let both = with(DlpackFlags::READ_ONLY | DlpackFlags::IS_COPIED);
    assert_eq!(both.access(), Access::ReadOnly, "read-only wins");

    for flags in [DlpackFlags::empty(), DlpackFlags::READ_ONLY, DlpackFlags::IS_COPIED] {
        let raw = with(flags).into_dlpack();
        // SAFETY: `raw` is live, then owned here.
        unsafe {
            assert_eq!(raw.as_ref().flags, flags, "flags survive a round trip");
            drop(ManagedTensor::from_dlpack(raw.as_ptr()));
        }
    }
    let mut shared = with(DlpackFlags::empty());
    assert!(matches!(shared.as_mut_slice::<f32>(), Err(Error::NotWritable { .. })));
    let read_only = with(DlpackFlags::READ_ONLY).into_dlpack_legacy();
    assert!(read_only.is_err(), "the legacy struct cannot say read-only");
}

#[test]
fn class_g_every_dtype_survives_the_round_trip() {
    for &data_type in DataType::NAMED {
        let (tensor, _) = accepted(|header| {
            header.dl_tensor.dtype.code = DLDataTypeCode(data_type.code() as u8);
            header.dl_tensor.dtype.bits = data_type.bits();
            // One element of at most 16 bytes fits the producer's 24.
            // SAFETY: the producer's shape has two values.
            unsafe { header.dl_tensor.shape.copy_from([1, 1].as_ptr(), 2) };
        });
        assert_eq!(tensor.data_type(), data_type);
        let raw = tensor.into_dlpack();
        // SAFETY: `raw` is live, then owned here.
        unsafe {
            let dtype = raw.as_ref().dl_tensor.dtype;
            assert_eq!((dtype.code.0, dtype.bits), (data_type.code() as u8, data_type.bits()));
            drop(ManagedTensor::from_dlpack(raw.as_ptr()));
        }
    }
}

#[test]
fn class_g_a_bool_is_zero_or_one() {
    // dlpark#55: `bool` made of any byte is undefined behaviour.
    let (tensor, _) = accepted(|header| {
        header.dl_tensor.dtype = DLDataType::new(DLDataTypeCode::BOOL, 8, 1);
        // SAFETY: the producer's data has 24 bytes; six are used.
        unsafe { header.dl_tensor.data.cast::<u8>().write_bytes(3, 6) };
    });
    // SAFETY: nobody writes to it meanwhile.
    let text = unsafe { tensor.as_shared_slice::<bool>() }.unwrap_err().to_string();
    assert!(text.contains("byte 0 of a bool tensor is 3"), "{text}");
}

#[test]
fn a_tensor_goes_through_a_pointer_and_comes_back_whole() {
    let tensor = ManagedTensor::from_vec(vec![1_u16, 2, 3], &[3]).unwrap();
    let address = tensor.data();
    let raw = tensor.into_raw();
    // SAFETY: the pointer is the tensor's; this one is only looked at.
    let seen = std::mem::ManuallyDrop::new(unsafe { ManagedTensor::from_raw(raw) });
    assert_eq!(seen.as_slice::<u16>().unwrap(), [1, 2, 3]);
    // SAFETY: the pointer is the tensor's, taken back once.
    let tensor = unsafe { ManagedTensor::from_raw(raw) };
    assert_eq!(tensor.data(), address);
    assert_eq!(tensor.into_vec::<u16>().unwrap().0, [1, 2, 3]);
}
