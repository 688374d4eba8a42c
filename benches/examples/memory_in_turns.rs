//! What budgets, recovery, kept probe answers and work in chunks take beside their peers, [in
//! turns](in_turns); for work in chunks also the most memory. An argument selects jobs by a part of
//! their name. DataFusion's pool is a peer in `benches/datafusion`.
//!
//! `cargo run --release --package bridge-benches --example memory_in_turns -- reserve`

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

use arraybridge::{
    Allocator, Array, Convert, CopyPolicy, DataType, Device, Error, ManagedTensor, NativeArray,
    Options, Registration, Registry, Result, Runtime, SharedTensor, TensorError,
};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan};
use bridge_memory::pool::Pool;
use bridge_memory::probe::{Cached, HostProbe, MemoryProbe};
use bridge_memory::profile::{CountingAllocator, PeakScope};
use bridge_memory::recovery::{RecoveryPolicy, with_oom_recovery};
use bridge_testkit::fake_accelerator::{DEVICES, FakeAccelerator, FakeArray, REGISTRATIONS};
use candle_core::Tensor;
use in_turns::{Job, Took, is_chosen, job, on_threads, print_line};
use ndarray::ArrayD;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

const CAPACITY: usize = 1 << 30;
const BYTES: usize = 4096;
/// Elements of so many bytes.
const COUNT: usize = BYTES / size_of::<f32>();
/// The device of memory of its own.
const DEVICE: Device = DEVICES[0];

fn compare(name: &str, jobs: Vec<(&str, Job<'_>)>) {
    in_turns::compare(name, jobs, in_turns::turns(51));
}

/// What a program writes that has no budget: a number behind a lock. It knows no names.
#[derive(Default)]
struct Counter(Mutex<u64>);

struct Counted<'a> {
    counter: &'a Counter,
    bytes: u64,
}

impl Counter {
    fn reserve(&self, bytes: u64) -> Option<Counted<'_>> {
        let mut used = self.0.lock().expect("no job panics");
        if *used + bytes > CAPACITY as u64 {
            return None;
        }
        *used += bytes;
        Some(Counted { counter: self, bytes })
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.counter.0.lock().expect("no job panics") -= self.bytes;
    }
}

fn reservations() -> Result<()> {
    let budget = Budget::new("bench", CAPACITY as u64)?;
    let (consumer, counter) = (budget.consumer("bench"), Counter::default());
    for threads in [1, 2, 4] {
        let ours = on_threads(threads, || drop(black_box(consumer.reserve(BYTES as u64))));
        let mutex = on_threads(threads, || drop(black_box(counter.reserve(BYTES as u64))));
        let name = format!("reserve and drop, {threads} thread(s), one consumer");
        compare(&name, vec![("ours", ours), ("mutex", mutex)]);
    }
    Ok(())
}

/// A pool that several threads use at once, of a size that malloc keeps as well.
fn pools() {
    const SIZE: usize = 64 << 10;
    let pool = Pool::new();
    for threads in [1, 2, 4] {
        let ours = on_threads(threads, || drop(black_box(pool.uninit::<u8>(SIZE))));
        let malloc = on_threads(threads, || drop(black_box(Vec::<u8>::with_capacity(SIZE))));
        let name = format!("a pool's buffer, taken and dropped, {threads} thread(s)");
        compare(&name, vec![("ours", ours), ("malloc", malloc)]);
    }
}

/// A cast whose result is dropped before the next one.
fn conversions() -> Result<()> {
    const TURNS: usize = 21;
    for (size, count) in [("64 KiB", 16 << 10), ("1 MiB", 256 << 10), ("64 MiB", 16 << 20)] {
        let name = format!("a cast to float32 of {size}, with a pool");
        if !is_chosen(&name) {
            continue;
        }
        let (pool, cast) = (Pool::new(), Options::default().cast(DataType::F32));
        let source = ManagedTensor::from_vec(vec![1_i32; count], &[count])?.into_shared();
        let turn = |options: Options<'_>| -> Result<f64> {
            let source = ManagedTensor::alias(&source);
            let start = Instant::now();
            drop(black_box(source.convert_to::<ManagedTensor>(options)?));
            Ok(start.elapsed().as_secs_f64())
        };
        let (mut pooled, mut new) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            pooled.push(turn(cast.pool(&pool))?);
            new.push(turn(cast)?);
        }
        print_line(&name, Took::of(pooled), "", [("new memory", Took::of(new))]);
    }
    Ok(())
}

/// Without a copy to candle and back.
fn forth_and_back(options: Options<'_>) -> Job<'_> {
    let mut kept = Some(ArrayD::<f32>::zeros(vec![COUNT]));
    job(move || {
        kept = kept.take().map(|array| {
            let there: Tensor = array.convert_to(options).expect("candle has float32");
            there.convert_to(options).expect("ndarray has float32")
        });
    })
}

/// A copy in new memory.
fn copy<'a>(source: &'a SharedTensor, options: Options<'a>) -> Job<'a> {
    let options = options.copy(CopyPolicy::Always);
    job(move || {
        drop(black_box(ManagedTensor::alias(source).convert_to::<ManagedTensor>(options)));
    })
}

/// What it costs to name a budget, and that it costs nothing where none is named: forth and back without a copy, and
/// a copy.
fn budgets_of_conversions() -> Result<()> {
    let budget = Budget::new("bench", CAPACITY as u64)?;
    let within = Options::default().within(&budget);
    let elements = vec![1.0_f32; COUNT];
    let source = ManagedTensor::from_vec(elements.clone(), &[COUNT])?.into_shared();
    let none = Options::default();
    compare(
        "ndarray to candle and back, no budget",
        vec![("ours", forth_and_back(none)), ("within a budget", forth_and_back(within))],
    );
    let by_hand = job(|| drop(black_box(elements.to_vec())));
    compare(
        "a copy of 4 KiB, no budget",
        vec![
            ("ours", copy(&source, none)),
            ("within a budget", copy(&source, within)),
            ("Vec", by_hand),
        ],
    );
    Ok(())
}

fn recovery() {
    #[inline(never)]
    fn work(number: u64) -> Result<u64> {
        match black_box(number) {
            u64::MAX => Err(Error::from(TensorError::TooLarge { what: "a number".to_owned() })),
            number => Ok(number + 1),
        }
    }
    let policy = RecoveryPolicy::new();
    let ours = job(|| drop(black_box(with_oom_recovery(black_box(&policy), || work(1)))));
    let bare = job(|| drop(black_box(work(1))));
    compare("with_oom_recovery that succeeds", vec![("ours", ours), ("bare call", bare)]);
}

fn probes() {
    let (cached, probe) = (Cached::new(HostProbe::new()), HostProbe::new());
    let ours = job(|| drop(black_box(cached.measure())));
    let asked = job(|| drop(black_box(probe.measure())));
    compare("a kept answer about the host", vec![("ours", ours), ("asked again", asked)]);
}

/// What is done with a part of an array.
#[derive(Clone, Copy)]
enum Work {
    /// One multiplication of each element: nothing but the result is allocated.
    Scale,
    /// A decaying exponential in three steps, each to an array of its own, as array libraries do.
    Decay,
    /// The norm of each row, over an array of the squares.
    Norms,
}

const ROWS: usize = 1 << 18;
const COLUMNS: usize = 64;

/// The result and how many columns it has.
fn worked(elements: &[f64], work: Work) -> (Vec<f64>, usize) {
    match work {
        Work::Scale => (elements.iter().map(|x| x * 2.0).collect(), COLUMNS),
        Work::Decay => {
            let scaled: Vec<f64> = elements.iter().map(|x| x * -0.5).collect();
            let decayed: Vec<f64> = scaled.iter().map(|x| x.exp()).collect();
            (decayed.iter().map(|x| 2.0 * x + 0.3).collect(), COLUMNS)
        }
        Work::Norms => {
            let squares: Vec<f64> = elements.iter().map(|x| x * x).collect();
            (squares.chunks(COLUMNS).map(|row| row.iter().sum::<f64>().sqrt()).collect(), 1)
        }
    }
}

fn mapped(chunk: Array, work: Work) -> Result<Array> {
    let chunk = chunk.downcast::<ManagedTensor>()?;
    let (result, columns) = worked(chunk.as_slice::<f64>()?, work);
    Ok(Array::new(ManagedTensor::from_vec(result, &[chunk.shape()[0], columns])?))
}

/// Seconds, and the most memory meanwhile, the array not counted.
fn measured<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (scope, start) = (PeakScope::start(), Instant::now());
    let done = work();
    let seconds = start.elapsed().as_secs_f64();
    let peak = scope.finish().map_or(0, |peak| peak.growth());
    (done, seconds, peak as f64 / f64::from(1 << 20))
}

fn chunks() -> Result<()> {
    const TURNS: usize = 11;
    let registry = Registry::global()?;
    let elements: Vec<f64> = (0..ROWS * COLUMNS).map(|n| n as f64 / 1e7).collect();
    let mut array = Array::new(ManagedTensor::from_vec(elements, &[ROWS, COLUMNS])?);
    let plan = ChunkPlan::of_size(ROWS, ROWS.div_ceil(100))?;
    for (what, work) in [("scaled", Work::Scale), ("decay", Work::Decay), ("norms", Work::Norms)] {
        for pooled in [false, true] {
            let from = if pooled { "a pool's result" } else { "a new result" };
            let name = format!("map_chunks, {what}, 100 chunks, {from}");
            if !is_chosen(&name) {
                continue;
            }
            let pool = Pool::new();
            let (mut ours, mut whole, mut peaks) = (Vec::new(), Vec::new(), [0.0; 2]);
            for _ in 0..TURNS {
                let map = ChunkMap::new(registry, &plan);
                let map = if pooled { map.pool(&pool) } else { map };
                let (run, seconds, peak) = measured(|| map.run(array, |chunk| mapped(chunk, work)));
                let run = run?;
                ours.push(seconds);
                // The first one: a pool holds the result from then on.
                peaks[0] = peak.max(peaks[0]);
                drop(run.result);
                let tensor = run.array.downcast::<ManagedTensor>()?;
                let elements = tensor.as_slice::<f64>()?;
                let ((result, _), seconds, peak) = measured(|| worked(elements, work));
                drop(result);
                whole.push(seconds);
                peaks[1] = peak;
                array = Array::new(tensor);
            }
            let more = |peak: f64| format!(", {peak:.1} MiB");
            let at_once = format!("at once{}", more(peaks[1]));
            print_line(&name, Took::of(ours), &more(peaks[0]), [(&*at_once, Took::of(whole))]);
        }
    }
    Ok(())
}

/// As [`chunks`], by way of a device with memory of its own, which is the host's here. What counts is the device's
/// memory; whatever way an array is worked on, its result is on the host in the end.
fn chunks_on_a_device() -> Result<()> {
    const TURNS: usize = 11;
    let tools = [Registration::host_tools(&bridge_host::HostKernels)];
    let registry = Registry::new(REGISTRATIONS.iter().copied().chain(tools));
    let in_use = || FakeAccelerator.usage(DEVICE).map_or(0, |memory| memory.total - memory.free);
    let plan = ChunkPlan::of_size(ROWS, ROWS.div_ceil(100))?;
    for (what, work) in [("scaled", Work::Scale), ("norms", Work::Norms)] {
        let name = format!("map_chunks, {what}, 100 chunks, by way of a device");
        if !is_chosen(&name) {
            continue;
        }
        let elements: Vec<f64> = (0..ROWS * COLUMNS).map(|n| n as f64 / 1e7).collect();
        let mut array = Array::new(ManagedTensor::from_vec(elements, &[ROWS, COLUMNS])?);
        let mut peak = 0;
        let on_device = |part: Array, peak: &mut u64| -> Result<Array> {
            let part = part.downcast::<FakeArray>()?;
            let on_host = FakeAccelerator.transfer(part.tensor(), Device::CPU)?;
            let (result, columns) = worked(on_host.as_slice::<f64>()?, work);
            let result = ManagedTensor::from_vec(result, &[on_host.shape()[0], columns])?;
            let result = FakeAccelerator.transfer(&result, DEVICE)?;
            *peak = in_use().max(*peak);
            Ok(Array::new(<FakeArray as NativeArray<FakeAccelerator>>::import(result)?))
        };
        let (mut ours, mut whole, mut peaks) = (Vec::new(), Vec::new(), [0; 2]);
        for _ in 0..TURNS {
            let map = ChunkMap::new(&registry, &plan).to("fake-accelerator");
            let start = Instant::now();
            let run = map.run(array, |chunk| on_device(chunk, &mut peak))?;
            ours.push(start.elapsed().as_secs_f64());
            peaks[0] = std::mem::take(&mut peak).max(peaks[0]);
            drop(run.result);
            let tensor = run.array.downcast::<ManagedTensor>()?;
            let start = Instant::now();
            let there = FakeAccelerator.transfer(&tensor, DEVICE)?;
            let there = Array::new(<FakeArray as NativeArray<FakeAccelerator>>::import(there)?);
            let result = on_device(there, &mut peak)?.downcast::<FakeArray>()?;
            drop(FakeAccelerator.transfer(result.tensor(), Device::CPU)?);
            whole.push(start.elapsed().as_secs_f64());
            peaks[1] = std::mem::take(&mut peak);
            array = Array::new(tensor);
        }
        let [ours_peak, whole_peak] =
            peaks.map(|peak| format!(", {:.1} MiB there", peak as f64 / f64::from(1 << 20)));
        let at_once = format!("at once{whole_peak}");
        print_line(&name, Took::of(ours), &ours_peak, [(&*at_once, Took::of(whole))]);
    }
    Ok(())
}

fn main() -> Result<()> {
    reservations()?;
    pools();
    conversions()?;
    budgets_of_conversions()?;
    recovery();
    probes();
    chunks()?;
    chunks_on_a_device()
}
