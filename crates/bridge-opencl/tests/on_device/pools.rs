//! Pools of OpenCL's memory, and arrays in it.

use bridge_convert::ConvertByName as _;
use bridge_core::{
    Array, CopyPolicy, DataType, Device, Error, ManagedTensor, NativeArray, Options, Registration,
    Registry, Runtime, TensorError, TensorSpec,
};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan, map_chunks};
use bridge_memory::pool::{DevicePool, Exact, PoolOptions};
use bridge_opencl::{ClArray, ClQueue, OpenCl, REGISTRATIONS};
use bridge_testkit::bytes_of;

use crate::support::{Gate, is_held_up, on_every_device};

fn registry() -> Registry {
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    Registry::new(REGISTRATIONS.into_iter().chain(tools))
}

fn counted(shape: &[usize]) -> ManagedTensor {
    let count = shape.iter().product::<usize>();
    ManagedTensor::from_vec((0..count).map(|n| n as f32).collect(), shape).unwrap()
}

fn pool_of(queue: &ClQueue) -> DevicePool {
    DevicePool::new(&registry(), queue.device().device()).unwrap()
}

/// The numbers from 0 on, in memory of a pool.
fn pooled(pool: &DevicePool, shape: &[usize]) -> ClArray {
    let options = Options::default().on(pool.device()).copy(CopyPolicy::Always).pool(pool);
    let made = registry().convert(Array::new(counted(shape)), "opencl", options).unwrap();
    made.downcast().unwrap()
}

/// Whether so many buffers of a pool are in use, at the latest in a second: a thread of the driver gives
/// them back.
fn comes_to_be_used(pool: &DevicePool, buffers: u64) -> bool {
    (0..1000).any(|_| {
        let settled = pool.stats().buffers_in_use == buffers;
        if !settled {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        settled
    })
}

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
    let registry = registry();
    on_every_device(|queue| {
        let options = Options::default().on(queue.device().device());
        let numbers = (0..60_u32).collect::<Vec<_>>();
        let tensor = ManagedTensor::from_vec(numbers.clone(), &[3, 10, 2]).unwrap();
        let plan = ChunkPlan::of_size(10, 3).unwrap();
        let array = Array::new(tensor);
        let mapped = map_chunks(&registry, array, 1, &plan, "opencl", options, |chunk| {
            // As it is, on the device.
            assert!(chunk.downcast_ref::<ClArray>().is_some());
            Ok(chunk)
        });
        assert_eq!(mapped.unwrap().result.as_slice::<u32>().unwrap(), numbers);
    });
}

/// From the host and on the device, with gaps and without.
#[test]
fn what_is_uploaded_and_copied_lies_in_a_pool_of_the_device() {
    on_every_device(|queue| {
        for axes in [[0, 1], [1, 0]] {
            let here = || Array::new(counted(&[3, 5]).permuted(&axes).unwrap());
            let there = || ClArray::upload(queue, &counted(&[3, 5])).unwrap();
            let there = || Array::new(there().permuted(&axes).unwrap());
            let expected = bytes_of(&counted(&[3, 5]).permuted(&axes).unwrap());
            let sources: [&dyn Fn() -> Array; 2] = [&here, &there];
            for make in sources {
                used_again(queue, make, |made| assert!(bytes_of(&made) == expected));
            }
        }
    });
}

/// So much goes up by way of a mapping where the device shares the host's memory.
#[test]
fn what_is_large_lies_in_a_pool_of_the_device_too() {
    on_every_device(|queue| {
        let count = 4 << 20;
        let make = || Array::new(ManagedTensor::from_vec(vec![7.5_f32; count], &[count]).unwrap());
        used_again(queue, &make, |made| {
            let made = made.as_slice::<f32>().unwrap();
            assert_eq!((made.len(), made[0], made[count - 1]), (count, 7.5, 7.5));
        });
    });
}

/// Converts twice into one pool: to the same memory.
fn used_again(queue: &ClQueue, make: &dyn Fn() -> Array, check: impl Fn(ManagedTensor)) {
    let pool = pool_of(queue);
    let options = Options::default().on(pool.device()).copy(CopyPolicy::Always).pool(&pool);
    let mut buffers = Vec::new();
    for _ in 0..2 {
        let made = registry().convert(make(), "opencl", options).unwrap();
        assert_eq!(pool.stats().buffers_in_use, 1);
        let array = made.downcast::<ClArray>().unwrap();
        buffers.push(array.raw().addr());
        check(array.download().unwrap());
        drop(array);
        assert!(comes_to_be_used(&pool, 0));
    }
    assert_eq!((pool.stats().hits, buffers[0]), (1, buffers[1]));
}

/// As a place in a larger array is.
#[test]
fn memory_that_is_given_may_begin_anywhere_in_its_buffer() {
    on_every_device(|queue| {
        let spec = TensorSpec::row_major(DataType::F32, &[5, 3]).unwrap();
        let layout = spec.layout.clone().at_byte_offset(64);
        let columns = || counted(&[3, 5]).permuted(&[1, 0]).unwrap();
        let there = ClArray::upload(queue, &counted(&[3, 5])).unwrap();
        let there = there.permuted(&[1, 0]).unwrap().export().unwrap();
        for source in [&columns(), &there] {
            let buffer = pool_of(queue).acquire(64 + 60).unwrap();
            let place = TensorSpec { layout: layout.clone(), ..spec.clone() };
            let written = OpenCl.write(source, buffer.into_tensor(place).unwrap()).unwrap();
            assert_eq!(written.layout().byte_offset(), 64);
            let array = ClArray::import(written).unwrap();
            assert!(bytes_of(&array.download().unwrap()) == bytes_of(&columns()));
        }
    });
}

#[test]
fn what_does_not_fit_the_memory_that_is_given_is_refused() {
    on_every_device(|queue| {
        let pool = pool_of(queue);
        for shape in [[3, 2], [2, 2]] {
            let spec = TensorSpec::row_major(DataType::F32, &shape).unwrap();
            let target = pool.acquire(24).unwrap().into_tensor(spec).unwrap();
            let error = OpenCl.write(&counted(&[2, 3]), target).unwrap_err();
            assert!(matches!(error, Error::Tensor(TensorError::InvalidTensor { .. })), "{error}");
        }
        assert_eq!(pool.stats().buffers_in_use, 0);
    });
}

/// Also on a queue that nobody has any more, which no pool can wait for.
#[test]
fn memory_goes_back_to_its_pool_when_the_last_command_on_it_is_done() {
    on_every_device(|default| {
        let pool = pool_of(default);
        let queue = ClQueue::new(default.device()).unwrap();
        let gate = Gate::new(&queue);
        let array = pooled(&pool, &[100]);
        let buffer = array.raw().addr();
        array.wait().unwrap();

        let mut array = array.on_queue(&queue).unwrap();
        gate.block(&queue);
        array.fill(7_f32).unwrap();
        assert!(is_held_up(&array));
        drop((array, queue));
        assert_eq!(pool.stats().buffers_in_use, 1, "the device will write to it");
        let other = pool.acquire(400).unwrap();
        assert_ne!(other.tensor().data().addr(), buffer);

        gate.open();
        assert!(comes_to_be_used(&pool, 1), "it did not come back");
        let again = pool.acquire(400).unwrap();
        assert_eq!(again.tensor().data().addr(), buffer);
    });
}

/// The end of a mapping is a command too.
#[test]
fn memory_that_was_mapped_goes_back_to_its_pool_when_the_mapping_has_ended() {
    on_every_device(|default| {
        let pool = pool_of(default);
        let queue = ClQueue::new(default.device()).unwrap();
        let gate = Gate::new(&queue);
        let array = pooled(&pool, &[100]).on_queue(&queue).unwrap();
        let Ok(host) = array.into_host() else { return };
        assert_eq!(host.as_slice::<f32>().unwrap()[99], 99.0);
        gate.block(&queue);
        drop(host);
        assert_eq!(pool.stats().buffers_in_use, 1, "it is still mapped");
        gate.open();
        assert!(comes_to_be_used(&pool, 0), "it did not come back");
    });
}

/// Chunks are uploaded into a few buffers, which the pool's budget counts, and the conversion does not.
#[test]
fn chunks_are_uploaded_into_memory_of_a_pool() {
    let registry = registry();
    on_every_device(|queue| {
        let device = queue.device().device();
        let budget = Budget::of_device("device", 1 << 20, device).unwrap();
        let pool = PoolOptions::new().size_classes(Exact).within(&budget, "pool");
        let pool = pool.build_on(&registry, device).unwrap();
        let plan = ChunkPlan::of_size(60, 10).unwrap();
        let options = Options::default().on(device).copy(CopyPolicy::Always).pool(&pool);
        let map = ChunkMap::new(&registry, &plan).to("opencl").options(options);
        let mapped = map.along(1).run(Array::new(counted(&[4, 60])), |chunk| {
            assert!(chunk.downcast_ref::<ClArray>().is_some());
            Ok(chunk)
        });
        let mapped = mapped.unwrap();
        assert_eq!(bytes_of(&mapped.result), bytes_of(&counted(&[4, 60])));
        let stats = pool.stats();
        assert!(stats.misses <= 4 && stats.hits + stats.misses == 6, "{stats:?}");
        drop(pool);
        assert_eq!(budget.reserved(), 0);
    });
}
