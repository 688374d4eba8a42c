//! Casts without memory are errors, and copies do without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bridge_core::{DataType, Device, Error, ManagedTensor, Overflow, TensorError, TensorSpec};
use bridge_host::{cast, copy, set_max_threads, working_memory, zeroed};

/// The system's allocator, without blocks above `LARGEST` bytes.
struct Limited;

static LARGEST: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every block is the system allocator's, or null, which stands for "out of memory".
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, block: Layout) -> *mut u8 {
        if block.size() > LARGEST.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises the same.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, first: *mut u8, block: Layout) {
        // SAFETY: the block came from `alloc` above, and so from the system's allocator.
        unsafe { System.dealloc(first, block) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

fn with_largest<R>(bytes: usize, work: impl FnOnce() -> R) -> R {
    LARGEST.store(bytes, Ordering::Relaxed);
    let result = work();
    LARGEST.store(usize::MAX, Ordering::Relaxed);
    result
}

fn new(data_type: DataType, shape: &[usize]) -> ManagedTensor {
    zeroed(&TensorSpec::row_major(data_type, shape).unwrap(), 64).unwrap()
}

/// One test, since the limit holds for all threads.
#[test]
fn no_memory_is_an_error_of_casts_and_none_of_copies() {
    let shape = [3, 300, 400];
    let values: Vec<f64> = (0..360_000).map(f64::from).collect();
    let source = ManagedTensor::from_vec(values, &[3, 400, 300]).unwrap();
    let source = source.permuted(&[0, 2, 1]).unwrap();
    let value = |index: usize| {
        let (plane, row, column) = (index / 120_000, index / 400 % 300, index % 400);
        (plane * 120_000 + column * 300 + row) as f64
    };

    // The transposer's rows: 32 of 400 elements and a cache line.
    let buffer = 32 * (400 * 8 + 64);
    for threads in [1, 2] {
        set_max_threads(threads);
        let mut target = new(DataType::F32, &shape);
        let result = with_largest(8 << 10, || cast(&source, &mut target, Overflow::Refuse));
        let Err(Error::Tensor(TensorError::OutOfMemory { device: Device::CPU, requested })) =
            result
        else {
            panic!("{result:?}")
        };
        assert_eq!(requested, buffer as u64);
        let [from, to] = [&source, &target].map(|one| (one.data_type(), one.layout()));
        assert_eq!(working_memory(from, to), buffer as u64, "below 4 MiB one thread does all");
        let mut target = new(DataType::F32, &shape);
        with_largest(buffer, || cast(&source, &mut target, Overflow::Refuse)).unwrap();
        let found = target.as_slice::<f32>().unwrap();
        assert!((0..found.len()).all(|index| f64::from(found[index]) == value(index)));

        let mut target = new(DataType::F64, &shape);
        with_largest(8 << 10, || copy(&source, &mut target)).unwrap();
        let found = target.as_slice::<f64>().unwrap();
        assert!((0..found.len()).all(|index| found[index] == value(index)));
    }
}
