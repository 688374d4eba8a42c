//! Handing buffers over as DLPack within one context, and what a careless producer may send.

use crate::support::{array, on_every_device, references, settles_at};
use bridge_core::{
    Access, Allocator, DataType, Error, Layout, ManagedTensor, NativeArray, Owner, TensorError,
    TensorSpec,
};
use bridge_opencl::{ClArray, ClQueue, OpenCl};
use bridge_testkit::foreign::{ForeignTensor, run_deleter};
use bridge_testkit::samples::{Arrangement, Backing};
use bridge_testkit::{DropCounter, bytes_of};

fn exported(array: ClArray) -> ManagedTensor {
    array.wait().unwrap();
    array.export().unwrap()
}

#[test]
fn the_handle_travels_and_no_reference_is_lost() {
    on_every_device(|queue| {
        let made = array(queue, &[1_i16, 2, 3, 4]);
        let (handle, before) = (made.raw(), references(&made));
        let raw = exported(made).into_dlpack();
        // SAFETY: the tensor was just handed out, and nobody else has it.
        let back = unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) }.unwrap();
        let back = ClArray::import(back).unwrap();
        assert_eq!(back.raw(), handle);
        assert!(settles_at(&back, before), "{} references, not {before}", references(&back));
        assert_eq!(back.to_vec::<i16>().unwrap(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_view_travels_as_handle_and_byte_offset() {
    on_every_device(|queue| {
        let made = ClArray::from_slice(queue, &[1_i32, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        let handle = made.raw();
        let raw = exported(made.sliced(1, 2, 2, -1).unwrap()).into_dlpack();
        // SAFETY: the header is live, and its fields may be read.
        let (data, offset) = unsafe {
            let tensor = &(*raw.as_ptr()).dl_tensor;
            (tensor.data, tensor.byte_offset)
        };
        assert_eq!((data, offset), (handle, 8));
        // SAFETY: as above.
        let back = unsafe { ManagedTensor::from_dlpack(raw.as_ptr()) }.unwrap();
        assert_eq!(ClArray::import(back).unwrap().to_vec::<i32>().unwrap(), [3, 2, 6, 5]);
    });
}

#[test]
fn class_a_deleters_run_once_whether_the_tensor_is_consumed_or_not() {
    on_every_device(|queue| {
        for consumed in [true, false] {
            let drops = DropCounter::new();
            let foreign = ForeignTensor::of(exported(array(queue, &[1_u8, 2, 3])), &drops);
            if consumed {
                let array = ClArray::import(foreign.into_managed()).unwrap();
                assert_eq!(drops.drops(), 0);
                std::thread::spawn(move || drop(array)).join().unwrap();
            } else {
                // SAFETY: the tensor is this test's.
                unsafe { run_deleter(foreign.into_raw()) };
            }
            assert_eq!(drops.drops(), 1, "consumed: {consumed}");
        }
    });
}

#[test]
fn class_a_empty_tensors_do_not_leak_their_deleter() {
    on_every_device(|queue| {
        let drops = DropCounter::new();
        let empty = exported(ClArray::zeros(queue, DataType::F32, &[0, 3]).unwrap());
        drop(ClArray::import(ForeignTensor::of(empty, &drops).into_managed()).unwrap());
        assert_eq!(drops.drops(), 1);
    });
}

#[test]
fn class_a_a_refused_tensor_comes_back_with_its_deleter() {
    on_every_device(|queue| {
        let drops = DropCounter::new();
        let tensor = exported(array(queue, &[1_u8; 16]));
        // More elements than the buffer has: DLPack carries no size, so it is asked for.
        let (data, device) = (tensor.data(), tensor.device());
        let spec = TensorSpec::row_major(DataType::U8, &[17]).unwrap();
        let owner = Owner::keep((tensor, drops.token()));
        // SAFETY: a lie about the length, which must be found out before anything is touched.
        let tensor =
            unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) }
                .unwrap();
        let refused = ClArray::import(tensor).unwrap_err();
        assert!(refused.to_string().contains("outside its buffer of 16 bytes"), "{refused}");
        assert_eq!(drops.drops(), 0);
        drop(refused);
        assert_eq!(drops.drops(), 1);
    });
}

#[test]
fn class_c_offsets_before_the_buffer_are_refused() {
    on_every_device(|queue| {
        let tensor = exported(array(queue, &[1_u16; 8]));
        let (data, device) = (tensor.data(), tensor.device());
        for (strides, offset) in [([-1], 2), ([1], 16), ([isize::MAX / 64], 0)] {
            let layout = Layout::new(&[4], &strides, offset).unwrap();
            let spec = TensorSpec { data_type: DataType::U16, layout };
            let owner = Owner::nothing();
            // SAFETY: lies, which must be found out before anything is touched.
            let tensor =
                unsafe { ManagedTensor::from_parts(data, spec, device, Access::Shared, owner) }
                    .unwrap();
            let error = ClArray::import(tensor).unwrap_err();
            assert!(
                matches!(error.error(), Error::Tensor(TensorError::InvalidTensor { .. })),
                "{error}"
            );
        }
        drop(tensor);
    });
}

#[test]
fn class_c_strides_of_extent_one_and_of_empty_axes_mean_nothing() {
    on_every_device(|queue| {
        let tensor = exported(array(queue, &[1_u16, 2, 3]));
        let layout = Layout::new(&[1, 3, 1], &[-77, 1, isize::MAX / 4], 0).unwrap();
        let drops = DropCounter::new();
        let (data, device) = (tensor.data(), tensor.device());
        let spec = TensorSpec { data_type: DataType::U16, layout };
        let owner = Owner::keep((tensor, drops.token()));
        // SAFETY: the three elements are the buffer's.
        let tensor =
            unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) }
                .unwrap();
        let array = ClArray::import(tensor).unwrap();
        assert_eq!(array.copy().unwrap().to_vec::<u16>().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn class_d_sizes_that_wrap_around_are_refused() {
    on_every_device(|queue| {
        for shape in [[1_usize << 32, 1 << 32, 16], [1 << 62, 2, 1]] {
            let error = ClArray::zeros(queue, DataType::I32, &shape).unwrap_err();
            assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
        }
        let slice = [0_u8; 4];
        let error = ClArray::from_slice(queue, &slice, &[2, 3]).unwrap_err();
        assert!(error.to_string().contains("has 6"), "{error}");
    });
}

#[test]
fn class_c_memory_for_a_layout_with_gaps_reaches_to_its_last_element() {
    // Paddle#68559: an allocation of as many bytes as the shape has elements is too short.
    on_every_device(|queue| {
        let device = queue.device().device();
        for layout in [
            Layout::new(&[3, 4], &[10, 2], 0).unwrap(),
            Layout::new(&[2, 3], &[1, 7], 8).unwrap(),
            Layout::row_major(&[5]).unwrap().at_byte_offset(12),
        ] {
            let spec = TensorSpec { data_type: DataType::F32, layout };
            let tensor = OpenCl.allocate(&spec, device).unwrap();
            assert_eq!(tensor.layout(), &spec.layout);
            let array = ClArray::import(tensor).unwrap();
            let count = spec.layout.element_count();
            assert_eq!(array.to_vec::<f32>().unwrap(), vec![0.0; count]);
            assert_eq!(array.copy().unwrap().to_vec::<f32>().unwrap(), vec![0.0; count]);
        }
    });
}

#[test]
fn class_e_read_only_stays_read_only_through_device_and_dlpack() {
    on_every_device(|queue| {
        let tensor = exported(array(queue, &[1_u8, 2])).into_read_only();
        // SAFETY: the tensor was just handed out, and nobody else has it.
        let back = unsafe { ManagedTensor::from_dlpack(tensor.into_dlpack().as_ptr()) }.unwrap();
        let mut array = ClArray::import(back).unwrap();
        assert_eq!(array.access(), Access::ReadOnly);
        assert!(matches!(array.fill(9_u8), Err(Error::Tensor(TensorError::NotWritable { .. }))));
        assert_eq!(array.to_vec::<u8>().unwrap(), [1, 2]);
        assert_eq!(array.copy().unwrap().access(), Access::Exclusive);
    });
}

#[test]
fn class_g_every_element_type_is_carried_and_none_changes() {
    on_every_device(|queue| {
        let device = queue.device().device();
        for &data_type in <ClArray as NativeArray<OpenCl>>::ACCEPTS.data_types() {
            let zeros = ClArray::zeros(queue, data_type, &[4, 6]).unwrap();
            assert_eq!(zeros.data_type(), data_type);
            assert!(bytes_of(&zeros.download().unwrap()).iter().all(|&byte| byte == 0));
            // Bits of every kind, NaN with a payload among them.
            let sample = Arrangement::row_major(&[4, 6]).sample(data_type, Backing::Vector);
            let host = sample.expect("it lies row-major").tensor;
            let up = ClArray::upload(queue, &host).unwrap();
            let down = up.copy().unwrap().download().unwrap();
            assert_eq!((down.data_type(), down.shape()), (data_type, host.shape()));
            assert_eq!(bytes_of(&down), bytes_of(&host), "{data_type}");
            assert_eq!((up.data_type(), exported(up).device()), (data_type, device));
        }
    });
}

#[test]
fn class_g_bytes_that_are_no_booleans_do_not_become_rust_booleans() {
    on_every_device(|queue| {
        let tensor = exported(array(queue, &[0_u8, 1, 7]));
        let (data, device, owner) = (tensor.data(), tensor.device(), Owner::keep(tensor));
        let spec = TensorSpec::row_major(DataType::BOOL, &[3]).unwrap();
        // SAFETY: the three bytes are the buffer's; that one is no boolean is what is tested.
        let tensor =
            unsafe { ManagedTensor::from_parts(data, spec, device, Access::Exclusive, owner) }
                .unwrap();
        assert!(ClArray::import(tensor).unwrap().to_vec::<bool>().is_err());
    });
}

#[test]
fn class_b_owners_go_on_any_thread_while_others_work() {
    on_every_device(|queue| {
        std::thread::scope(|scope| {
            for seed in 0..4_u32 {
                scope.spawn(move || {
                    let own = ClQueue::new(queue.device()).unwrap();
                    for round in 0..50 {
                        let value = seed * 1000 + round;
                        let made = array(&own, &[value; 97]);
                        let copy = made.copy().unwrap();
                        let thread = std::thread::spawn(move || drop(made));
                        let cast = copy.cast(DataType::U64, bridge_core::Overflow::Refuse).unwrap();
                        assert_eq!(cast.to_vec::<u64>().unwrap(), [u64::from(value); 97]);
                        thread.join().unwrap();
                    }
                });
            }
        });
    });
}
