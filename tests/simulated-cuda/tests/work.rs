//! Work gets done, late and in any order that the streams allow.

mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use cudarc::driver::{result, sys};
use simulated_cuda::{Config, SimulatedCuda};
use support::{Module, PTX, add_one, address, context, register_add_one, simulated, two_streams};

#[test]
fn an_array_goes_to_the_device_and_comes_back() {
    let _cuda = simulated();
    let stream = context(0).default_stream();
    let array = stream.clone_htod(&[1.0_f32, 2.0, 3.0]).expect("there is room");
    assert_eq!(stream.clone_dtoh(&array).expect("it is there"), [1.0, 2.0, 3.0]);
}

#[test]
fn nothing_runs_before_somebody_waits() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let array = stream.alloc_zeros::<u8>(16).expect("there is room");
    assert!(cuda.pending() > 0);
    let (at, mut bytes) = (address(&array, &stream), [1_u8; 16]);
    assert!(cuda.read(at, &mut bytes));
    assert_ne!(bytes, [0; 16], "the fill must not have run yet");
    stream.synchronize().expect("it runs now");
    assert!(cuda.read(at, &mut bytes));
    assert_eq!((bytes, cuda.pending()), ([0; 16], 0));
}

#[test]
fn streams_overtake_each_other_and_the_seed_decides() {
    let finished_first = |seed| {
        let _cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (_context, first, second) = two_streams();
        let mut events = Vec::new();
        for stream in [&first, &second] {
            events.extend((0..8).map(|_| stream.record_event(None).expect("an event")));
        }
        second.synchronize().expect("it runs");
        events[..8].iter().filter(|event| event.is_complete()).count()
    };
    assert_eq!(finished_first(3), finished_first(3));
    let counts: std::collections::BTreeSet<_> = (0..20).map(finished_first).collect();
    assert!(counts.len() > 2, "the other stream is somewhere else for each seed: {counts:?}");
}

#[test]
fn a_stream_waits_for_an_event_whatever_the_seed() {
    for seed in 0..20 {
        let _cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (_context, producer, consumer) = two_streams();
        let source = producer.clone_htod(&[seed as u32; 64]).expect("there is room");
        consumer.join(&producer).expect("an event");
        let target = consumer.clone_dtod(&source).expect("there is room");
        assert_eq!(consumer.clone_dtoh(&target).expect("it is there"), [seed as u32; 64]);
        producer.join(&consumer).expect("an event");
    }
}

#[test]
fn the_legacy_stream_and_blocking_streams_wait_for_each_other() {
    let cuda = simulated();
    let context = context(0);
    let (legacy, own) = (context.default_stream(), context.per_thread_stream());
    let array = own.clone_htod(&[5_u8; 8]).expect("there is room");
    let copy = legacy.clone_dtod(&array).expect("there is room");
    assert_eq!(own.clone_dtoh(&copy).expect("it is there"), [5; 8]);
    assert_eq!(cuda.violations(), []);
    let apart = context.new_stream().expect("a stream that does not block");
    let third = apart.clone_dtod(&copy).expect("there is room");
    drop(third);
    apart.synchronize().expect("it runs");
    assert_eq!(cuda.violations(), [], "the host has waited for what `copy` holds");
}

#[test]
fn kernels_run_in_their_turn_with_their_arguments() {
    let cuda = simulated();
    let context = context(0);
    register_add_one(&cuda);
    let module = Module::load(&context, PTX).expect("it is PTX");
    let stream = context.new_stream().expect("a stream");
    let from = stream.clone_htod(&[1.0_f32, 2.0]).expect("there is room");
    let to = stream.alloc_zeros::<f32>(2).expect("there is room");
    let arguments = (address(&to, &stream), address(&from, &stream), 2);
    add_one(&module, &stream, arguments).expect("it is queued");
    assert_eq!(cuda.counters().launches, 0);
    assert_eq!(stream.clone_dtoh(&to).expect("it ran"), [2.0, 3.0]);
    assert_eq!(cuda.counters().launches, 1);
}

#[test]
fn host_functions_run_in_their_turn() {
    let cuda = simulated();
    let stream = context(0).new_stream().expect("a stream");
    unsafe extern "C" fn count(counter: *mut c_void) {
        // SAFETY: the test gives its counter, which lives longer than the stream's work.
        unsafe { &*counter.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
    }
    let counter = AtomicU32::new(0);
    let user = (&raw const counter).cast_mut().cast();
    // SAFETY: the function calls nothing of the driver, and the counter outlives it.
    unsafe { result::stream::launch_host_function(stream.cu_stream(), count, user) }
        .expect("it is queued");
    assert_eq!(counter.load(Ordering::SeqCst), 0);
    stream.synchronize().expect("it runs");
    assert_eq!((counter.load(Ordering::SeqCst), cuda.counters().host_functions), (1, 1));
}

#[test]
fn copies_go_from_device_to_device_with_and_without_access() {
    for access in [true, false] {
        let cuda = SimulatedCuda::start(&Config::default().peer_access(access));
        let (first, second) = (context(0), context(1));
        let source = first.default_stream().clone_htod(&[7_u16; 32]).expect("there is room");
        first.synchronize().expect("it runs");
        let target = second.default_stream().clone_dtod(&source).expect("there is room");
        let found = second.default_stream().clone_dtoh(&target).expect("it is there");
        assert_eq!((found.as_slice(), cuda.counters().peer_copies), (&[7; 32][..], 1));
    }
}

#[test]
fn copies_are_counted_by_kind_and_bytes() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    // SAFETY: the memory is written before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<u8>(100) }.expect("there is room");
    pinned.as_mut_slice().expect("nothing uses it").fill(1);
    let array = stream.clone_htod(&pinned).expect("there is room");
    stream.memcpy_dtoh(&array, &mut pinned).expect("it is queued");
    assert_eq!(stream.clone_dtoh(&array).expect("it is there"), [1; 100]);
    drop(stream.clone_htod(&[0_u8; 30]).expect("there is room"));
    stream.synchronize().expect("it runs");
    let counters = cuda.counters();
    assert_eq!((counters.pinned_uploads, counters.pinned_upload_bytes), (1, 100));
    assert_eq!((counters.pinned_downloads, counters.pinned_download_bytes), (1, 100));
    assert_eq!((counters.pageable_downloads, counters.pageable_download_bytes), (1, 100));
    assert_eq!((counters.pageable_uploads, counters.pageable_upload_bytes), (1, 30));
    assert_eq!((counters.pinned_allocations_alive, counters.pinned_bytes_alive), (1, 100));
}

#[test]
fn events_measure_simulated_time() {
    let _cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).expect("an event");
    let array = stream.clone_htod(&vec![0_u8; 1 << 20]).expect("there is room");
    let end = stream.record_event(timed).expect("an event");
    assert!(start.elapsed_ms(&end).expect("both are timed") > 0.05);
    drop(array);
}

#[test]
fn queries_let_work_go_on_until_it_is_done() {
    let _cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let array = stream.alloc_zeros::<u8>(8).expect("there is room");
    let event = stream.record_event(None).expect("an event");
    let polls = (0..1000).take_while(|_| !event.is_complete()).count();
    assert!((1..1000).contains(&polls), "{polls} polls");
    drop(array);
}

#[test]
fn boxes_are_copied_row_by_row() {
    let _cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    let array = stream.clone_htod(&(0..64).collect::<Vec<u8>>()).expect("there is room");
    let at = address(&array, &stream);
    let mut found = [0_u8; 6];
    let copy = sys::CUDA_MEMCPY2D {
        srcXInBytes: 2,
        srcY: 1,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: at,
        srcArray: std::ptr::null_mut(),
        srcPitch: 8,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_HOST,
        dstHost: found.as_mut_ptr().cast(),
        dstDevice: 0,
        dstArray: std::ptr::null_mut(),
        dstPitch: 3,
        WidthInBytes: 3,
        Height: 2,
    };
    // SAFETY: source and target are as large as the box says.
    unsafe { sys::cuMemcpy2D_v2(&raw const copy) }.result().expect("it is right");
    assert_eq!(found, [10, 11, 12, 18, 19, 20]);
}

#[test]
fn managed_memory_is_the_hosts_too() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    // SAFETY: the memory is freed below, and the device's work is waited for before the host reads it.
    unsafe {
        let global = sys::CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL;
        let address = result::malloc_managed(64, global).expect("there is room");
        result::memset_d8_async(address, 9, 64, stream.cu_stream()).expect("it is queued");
        stream.synchronize().expect("it runs");
        let bytes: &[u8] = std::slice::from_raw_parts(address as *const u8, 64);
        assert_eq!(bytes, [9; 64]);
        result::free_sync(address).expect("it is there");
    }
    assert_eq!(cuda.counters().device_allocations_alive, 0);
}
