//! Pools of a device's memory: a block is handed out again once the device is done with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bridge_core::{
    Allocator, Backend, DataType, Device, DeviceKind, DeviceMemory, ManagedTensor, Overflow,
    Registration, Registry, Result, Runtime, TensorSpec,
};
use bridge_memory::pool::{DevicePool, Exact, PoolOptions};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator};
use loom::thread;

const DEVICE: Device = DEVICES[0];

/// The work that a device was given, numbered from 1, and how much of it is done.
struct Queue {
    given: u64,
    done: u64,
    /// The last work on the memory at an address.
    on: BTreeMap<usize, u64>,
}

/// For one model at a time. Its lock is held for no step of loom's.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { given: 0, done: 0, on: BTreeMap::new() });

fn queue<R>(look: impl FnOnce(&mut Queue) -> R) -> R {
    look(&mut QUEUE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The fake accelerator, as one whose work takes time.
#[derive(Debug)]
struct Busy;

// SAFETY: as the fake accelerator's, which does it.
unsafe impl Runtime for Busy {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        FakeAccelerator.transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.copy(tensor)
    }

    fn cast(&self, tensor: &ManagedTensor, to: DataType, rule: Overflow) -> Result<ManagedTensor> {
        FakeAccelerator.cast(tensor, to, rule)
    }

    fn synchronize(&self, _: Device) -> Result<()> {
        let given = queue(|queue| queue.given);
        thread::yield_now();
        queue(|queue| queue.done = queue.done.max(given));
        Ok(())
    }
}

impl Allocator for Busy {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn holds(&self, device: Device) -> bool {
        FakeAccelerator.holds(device)
    }

    /// Memory that nothing was done with.
    fn allocate(&self, spec: &TensorSpec, device: Device) -> Result<ManagedTensor> {
        let tensor = FakeAccelerator.allocate(spec, device)?;
        queue(|queue| queue.on.remove(&tensor.data().addr()));
        Ok(tensor)
    }

    fn usage(&self, device: Device) -> Result<DeviceMemory> {
        FakeAccelerator.usage(device)
    }

    fn trim(&self, device: Device) -> Result<u64> {
        FakeAccelerator.trim(device)
    }
}

/// Takes a buffer, gives the device work on it, and gives it back before that is done.
fn work(pool: &DevicePool) {
    let buffer = pool.acquire(100).unwrap();
    let place = buffer.tensor().data().addr();
    queue(|queue| {
        let last = queue.on.get(&place).copied().unwrap_or(0);
        assert!(last <= queue.done, "the device still works on it");
        queue.given += 1;
        queue.on.insert(place, queue.given);
    });
}

#[test]
fn nobody_gets_a_block_that_the_device_works_on() {
    loom::model(|| {
        queue(|queue| *queue = Queue { given: 0, done: 0, on: BTreeMap::new() });
        let registry = Registry::new([
            Registration::backend(&FakeAccelerator),
            Registration::runtime(&Busy),
            Registration::allocator(&Busy),
        ]);
        let pool = PoolOptions::new().size_classes(Exact).build_on(&registry, DEVICE).unwrap();
        work(&pool);
        let other = {
            let pool = pool.clone();
            thread::spawn(move || {
                work(&pool);
                work(&pool);
            })
        };
        work(&pool);
        work(&pool);
        other.join().unwrap();
        assert_eq!(pool.stats().buffers_in_use, 0);
    });
}
