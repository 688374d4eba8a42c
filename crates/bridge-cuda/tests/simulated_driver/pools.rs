//! Pools of memory of GPUs and of pinned memory: used again, and freed when it is evicted.

use bridge_core::{
    Allocator, Array, DataType, Device, DeviceKind, ManagedTensor, Options, Registration, Registry,
    Runtime, TensorSpec,
};
use bridge_cuda::{Cuda, CudaArray, REGISTRATIONS};
use bridge_memory::chunk::{ChunkPlan, map_chunks};
use bridge_memory::pool::{Exact, PoolOptions};
use simulated_cuda::Config;

use crate::support::{GPU, alone, counted};

fn registry() -> Registry {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    Registry::new(REGISTRATIONS.into_iter().chain(tools))
}

fn spec() -> TensorSpec {
    TensorSpec::row_major(DataType::F32, &[10, 100]).unwrap()
}

#[test]
fn memory_of_a_gpu_is_used_again_and_freed_when_it_is_evicted() {
    let name = "memory_of_a_gpu_is_used_again_and_freed_when_it_is_evicted";
    alone(name, Config::default().memory_pools(false), |cuda| {
        let options = PoolOptions::new().max_buffers(1).size_classes(Exact);
        let pool = options.build_on(&registry(), GPU).unwrap();
        let tensor = pool.acquire(4000).unwrap().into_tensor(spec()).unwrap();
        let address = tensor.data().addr();
        let on_host = Cuda.transfer(&tensor, Device::CPU).unwrap();
        assert_eq!(on_host.as_slice::<f32>().unwrap(), [0.0; 1000]);
        drop(tensor);
        let tensor = pool.acquire(4000).unwrap().into_tensor(spec()).unwrap();
        assert_eq!((tensor.data().addr(), pool.stats().hits), (address, 1));
        let other = pool.acquire(4000).unwrap();
        drop((tensor, other));
        assert_eq!((pool.stats().evictions, pool.stats().bytes_cached), (1, 4000));
        drop(pool);
        cuda.flush();
        assert_eq!(cuda.counters().device_allocations_alive, 0);
    });
}

/// The driver's own pool keeps what is freed, so that a second one would keep it twice.
#[test]
fn memory_that_the_driver_keeps_is_not_kept_a_second_time() {
    let name = "memory_that_the_driver_keeps_is_not_kept_a_second_time";
    alone(name, Config::default(), |cuda| {
        let pool = PoolOptions::new().build_on(&registry(), GPU).unwrap();
        drop(pool.acquire(4000).unwrap());
        assert_eq!((pool.stats().bytes_cached, pool.stats().hits), (0, 0));
        drop(pool.acquire(4000).unwrap());
        drop(pool);
        cuda.flush();
        assert_eq!(cuda.counters().device_allocations_alive, 0);
    });
}

#[test]
fn pinned_memory_is_used_again_and_freed_when_it_is_evicted() {
    let name = "pinned_memory_is_used_again_and_freed_when_it_is_evicted";
    alone(name, Config::default(), |cuda| {
        let pinned = Device::new(DeviceKind::CudaHost, 0);
        let options = PoolOptions::new().max_bytes(4000).size_classes(Exact);
        let pool = options.build_on(&registry(), pinned).unwrap();
        let before = cuda.counters().pinned_bytes_alive;
        let mut tensor = pool.acquire(4000).unwrap().into_tensor(spec()).unwrap();
        let address = tensor.data().addr();
        tensor.as_mut_slice::<f32>().unwrap()[999] = 7.0;
        let on_gpu = Cuda.transfer(&tensor, GPU).unwrap();
        drop(tensor);
        let tensor = pool.acquire(4000).unwrap().into_tensor(spec()).unwrap();
        assert_eq!(tensor.data().addr(), address);
        let array = CudaArray::from_host(&tensor, GPU).unwrap();
        drop((pool.acquire(3000).unwrap(), tensor));
        assert_eq!(pool.stats().bytes_cached, 4000, "3000 bytes were evicted");
        let back = Cuda.transfer(&on_gpu, Device::CPU).unwrap();
        assert_eq!(back.as_slice::<f32>().unwrap()[999], 7.0);
        assert_eq!(array.to_host().unwrap().as_slice::<f32>().unwrap()[999], 7.0);
        assert_eq!(pool.clear().bytes, 4000);
        // What the copies were staged in.
        Cuda.trim(pinned).unwrap();
        assert_eq!(cuda.counters().pinned_bytes_alive, before);
    });
}

#[test]
fn chunks_go_through_a_gpu_and_come_back_in_order() {
    alone("chunks_go_through_a_gpu_and_come_back_in_order", Config::default(), |_| {
        let plan = ChunkPlan::of_size(100, 7).unwrap();
        let array = Array::new(counted(&[4, 100, 3]));
        let options = Options::default().on(GPU);
        let mapped = map_chunks(&registry(), array, 1, &plan, "cuda", options, Ok).unwrap();
        let array = mapped.array.downcast::<ManagedTensor>().unwrap();
        assert_eq!(mapped.result.as_slice::<f32>().unwrap(), array.as_slice::<f32>().unwrap());
    });
}
