//! Memory used in place: what is shared, what comes back, and when it may be freed.

use crate::support;
use crate::support::{Gate, array, drivers_array};
use bridge_convert::ConvertByName;
use bridge_convert::Step;
use bridge_core::{
    Access, Array, CopyPolicy, DataType, Device, Error, ManagedTensor, Mapping, Options, Owner,
    Registration, Registry, Runtime, TensorError, TensorSpec,
};
use bridge_opencl::{ClArray, ClQueue, OpenCl};
use bridge_testkit::DropCounter;

/// Runs a test on every device that shares memory with the host and takes any address.
fn on_sharing_devices(test: impl Fn(&ClQueue)) {
    support::on_every_device(|queue| {
        let capabilities = queue.device().capabilities();
        if capabilities.is_cpu || capabilities.svm_system {
            test(queue);
        }
    });
}

fn registry() -> Registry {
    Registry::new([
        Registration::backend(&OpenCl),
        Registration::runtime(&OpenCl),
        Registration::allocator(&OpenCl),
        Registration::host_tools(&bridge_host::HostKernels),
    ])
}

fn device_of(queue: &ClQueue) -> Device {
    queue.device().device()
}

#[test]
fn a_vector_goes_to_the_device_and_comes_back_as_the_same_vector() {
    on_sharing_devices(|queue| {
        let vec = vec![1_f32, 2.0, 3.0, 4.0];
        let address = vec.as_ptr();
        let tensor = ManagedTensor::from_vec(vec, &[2, 2]).unwrap();
        let mut lent = ClArray::in_place(queue, tensor).unwrap();
        lent.fill(7_f32).unwrap();
        let (back, _) = lent.into_host().unwrap().into_vec::<f32>().unwrap();
        assert_eq!(back.as_ptr(), address, "another allocation");
        assert_eq!(back, [7.0; 4], "what the device wrote");
    });
}

#[test]
fn by_the_registry_it_is_planned_reported_and_shared() {
    on_sharing_devices(|queue| {
        let device = device_of(queue);
        let host = Array::new(ManagedTensor::from_vec(vec![1_i32, 2, 3], &[3]).unwrap());
        let options = Options::default().on(device).copy(CopyPolicy::Never);
        let (array, report) = registry().convert_reported(host, "opencl", options).unwrap();
        assert_eq!(
            report.steps.to_vec(),
            [Step::Map { from: Device::CPU, to: device }, Step::Share]
        );
        assert!(report.is_zero_copy());
        let array: ClArray = array.downcast().unwrap();
        assert_eq!(array.to_vec::<i32>().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn copy_always_uses_nothing_in_place() {
    on_sharing_devices(|queue| {
        let tensor = ManagedTensor::from_vec(vec![1_i32, 2, 3], &[3]).unwrap();
        let options = Options::default().on(device_of(queue)).copy(CopyPolicy::Always);
        let (_, report) =
            registry().convert_reported(Array::new(tensor), "opencl", options).unwrap();
        assert_eq!(report.steps[0], Step::Upload { to: device_of(queue) });
    });
}

#[test]
fn both_sides_see_the_same_memory() {
    on_sharing_devices(|queue| {
        let memory: Box<[i32]> = (0..1000).collect();
        let address = memory.as_ptr();
        let spec = TensorSpec::row_major(DataType::I32, &[1000]).unwrap();
        // SAFETY: the memory is the box's, which the owner keeps; `Shared`, as the test reads it.
        let tensor = unsafe {
            let data = address.cast_mut().cast();
            let owner = Owner::keep(memory);
            ManagedTensor::from_parts(data, spec, Device::CPU, Access::Shared, owner).unwrap()
        };
        let mut lent = ClArray::in_place(queue, tensor).unwrap();
        lent.fill(-5_i32).unwrap();
        let back = lent.into_host().unwrap();
        assert_eq!(back.data().cast_const(), address.cast(), "a copy was made");
        // SAFETY: nobody writes to it meanwhile.
        assert_eq!(unsafe { back.as_shared_slice::<i32>() }.unwrap(), [-5; 1000]);
    });
}

#[test]
fn memory_of_the_driver_is_lent_to_the_host_and_taken_back() {
    on_sharing_devices(|queue| {
        let mut array = drivers_array(queue, &[1_u16, 2, 3, 4]);
        let handle = array.raw();
        array.fill(7_u16).unwrap();
        let host = array.into_host().unwrap();
        assert_eq!((host.device(), host.access()), (Device::CPU, Access::Shared));
        // SAFETY: nobody writes to it meanwhile.
        assert_eq!(unsafe { host.as_shared_slice::<u16>() }.unwrap(), [7; 4]);
        // SAFETY: the memory is mapped for writing, and nobody else touches it.
        unsafe { host.first_element().cast::<u16>().add(2).write(9) };
        let again = ClArray::in_place(queue, host).unwrap();
        assert_eq!(again.raw(), handle, "another buffer");
        assert_eq!(again.to_vec::<u16>().unwrap(), [7, 7, 9, 7]);
        // Dropped while it is lent: the mapping ends.
        drop(again.into_host().unwrap());
        queue.finish().unwrap();
    });
}

#[test]
fn what_a_processor_made_becomes_a_vector_without_a_copy() {
    support::on_every_device(|queue| {
        if !queue.device().capabilities().is_cpu {
            return;
        }
        let up = array(queue, &[1_i32, -2, 3]);
        let copy = up.copy().unwrap();
        let cast = up.cast(DataType::F64, bridge_core::Overflow::Refuse).unwrap();
        let zeros = ClArray::zeros(queue, DataType::I32, &[3]).unwrap();
        let vector = |array: ClArray| array.into_host().unwrap().into_vec::<i32>().unwrap().0;
        assert_eq!(vector(copy), [1, -2, 3]);
        assert_eq!(vector(zeros), [0; 3]);
        assert_eq!(cast.into_host().unwrap().into_vec::<f64>().unwrap().0, [1.0, -2.0, 3.0]);
        // A view is lent as what it is; the whole would be another array.
        let view = up.sliced(0, 2, 3, -1).unwrap().into_host().unwrap();
        assert!(view.into_vec::<i32>().is_err());
    });
}

#[test]
fn a_view_of_device_memory_keeps_its_strides_on_the_host() {
    on_sharing_devices(|queue| {
        let array = ClArray::from_slice(queue, &[1_i64, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        let column = array.permuted(&[1, 0]).unwrap().sliced(0, 2, 2, -1).unwrap();
        let host = column.into_host().unwrap();
        let packed = bridge_host::to_row_major(&host).unwrap();
        assert_eq!(packed.as_slice::<i64>().unwrap(), [3, 6, 2, 5]);
    });
}

#[test]
fn a_view_of_host_memory_comes_back_as_a_view_of_the_same_memory() {
    on_sharing_devices(|queue| {
        let vec: Vec<u32> = (0..6).collect();
        let address = vec.as_ptr();
        let tensor = ManagedTensor::from_vec(vec, &[2, 3]).unwrap();
        let row = ClArray::in_place(queue, tensor).unwrap().selected(0, 1).unwrap();
        let host = row.into_host().unwrap();
        assert_eq!(host.as_slice::<u32>().unwrap(), [3, 4, 5]);
        assert_eq!(host.first_element().cast_const(), address.wrapping_add(3).cast());
    });
}

#[test]
fn read_only_memory_stays_read_only_on_the_device() {
    on_sharing_devices(|queue| {
        let tensor = ManagedTensor::from_vec(vec![1_u8, 2], &[2]).unwrap().into_read_only();
        let mut lent = ClArray::in_place(queue, tensor).unwrap();
        assert_eq!(lent.access(), Access::ReadOnly);
        assert!(matches!(lent.fill(3_u8), Err(Error::Tensor(TensorError::NotWritable { .. }))));
        assert_eq!(lent.into_host().unwrap().access(), Access::ReadOnly);
    });
}

#[test]
fn what_does_not_qualify_comes_back_with_the_reason() {
    on_sharing_devices(|queue| {
        let gaps = ManagedTensor::from_vec((0..8_i32).collect(), &[8]).unwrap();
        let gaps = gaps.sliced(0, 0, 4, 2).unwrap();
        let refused = ClArray::in_place(queue, gaps).unwrap_err();
        assert!(refused.to_string().contains("gaps"), "{refused}");
        let tensor = refused.into_value();
        let mapping = OpenCl.mapping(&tensor.describe(), device_of(queue));
        assert!(matches!(mapping, Mapping::Declined(_)), "{mapping:?}");
        // By the registry it is uploaded, and the report says why.
        let options = Options::default().on(device_of(queue));
        let (_, report) =
            registry().convert_reported(Array::new(tensor), "opencl", options).unwrap();
        let reasons: Vec<String> = report.declined.iter().map(ToString::to_string).collect();
        assert!(reasons.iter().any(|reason| reason.contains("gaps")), "{reasons:?}");
    });
}

#[test]
fn empty_memory_goes_in_place_and_comes_back() {
    on_sharing_devices(|queue| {
        let tensor = ManagedTensor::from_vec(Vec::<f64>::with_capacity(3), &[2, 0]).unwrap();
        let lent = ClArray::in_place(queue, tensor).unwrap();
        assert!(lent.raw().is_null());
        let (vec, _) = lent.into_host().unwrap().into_vec::<f64>().unwrap();
        assert_eq!(vec.capacity(), 3);
        let made = ClArray::zeros(queue, DataType::F64, &[0]).unwrap();
        let lent = ClArray::in_place(queue, made.into_host().unwrap()).unwrap();
        assert_eq!(lent.to_vec::<f64>().unwrap(), [0.0; 0]);
    });
}

/// A host tensor whose owner's drop is counted.
fn counted(drops: &DropCounter) -> ManagedTensor {
    let memory: Box<[u32]> = vec![5; 64].into();
    let spec = TensorSpec::row_major(DataType::U32, &[64]).unwrap();
    let data = memory.as_ptr().cast_mut().cast();
    let owner = Owner::keep((memory, drops.token()));
    // SAFETY: the memory is the box's, which the owner keeps, and nobody else's.
    unsafe { ManagedTensor::from_parts(data, spec, Device::CPU, Access::Exclusive, owner) }.unwrap()
}

#[test]
fn host_memory_outlives_the_commands_that_use_it() {
    on_sharing_devices(|queue| {
        let drops = DropCounter::new();
        let gate = Gate::new(queue);
        let mut lent = ClArray::in_place(queue, counted(&drops)).unwrap();
        lent.ready_after(gate.event()).unwrap();
        let copy = lent.copy().unwrap();
        drop(lent);
        assert_eq!(drops.drops(), 0, "freed under a command that has yet to read it");
        gate.open();
        assert_eq!(copy.to_vec::<u32>().unwrap(), [5; 64]);
        copy.queue().finish().unwrap();
        let freed = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            drops.drops() == 1
        });
        assert!(freed, "the memory leaked");
    });
}

#[test]
fn memory_that_others_hold_on_to_is_lent_and_freed_once() {
    on_sharing_devices(|queue| {
        let drops = DropCounter::new();
        let lent = ClArray::in_place(queue, counted(&drops)).unwrap();
        let raw = lent.raw();
        // SAFETY: the buffer is live; the reference is given up below.
        unsafe { opencl3::memory::retain_mem_object(raw) }.unwrap();
        let host = lent.into_host().unwrap();
        assert_eq!(host.as_slice::<u32>().unwrap(), [5; 64]);
        drop(host);
        queue.finish().unwrap();
        assert_eq!(drops.drops(), 0, "freed although somebody holds the buffer");
        // SAFETY: the reference was added above.
        unsafe { opencl3::memory::release_mem_object(raw) }.unwrap();
        let freed = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            drops.drops() == 1
        });
        assert!(freed, "the memory leaked");
    });
}

#[test]
fn devices_with_memory_of_their_own_say_never() {
    support::on_every_device(|queue| {
        let device = device_of(queue);
        let absent = Device::opencl(4_096);
        let tensor = ManagedTensor::from_vec(vec![1_u8], &[1]).unwrap();
        assert_eq!(OpenCl.mapping(&tensor.describe(), absent), Mapping::Never);
        let refused = OpenCl.map(tensor, absent).unwrap_err();
        assert!(matches!(refused.error(), Error::DeviceUnavailable { .. }), "{refused}");
        let tensor = refused.into_value();
        if queue.device().capabilities().shares_host_memory() {
            return;
        }
        assert_eq!(OpenCl.mapping(&tensor.describe(), device), Mapping::Never);
        let refused = OpenCl.map(tensor, device).unwrap_err();
        assert!(refused.to_string().contains("shares no memory"), "{refused}");
        assert_eq!(refused.into_value().as_slice::<u8>().unwrap(), [1]);
        let refused = array(queue, &[1_u8]).into_host().unwrap_err();
        assert!(refused.to_string().contains("shares no memory"), "{refused}");
        assert_eq!(refused.into_value().to_vec::<u8>().unwrap(), [1]);
    });
}
