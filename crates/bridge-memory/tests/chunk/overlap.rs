//! Downloads beside the work on the next chunk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bridge_core::{
    Access, Allocator as _, Array, Backend, DataType, Device, DeviceKind, Error, ManagedTensor,
    NativeArray, Overflow, Owner, Refused, Registration, Registry, Result, Runtime, Stream,
    TensorError, TensorSpec,
};
use bridge_memory::budget::Budget;
use bridge_memory::chunk::{ChunkMap, ChunkPlan, Mapped};
use bridge_memory::pool::Pool;
use bridge_testkit::fake_accelerator::{FakeAccelerator, FakeArray};

use crate::support::{DEVICE, alone, counted, elements, live_bytes};

/// Chunks of ten elements of four bytes each.
const CHUNKS: usize = 6;
const CHUNK: u64 = 40;
const FAKE: &str = "fake-accelerator";

/// The fake accelerator, which tells of each download.
struct Told {
    /// What a download does first, with its number.
    download: fn(usize) -> Result<()>,
    downloads: AtomicUsize,
    /// Whether it writes to memory that it is given.
    writes: bool,
    /// Bytes of the device that are there for chunks.
    memory: u64,
}

impl Told {
    const fn new(download: fn(usize) -> Result<()>) -> Self {
        Self { download, downloads: AtomicUsize::new(0), writes: false, memory: u64::MAX }
    }

    fn registry(&'static self) -> Registry {
        Registry::new([
            Registration::host_tools(&bridge_host::HostKernels),
            Registration::backend(&FakeAccelerator),
            Registration::allocator(&FakeAccelerator),
            Registration::runtime(self),
        ])
    }

    fn tell(&self, to: Device) -> Result<()> {
        match to {
            Device::CPU => (self.download)(self.downloads.fetch_add(1, Ordering::SeqCst)),
            device if live_bytes() + CHUNK > self.memory => {
                Err(TensorError::OutOfMemory { device, requested: CHUNK }.into())
            }
            _ => Ok(()),
        }
    }
}

// SAFETY: as the fake accelerator's, which does it.
unsafe impl Runtime for Told {
    fn backend(&self) -> &'static dyn Backend {
        &FakeAccelerator
    }

    fn device_kinds(&self) -> &'static [DeviceKind] {
        &[DeviceKind::Extension]
    }

    fn transfer(&self, tensor: &ManagedTensor, to: Device) -> Result<ManagedTensor> {
        self.tell(to)?;
        FakeAccelerator.transfer(tensor, to)
    }

    fn copy(&self, tensor: &ManagedTensor) -> Result<ManagedTensor> {
        FakeAccelerator.copy(tensor)
    }

    fn cast(&self, tensor: &ManagedTensor, to: DataType, rule: Overflow) -> Result<ManagedTensor> {
        FakeAccelerator.cast(tensor, to, rule)
    }

    fn writes(&self, data_type: DataType, from: Device, to: Device) -> bool {
        self.writes && FakeAccelerator.writes(data_type, from, to)
    }

    fn write(&self, tensor: &ManagedTensor, target: ManagedTensor) -> Result<ManagedTensor> {
        self.tell(target.device())?;
        FakeAccelerator.write(tensor, target)
    }

    fn synchronize(&self, device: Device) -> Result<()> {
        FakeAccelerator.synchronize(device)
    }
}

fn array() -> Array {
    Array::new(counted(&[CHUNKS * 10]))
}

fn plan() -> ChunkPlan {
    ChunkPlan::of_size(CHUNKS * 10, 10).unwrap()
}

fn is_the_array(mapped: Mapped) {
    assert_eq!(elements(&mapped.result), (0..CHUNKS as i32 * 10).collect::<Vec<_>>());
    drop(mapped);
    assert_eq!(live_bytes(), 0);
}

fn failed(what: &str) -> Error {
    Error::Unsupported { what: what.to_owned(), remedy: "mend it".to_owned() }
}

/// Numbers that rise, and who waits for that.
struct Seen {
    numbers: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Seen {
    const fn new() -> Self {
        Self { numbers: Mutex::new((0, 0)), changed: Condvar::new() }
    }

    /// Changes the numbers, and waits until they are as `enough` says.
    fn meet(
        &self,
        change: impl FnOnce(&mut (usize, usize)),
        enough: impl Fn(&(usize, usize)) -> bool,
    ) -> Result<()> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut numbers);
        self.changed.notify_all();
        let waited = self
            .changed
            .wait_timeout_while(numbers, Duration::from_secs(20), |numbers| !enough(numbers));
        let (_numbers, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { Err(failed("the other one did not come")) } else { Ok(()) }
    }
}

/// A download ends only when the function works on the next chunk, and the function only when the download of
/// the chunk before has begun.
#[test]
fn a_result_is_downloaded_while_the_next_chunk_is_worked_on() {
    /// Downloads that have begun, and calls of the function.
    static SEEN: Seen = Seen::new();
    static LAST: AtomicUsize = AtomicUsize::new(0);
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    fn download(index: usize) -> Result<()> {
        let (first, last) = (FIRST.load(Ordering::SeqCst), LAST.load(Ordering::SeqCst));
        let alone = index < first || index == last;
        SEEN.meet(|seen| seen.0 = index + 1, |seen| alone || seen.1 >= index + 2)
    }
    static TOLD: Told = Told::new(download);
    static WRITING: Told = Told { writes: true, ..Told::new(download) };
    let _alone = alone();
    LAST.store(CHUNKS - 1, Ordering::SeqCst);
    // Without a budget; with room for three chunks; and for two.
    for told in [&TOLD, &WRITING] {
        for room in [None, Some(3 * CHUNK), Some(2 * CHUNK)] {
            let registry = told.registry();
            told.downloads.store(0, Ordering::SeqCst);
            *SEEN.numbers.lock().unwrap() = (0, 0);
            // In a budget the first result has its place before the next chunk has room.
            FIRST.store(usize::from(room.is_some()), Ordering::SeqCst);
            let budget = Budget::of_device("device", room.unwrap_or(1), DEVICE).unwrap();
            let consumer = budget.consumer("chunks");
            let (caller, plan, mut calls) = (thread::current().id(), plan(), 0);
            let run = ChunkMap::new(&registry, &plan).to(FAKE);
            let run = if room.is_some() { run.within(&consumer) } else { run };
            let mapped = run.run(array(), |chunk| {
                assert_eq!(thread::current().id(), caller);
                let index = calls;
                calls += 1;
                SEEN.meet(|seen| seen.1 = calls, |seen| seen.0 >= index)?;
                Ok(chunk)
            });
            is_the_array(mapped.unwrap_or_else(|refused| panic!("{room:?}: {refused}")));
            assert_eq!(budget.reserved(), 0);
            if let Some(room) = room {
                assert!(budget.status().peak <= room);
            }
        }
    }
}

/// Whose handle it keeps: the next call writes to it again.
#[test]
fn a_function_may_use_one_memory_for_all_results() {
    static TOLD: Told = Told::new(|_| {
        thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    let kept = Arc::new(FakeAccelerator.transfer(&counted(&[10]), DEVICE).unwrap());
    let mapped = ChunkMap::new(&registry, &plan).to(FAKE).run(array(), |chunk| {
        let chunk = chunk.downcast::<FakeArray>()?;
        let spec = TensorSpec::row_major(DataType::I32, &[10])?;
        // SAFETY:
        // - Both have ten elements of four bytes without gaps, in memory of the fake accelerator, which is
        //   the host's. That nobody reads them meanwhile is what the test is about.
        // - The memory lives as long as the alias, whose access says that others may write.
        let alias = unsafe {
            let (from, to) = (chunk.tensor().first_element(), kept.first_element());
            from.copy_to_nonoverlapping(to, 40);
            let owner = Owner::keep(Arc::clone(&kept));
            ManagedTensor::from_parts(to.cast(), spec, DEVICE, Access::Shared, owner)
        };
        let alias = alias.map_err(Refused::into_error)?;
        Ok(Array::new(<FakeArray as NativeArray<FakeAccelerator>>::import(alias)?))
    });
    drop(kept);
    is_the_array(mapped.unwrap());
}

/// Stream 2 is the default stream of each thread, another one for each: who waits for what is on it has to be
/// the thread that made it.
#[test]
fn a_result_on_a_stream_of_each_thread_is_written_by_the_thread_that_made_it() {
    static CALLER: Mutex<Option<ThreadId>> = Mutex::new(None);
    static ELSEWHERE: AtomicUsize = AtomicUsize::new(0);
    static TOLD: Told = Told::new(|_| {
        let caller = *CALLER.lock().unwrap_or_else(PoisonError::into_inner);
        if caller != Some(thread::current().id()) {
            ELSEWHERE.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    *CALLER.lock().unwrap() = Some(thread::current().id());
    // Every second one is on that stream, so that both ways keep the order.
    let elsewhere = |stream: fn(usize) -> Option<Stream>| {
        let (mut calls, mut late) = (0, 0);
        TOLD.downloads.store(0, Ordering::SeqCst);
        let mapped = ChunkMap::new(&registry, &plan).to(FAKE).run(array(), |chunk| {
            // What was on that stream has been written before the function is called again.
            let is_late = calls > 0
                && stream(calls - 1) == Some(Stream(2))
                && TOLD.downloads.load(Ordering::SeqCst) < calls;
            late += usize::from(is_late);
            let tensor = chunk.export()?;
            // SAFETY: the fake device works at once, so that its data is ready on any stream, of which it
            // uses none.
            let tensor = unsafe { tensor.ready_on(stream(calls)) };
            calls += 1;
            Ok(Array::new(<FakeArray as NativeArray<FakeAccelerator>>::import(tensor)?))
        });
        is_the_array(mapped.unwrap());
        assert_eq!(late, 0);
        ELSEWHERE.swap(0, Ordering::SeqCst)
    };
    assert_eq!(elsewhere(|_| Some(Stream(2))), 0);
    assert_eq!(elsewhere(|index| (index % 2 == 0).then_some(Stream(2))), CHUNKS / 2);
    // One stream for all threads, and none, may be written by another.
    assert_eq!(elsewhere(|_| Some(Stream(1))), CHUNKS);
    assert_eq!(elsewhere(|_| None), CHUNKS);
}

#[test]
fn within_room_for_one_chunk_all_is_done_one_after_the_other() {
    static AT_WORK: AtomicBool = AtomicBool::new(false);
    static BOTH: AtomicUsize = AtomicUsize::new(0);
    fn both() {
        if AT_WORK.swap(true, Ordering::SeqCst) {
            BOTH.fetch_add(1, Ordering::SeqCst);
        }
        thread::sleep(Duration::from_millis(2));
        AT_WORK.store(false, Ordering::SeqCst);
    }
    static TOLD: Told = Told::new(|_| {
        both();
        Ok(())
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    let budget = Budget::of_device("device", 2 * CHUNK - 1, DEVICE).unwrap();
    let consumer = budget.consumer("chunks");
    let run = ChunkMap::new(&registry, &plan).to(FAKE).within(&consumer);
    let mut most = 0;
    let mapped = run.run(array(), |chunk| {
        both();
        most = most.max(live_bytes());
        Ok(chunk)
    });
    is_the_array(mapped.unwrap());
    assert_eq!((BOTH.load(Ordering::SeqCst), most), (0, CHUNK));
}

/// The function gives the chunk itself back, so that a result is as large as a chunk.
#[test]
fn no_more_than_two_chunks_and_a_result_are_on_the_device() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    fn look() {
        thread::sleep(Duration::from_millis(3));
        MOST.fetch_max(live_bytes() as usize, Ordering::SeqCst);
    }
    static TOLD: Told = Told::new(|_| {
        look();
        Ok(())
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    let run = ChunkMap::new(&registry, &plan).to(FAKE);
    let mapped = run.run(array(), |chunk| {
        look();
        Ok(chunk)
    });
    is_the_array(mapped.unwrap());
    let most = MOST.load(Ordering::SeqCst) as u64;
    assert!(most <= 3 * CHUNK, "{most}");
}

#[test]
fn a_result_that_cannot_be_downloaded_ends_the_run() {
    static TOLD: Told = Told::new(|index| match index {
        2 => Err(failed("the download")),
        _ => Ok(()),
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    for room in [None, Some(2 * CHUNK - 1), Some(3 * CHUNK)] {
        TOLD.downloads.store(0, Ordering::SeqCst);
        let budget = Budget::of_device("device", room.unwrap_or(1), DEVICE).unwrap();
        let consumer = budget.consumer("chunks");
        let run = ChunkMap::new(&registry, &plan).to(FAKE);
        let run = if room.is_some() { run.within(&consumer) } else { run };
        let (mut calls, mut done) = (0, Vec::new());
        let run = run.on_progress(|progress| done.push(progress.done()));
        let refused = run.run(array(), |chunk| {
            calls += 1;
            // The error of the earlier chunk is told, whoever is the first to fail.
            if calls == 4 { Err(failed("the function")) } else { Ok(chunk) }
        });
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("the download"), "{refused}");
        let mut array = refused.into_value().downcast::<ManagedTensor>().unwrap();
        assert!(array.as_mut_slice::<i32>().is_ok(), "the array is whole");
        assert!((3..=4).contains(&calls), "{calls}");
        assert_eq!(done, [10, 20]);
        assert_eq!((live_bytes(), budget.reserved()), (0, 0));
    }
}

#[test]
fn a_panic_on_the_way_ends_all_threads_and_goes_on() {
    static TOLD: Told = Told::new(|index| match index {
        1 => panic!("in the download"),
        _ => Ok(()),
    });
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        ChunkMap::new(&registry, &plan).to(FAKE).run(array(), Ok).map(drop)
    }));
    let payload = panicked.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the download"));
    assert_eq!(live_bytes(), 0);
}

/// An array on the device is cut there, and only the results are downloaded; along another axis than the first
/// they have gaps, and are staged.
#[test]
fn results_are_staged_in_the_pool() {
    static TOLD: Told = Told { writes: true, ..Told::new(|_| Ok(())) };
    let _alone = alone();
    let registry = TOLD.registry();
    let there = || FakeAccelerator.transfer(&counted(&[3, 8]), DEVICE).unwrap();
    let plan = ChunkPlan::of_size(8, 2).unwrap();
    let pool = Pool::new();
    for round in 0..3 {
        let array = <FakeArray as NativeArray<FakeAccelerator>>::import(there());
        let run = ChunkMap::new(&registry, &plan).along(1).to(FAKE).pool(&pool);
        let mapped = run.run(Array::new(array.unwrap()), Ok).unwrap();
        assert_eq!(elements(&mapped.result), (0..24).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!(
            (stats.buffers_in_use, stats.misses, stats.allocations),
            (1, 2, 5 * (round + 1))
        );
    }
    assert_eq!(FakeAccelerator.trim(DEVICE).unwrap(), 0);
}

#[test]
fn a_device_without_memory_for_a_chunk_more_has_one_at_a_time() {
    static TOLD: Told = Told { memory: 2 * CHUNK - 1, ..Told::new(|_| Ok(())) };
    let _alone = alone();
    let (registry, plan) = (TOLD.registry(), plan());
    is_the_array(ChunkMap::new(&registry, &plan).to(FAKE).run(array(), Ok).unwrap());
}
