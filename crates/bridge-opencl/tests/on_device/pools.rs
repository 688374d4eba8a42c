//! Pools of OpenCL's memory, and arrays in it.

use bridge_core::{
    DataType, Device, ManagedTensor, NativeArray, Registration, Registry, Runtime, TensorSpec,
};
use bridge_memory::chunk::{ChunkPlan, map_chunks};
use bridge_memory::pool::DevicePool;
use bridge_opencl::{ClArray, OpenCl, REGISTRATIONS};

use crate::support::on_every_device;

#[test]
fn pooled_memory_is_an_array_and_is_used_again() {
    let registry = Registry::new(REGISTRATIONS);
    on_every_device(|queue| {
        let pool = DevicePool::new(&registry, queue.device().device()).unwrap();
        let spec = TensorSpec::row_major(DataType::F32, &[2, 3]).unwrap();
        let mut buffers = Vec::new();
        for _ in 0..2 {
            let tensor = pool.acquire(24).unwrap().into_tensor(spec.clone()).unwrap();
            buffers.push(tensor.data().addr());
            let array = ClArray::import(tensor).unwrap();
            let on_host = OpenCl.transfer(&array.export().unwrap(), Device::CPU).unwrap();
            assert_eq!(on_host.as_slice::<f32>().unwrap(), [0.0; 6]);
        }
        assert_eq!(buffers[0], buffers[1]);
        assert_eq!((pool.stats().hits, pool.stats().buffers_in_use), (1, 0));
        assert_eq!(pool.clear().count, 1);
    });
}

#[test]
fn chunks_go_through_the_device_and_come_back_in_order() {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    let registry = Registry::new(REGISTRATIONS.into_iter().chain(tools));
    on_every_device(|queue| {
        let options = bridge_core::Options::default().on(queue.device().device());
        let numbers = (0..60_u32).collect::<Vec<_>>();
        let tensor = ManagedTensor::from_vec(numbers.clone(), &[3, 10, 2]).unwrap();
        let plan = ChunkPlan::of_size(10, 3).unwrap();
        let array = bridge_core::Array::new(tensor);
        let mapped = map_chunks(&registry, array, 1, &plan, "opencl", options, |chunk| {
            // As it is, on the device.
            assert!(chunk.downcast_ref::<ClArray>().is_some());
            Ok(chunk)
        });
        assert_eq!(mapped.unwrap().result.as_slice::<u32>().unwrap(), numbers);
    });
}
