//! The scenes of the guide to advanced topics (seed 000), in its order.
//!
//! Four of its scenes are where their modules are tested: recovery by itself, half batches, smaller and
//! smaller batches and the chain of frameworks in `recovery/scenes.rs`; the pipeline in
//! `patterns/pipelines.rs` and the pool of processes in `patterns/environments.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bridge_convert::{ConvertByName as _, Counters, observe, stack};
use bridge_core::{Array, CopyPolicy, DataType, ManagedTensor, Options, Registry};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::patterns::{ConversionCache, ConversionSource, DeviceAssigner, Lazy};
use bridge_memory::pool::Pool;
use bridge_memory::profile::Profiler;
use bridge_memory::training::{Checkpoints, sqrt_segments};
use bridge_testkit::fake_accelerator::{FakeArray, Transfers, transfers};

use crate::support::{FAKE, HostArray, count, elements, fake, numbers, registry};

/// The device whose bytes are looked at: by one test at a time, and no other uses it.
pub(crate) fn watched() -> (MutexGuard<'static, ()>, bridge_core::Device) {
    static ALONE: Mutex<()> = Mutex::new(());
    (ALONE.lock().unwrap_or_else(PoisonError::into_inner), fake(1))
}

fn on_the_gpu() -> Options<'static> {
    Options::default().on(fake(0))
}

/// A host array of these elements.
pub(crate) fn host(values: &[f32], shape: &[usize]) -> Array {
    Array::new(HostArray(ManagedTensor::from_vec(values.to_vec(), shape).unwrap()))
}

/// Strategy 1: memory for computing again.
#[test]
fn gradient_checkpointing() {
    let mut runs = 0;
    let mut layer = |layers: std::ops::Range<usize>, x: &f64| -> bridge_core::Result<f64> {
        runs += layers.len();
        Ok(layers.fold(*x, |x, _| 3.0 * x))
    };
    let kept = Checkpoints::forward(sqrt_segments(9), 2.0, &mut layer).unwrap();
    assert_eq!((*kept.output(), kept.len()), (2.0 * 3_f64.powi(9), 3));
    let gradient = kept.backward(1.0, |layers, _, gradient| layer(layers, &gradient)).unwrap();
    assert_eq!(gradient, 3_f64.powi(9));
    assert_eq!(runs, 18, "each layer runs forward, and again");
}

/// Strategies 2 and "optimal data types": half the bytes go to the device.
#[test]
fn smaller_element_types() {
    let registry = registry();
    let bytes = |data_type| {
        let options = on_the_gpu().cast(data_type);
        let (array, report) = registry.convert_reported(numbers(1000), FAKE, options).unwrap();
        assert_eq!(array.describe().unwrap().data_type, data_type);
        report.taken.unwrap().bytes
    };
    assert_eq!([DataType::F64, DataType::F32, DataType::F16].map(bytes), [8000, 4000, 2000]);
    // And back they are what they were, as small integers are.
    let half = registry.convert(numbers(5), FAKE, on_the_gpu().cast(DataType::F16)).unwrap();
    let back = registry.convert(half, "host", Options::default().cast(DataType::F32)).unwrap();
    assert_eq!(elements(back), [0.0, 1.0, 2.0, 3.0, 4.0]);
}

/// Strategy 3: stages on the device, what is between them on the host.
#[test]
fn cpu_offloading() {
    let registry = registry();
    transfers();
    let first = registry.convert(numbers(4), FAKE, on_the_gpu()).unwrap();
    let offloaded = registry.convert(first, "host", Options::default()).unwrap();
    let second = registry.convert(offloaded, FAKE, on_the_gpu()).unwrap();
    let result = registry.convert(second, "host", Options::default()).unwrap();
    assert_eq!(transfers(), Transfers { uploads: 2, downloads: 2, ..Default::default() });
    assert_eq!(elements(result), [0.0, 1.0, 2.0, 3.0]);
}

/// Zero-copy where it is possible, and a copy where one is asked for.
#[test]
fn zero_copy() {
    let registry = registry();
    let source = ManagedTensor::from_vec(vec![1.0_f32; 1000], &[1000]).unwrap();
    let address = source.data().addr();
    let (array, report) =
        registry.convert_reported(Array::new(source), "host", Options::default()).unwrap();
    assert!(report.is_zero_copy(), "{report}");
    assert_eq!(array.downcast_ref::<HostArray>().unwrap().0.data().addr(), address);
    let options = Options::default().copy(CopyPolicy::Always);
    let (copy, report) = registry.convert_reported(array, "host", options).unwrap();
    assert_eq!((report.is_zero_copy(), report.bytes_copied), (false, 4000));
    assert_eq!(elements(copy), [1.0; 1000]);
}

/// One upload of a batch in place of one for each item.
#[test]
fn batch_conversions() {
    let registry = registry();
    transfers();
    let items = (0..5).map(|_| numbers(3)).collect();
    let batch = stack(&registry, items, 0, FAKE, on_the_gpu()).unwrap();
    assert_eq!(batch.describe().unwrap().layout.shape(), [5, 3]);
    assert_eq!(transfers().uploads, 1);
}

/// A view of every second row and column arrives as it looks, from fewer bytes.
#[test]
fn memory_layout() {
    let registry = registry();
    let view = || {
        let whole = ManagedTensor::from_vec((0..16).map(|n| n as f32).collect(), &[4, 4]).unwrap();
        let view = whole.sliced(0, 0, 2, 2).unwrap().sliced(1, 0, 2, 2).unwrap();
        Array::new(HostArray(view))
    };
    let there = registry.convert(view(), FAKE, on_the_gpu()).unwrap();
    let back = registry.convert(there, "host", Options::default()).unwrap();
    assert_eq!(elements(back), [0.0, 2.0, 8.0, 10.0]);
    let (_, report) = registry.convert_reported(view(), FAKE, on_the_gpu()).unwrap();
    assert_eq!(report.taken.unwrap().bytes, 16);
}

/// A cache of conversions, which is cleared.
#[test]
fn caching_and_memoization() {
    let registry = registry();
    let counted = count();
    let cache = ConversionCache::of(&registry, 1 << 20);
    let data = ConversionSource::new(numbers(100)).unwrap();
    let first = cache.get(&data, FAKE, Some(fake(0))).unwrap();
    assert!(first.is_same(&cache.get(&data, FAKE, Some(fake(0))).unwrap()));
    let held = cache.held();
    assert_eq!((counted.conversions(), held.hits, held.bytes), (1, 1, 400));
    cache.clear();
    assert_eq!(cache.held().bytes, 0);
    drop(cache.get(&data, FAKE, Some(fake(0))).unwrap());
    assert_eq!(counted.conversions(), 2);
}

/// What is logged of a conversion: from what, to what, how.
#[test]
fn debugging_conversions() {
    let registry = registry();
    let array = numbers(6);
    assert_eq!(registry.backend_of(&array).unwrap().descriptor().name, "host");
    let before = array.describe().unwrap();
    assert_eq!((before.layout.shape(), before.data_type), (&[6][..], DataType::F32));
    let (array, report) = registry.convert_reported(array, FAKE, on_the_gpu()).unwrap();
    assert_eq!(array.describe().unwrap().device, fake(0));
    let told = report.to_string();
    assert!(told.starts_with("host to fake-accelerator: float32 [6]"), "{told}");
    assert!(told.ends_with("(24 bytes copied)"), "{told}");
}

/// Timing conversions: until the device is done, and printed in milliseconds.
#[test]
fn timing_conversions() {
    let registry = registry();
    let time_conversion = |data: Array, target: &str, options| {
        let counters = Arc::new(Counters::default());
        let watching = observe(counters.clone());
        let started = Instant::now();
        let converted = registry.convert(data, target, options).unwrap();
        let device = converted.describe().unwrap().device;
        if !device.kind().is_host_accessible() {
            registry.runtime(device).unwrap().synchronize(device).unwrap();
        }
        let waited = started.elapsed();
        drop(watching);
        let [row] = &counters.rows()[..] else { panic!("one conversion") };
        // The observer has what the conversion took, the clock around it the waiting too.
        assert!(row.count.conversions == 1 && row.count.elapsed <= waited, "{row:?}");
        let milliseconds = row.count.elapsed.as_secs_f64() * 1e3;
        (converted, format!("{} to {}: {milliseconds:.2} ms", row.source, row.target))
    };
    let (there, told) = time_conversion(numbers(1000), FAKE, on_the_gpu());
    assert!(told.starts_with("host to fake-accelerator: ") && told.ends_with(" ms"), "{told}");
    let (back, told) = time_conversion(there, "host", Options::default());
    assert!(told.starts_with("fake-accelerator to host: "), "{told}");
    assert_eq!(elements(back).len(), 1000);
}

/// Memory profiling of a device, and nothing leaks.
#[test]
fn memory_profiling() {
    let (_alone, device) = watched();
    let registry = registry();
    let profiler = Profiler::of(&registry);
    let upload = || registry.convert(numbers(1000), FAKE, Options::default().on(device)).unwrap();
    let (array, change) = profiler.measure("upload", upload);
    assert_eq!(change.device(device).unwrap().used, Some(4000));
    let ((), change) = profiler.measure("free", || drop(array));
    assert_eq!(change.device(device).unwrap().used, Some(-4000));
    assert_eq!(profiler.since_baseline().device(device).unwrap().used, Some(0));
}

/// Lazy conversion: converts when it is asked, and once.
#[test]
fn lazy_conversion() {
    let registry = registry();
    let counted = count();
    let lazy = Lazy::of(&registry, numbers(3)).unwrap();
    assert_eq!(counted.conversions(), 0);
    let first = lazy.as_type(FAKE, Some(fake(0))).unwrap();
    assert!(first.is_same(&lazy.as_type(FAKE, Some(fake(0))).unwrap()));
    assert_eq!(counted.conversions(), 1);
    drop(first);
    assert_eq!(elements(lazy.into_array().unwrap()), [0.0, 1.0, 2.0]);
}

/// An array that works with any backend: converted to the preferred one when it is first used.
struct MultiBackend<'r> {
    array: Lazy<'r>,
    preferred: &'static str,
}

impl<'r> MultiBackend<'r> {
    fn of(registry: &'r Registry, array: Array) -> Self {
        Self { array: Lazy::of(registry, array).unwrap(), preferred: "host" }
    }

    /// The matrix product with another.
    fn matmul(&self, other: &Self) -> Array {
        let read = |of: &Self| {
            of.array.as_type(of.preferred, None).unwrap().with(|array| {
                let tensor = &array.downcast_ref::<HostArray>().unwrap().0;
                let shape = [tensor.shape()[0], tensor.shape()[1]];
                (tensor.as_slice::<f32>().unwrap().to_vec(), shape)
            })
        };
        let ((a, [rows, inner]), (b, [_, columns])) = (read(self), read(other));
        let dot = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum()
        };
        host(&(0..rows * columns).map(dot).collect::<Vec<f32>>(), &[rows, columns])
    }
}

/// Multi-backend abstraction: one operand comes from the device, one from the host.
#[test]
fn multi_backend_abstraction() {
    let registry = registry();
    let there = host(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    let there = registry.convert(there, FAKE, on_the_gpu()).unwrap();
    let a = MultiBackend::of(&registry, there);
    let b = MultiBackend::of(&registry, host(&[5.0, 6.0, 7.0, 8.0], &[2, 2]));
    assert_eq!(elements(a.matmul(&b)), [19.0, 22.0, 43.0, 50.0]);
}

/// Each thread has a device of its own, evenly: a thread's number modulo four would not do that.
#[test]
fn thread_local_gpus() {
    let registry = registry();
    let assigner = DeviceAssigner::per_thread([fake(0), bridge_testkit::fake_accelerator::UNIFIED]);
    let (assigner, barrier) = (assigner.unwrap(), Barrier::new(4));
    let work = || {
        let device = assigner.assign().unwrap();
        barrier.wait();
        assert_eq!(assigner.assign().unwrap(), device);
        let there = registry.convert(numbers(8), FAKE, Options::default().on(device)).unwrap();
        there.describe().unwrap().device
    };
    let mut counts = HashMap::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            *counts.entry(thread.join().unwrap()).or_insert(0) += 1;
        }
    });
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [2, 2]);
}

/// A type that arraybridge does not know is given a backend, and goes everywhere.
#[test]
fn custom_memory_types() {
    let registry = registry();
    let there = registry.convert(numbers(3), FAKE, on_the_gpu()).unwrap();
    assert!(there.downcast_ref::<FakeArray>().is_some());
    let own = registry.convert(there, "host", Options::default()).unwrap();
    assert_eq!(elements(own), [0.0, 1.0, 2.0]);
}

/// Blocks of an array are mapped on the device, as Dask's `map_blocks` does.
#[test]
fn blocks_of_an_array() {
    let registry = registry();
    let plan = ChunkPlan::of_size(10, 4).unwrap();
    let mut blocks = Vec::new();
    let mapped = ChunkMap::new(&registry, &plan).to(FAKE).options(on_the_gpu());
    let mapped = mapped.run(numbers(10), |block| {
        let there = block.describe()?;
        blocks.push((there.device, there.layout.shape()[0]));
        let here = registry.convert(block, "host", Options::default())?;
        let doubled: Vec<_> = elements(here).into_iter().map(|x| 2.0 * x).collect();
        Ok(host(&doubled, &[doubled.len()]))
    });
    let result = mapped.unwrap().result;
    let expected: Vec<_> = (0..10).map(|n| 2.0 * n as f32).collect();
    assert_eq!(result.as_slice::<f32>().unwrap(), expected);
    assert_eq!(blocks, [(fake(0), 4), (fake(0), 4), (fake(0), 2)]);
}

/// What an incremental PCA knows of the rows that it has seen.
struct Moments {
    rows: f64,
    mean: [f64; 3],
    /// Sums of products of what lies beside the mean.
    scatter: [[f64; 3]; 3],
}

impl Moments {
    const NONE: Self = Self { rows: 0.0, mean: [0.0; 3], scatter: [[0.0; 3]; 3] };

    /// Of some rows alone.
    fn of(values: &[f32]) -> Self {
        let rows = values.len() as f64 / 3.0;
        let row = |row: &[f32]| [0, 1, 2].map(|axis| f64::from(row[axis]));
        let all: Vec<[f64; 3]> = values.chunks_exact(3).map(row).collect();
        let mean = [0, 1, 2].map(|axis| all.iter().map(|row| row[axis]).sum::<f64>() / rows);
        let product = |a: usize, b: usize| {
            all.iter().map(|row| (row[a] - mean[a]) * (row[b] - mean[b])).sum()
        };
        Self { rows, mean, scatter: [0, 1, 2].map(|a| [0, 1, 2].map(|b| product(a, b))) }
    }

    /// Of these rows and others together.
    fn joined(&self, others: &Self) -> Self {
        let rows = self.rows + others.rows;
        let apart = [0, 1, 2].map(|axis| others.mean[axis] - self.mean[axis]);
        let mean = [0, 1, 2].map(|axis| self.mean[axis] + apart[axis] * others.rows / rows);
        let weight = self.rows * others.rows / rows;
        let scatter = [0, 1, 2].map(|a| {
            [0, 1, 2]
                .map(|b| self.scatter[a][b] + others.scatter[a][b] + apart[a] * apart[b] * weight)
        });
        Self { rows, mean, scatter }
    }

    /// The direction in which the rows differ most, and the part of all differences that lies in it.
    fn component(&self) -> ([f64; 3], f64) {
        let mut direction = [1.0_f64; 3];
        let mut length = 0.0;
        for _ in 0..200 {
            let next = self.scatter.map(|row| (0..3).map(|k| row[k] * direction[k]).sum::<f64>());
            length = next.iter().map(|one| one * one).sum::<f64>().sqrt();
            direction = next.map(|one| one / length);
        }
        let all: f64 = (0..3).map(|axis| self.scatter[axis][axis]).sum();
        (direction, length / all)
    }
}

/// PCA of more rows than the device has room for: in chunks, and as of all rows at once. The first pass finds
/// the component, the second takes each row's place along it.
#[test]
fn incremental_pca() {
    let registry = registry();
    let (rows, chunk) = (1000, 64);
    // Rows along (3, 4, 0), away from the origin, with a little beside it.
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| {
            let (along, beside) = ((row % 101) as f32 - 50.0, (row % 7) as f32 / 7.0);
            [10.0 + 3.0 * along + beside, 4.0 * along - beside, -20.0 + beside]
        })
        .collect();
    let whole = || host(&values, &[rows, 3]);
    let plan = ChunkPlan::of_size(rows, chunk).unwrap();
    let budget = Budget::of_device("the GPU", 2 * (chunk as u64) * 12, fake(0)).unwrap();
    let consumer = budget.consumer("pca");
    let pass = |work: &mut dyn FnMut(&[f32]) -> Vec<f32>| {
        let map = ChunkMap::new(&registry, &plan).to(FAKE).options(on_the_gpu()).within(&consumer);
        let mapped = map.run(whole(), |there| {
            assert_eq!(there.describe()?.device, fake(0));
            let here = elements(registry.convert(there, "host", Options::default())?);
            let made = work(&here);
            Ok(host(&made, &[made.len()]))
        });
        mapped.unwrap().result.as_slice::<f32>().unwrap().to_vec()
    };

    let mut seen = Moments::NONE;
    pass(&mut |chunk| {
        seen = seen.joined(&Moments::of(chunk));
        vec![0.0; chunk.len() / 3]
    });
    let at_once = Moments::of(&values);
    assert_eq!(seen.rows, at_once.rows);
    for axis in 0..3 {
        assert!((seen.mean[axis] - at_once.mean[axis]).abs() < 1e-9);
        for other in 0..3 {
            let (one, exact) = (seen.scatter[axis][other], at_once.scatter[axis][other]);
            assert!((one - exact).abs() <= 1e-12 * at_once.scatter[1][1], "{one} and {exact}");
        }
    }
    let (component, explained) = seen.component();
    for (found, expected) in component.iter().zip([0.6, 0.8, 0.0]) {
        assert!((found - expected).abs() < 1e-3, "{component:?}");
    }
    assert!(explained > 0.999 && explained < 1.0, "{explained}");

    let places = pass(&mut |chunk| {
        let place = |row: &[f32]| {
            let beside =
                (0..3).map(|axis| (f64::from(row[axis]) - seen.mean[axis]) * component[axis]);
            beside.sum::<f64>() as f32
        };
        chunk.chunks_exact(3).map(place).collect()
    });
    // The rows are five times `along` from each other.
    assert!((places[1] - places[0] - 5.0).abs() < 0.1, "{:?}", &places[..2]);
    assert!((places[100] - places[0] - 500.0).abs() < 0.5, "{}", places[100]);
    // There was room for two chunks on the device, and that was enough.
    assert_eq!((budget.status().peak, budget.reserved()), (2 * 64 * 12, 0));
}

/// Profiling of a memory pool: emptied first, then what is used of it, and what it holds in all.
#[test]
fn profiling_a_memory_pool() {
    let pool = Pool::new();
    drop([pool.zeroed::<f32>(1 << 18).unwrap(), pool.zeroed::<f32>(1 << 18).unwrap()]);
    assert_eq!(pool.clear().bytes, 2 << 20);
    let held = |pool: &Pool| {
        let stats = pool.stats();
        (stats.bytes_in_use, stats.bytes_in_use + stats.bytes_cached)
    };
    assert_eq!(held(&pool), (0, 0));
    let kept = pool.zeroed::<f32>(1 << 18).unwrap();
    drop(pool.zeroed::<f32>(1 << 18).unwrap());
    assert_eq!(held(&pool), (1 << 20, 2 << 20));
    drop(kept);
    assert_eq!(held(&pool), (0, 2 << 20));
}
