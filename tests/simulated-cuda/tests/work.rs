//! Work gets done, late and in any order that the streams allow.

mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use cudarc::driver::{CudaContext, result, sys};
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
fn eager_work_runs_without_anybody_waiting() {
    let cuda = SimulatedCuda::start(&Config::default().eagerness(100));
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let array = stream.alloc_zeros::<u8>(16).expect("there is room");
    let event = context.new_event(None).expect("an event");
    drop(event);
    let mut bytes = [1_u8; 16];
    assert!(cuda.read(address(&array, &stream), &mut bytes));
    assert_eq!((bytes, cuda.pending()), ([0; 16], 0), "each call ran one operation");
    drop(array);
}

#[test]
fn pageable_memory_is_the_callers_again_after_the_call() {
    let _cuda = simulated();
    let stream = context(0).new_stream().expect("a stream");
    let mut source = vec![1_u8; 64];
    let array = stream.clone_htod(&source).expect("there is room");
    source.fill(2);
    assert_eq!(stream.clone_dtoh(&array).expect("it is there"), [1; 64]);
}

#[test]
fn streams_overtake_each_other_and_the_seed_decides() {
    let left_behind = |seed| {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (_context, first, second) = two_streams();
        let mut events = Vec::new();
        for stream in [&first, &second] {
            events.extend((0..8).map(|_| stream.record_event(None).expect("an event")));
        }
        second.synchronize().expect("it runs");
        cuda.pending()
    };
    assert_eq!(left_behind(3), left_behind(3));
    let counts: std::collections::BTreeSet<_> = (0..20).map(left_behind).collect();
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
        let (from, to) =
            (first.new_stream().expect("a stream"), second.new_stream().expect("a stream"));
        let source = from.clone_htod(&[7_u16; 32]).expect("there is room");
        from.synchronize().expect("it runs");
        let target = to.clone_dtod(&source).expect("there is room");
        let found = to.clone_dtoh(&target).expect("it is there");
        assert_eq!((found.as_slice(), cuda.counters().peer_copies), (&[7; 32][..], 1));
    }
}

#[test]
fn the_copy_between_devices_that_is_not_asynchronous_is_ordered_with_both() {
    for seed in 0..20 {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (first, second) = (context(0), context(1));
        let (from, to) =
            (first.new_stream().expect("a stream"), second.new_stream().expect("a stream"));
        let source = from.clone_htod(&[7_u16; 32]).expect("there is room");
        let target = to.alloc_zeros::<u16>(32).expect("there is room");
        let (here, there) = (address(&source, &from), address(&target, &to));
        // SAFETY: both arrays are there until their devices are done.
        unsafe { sys::cuMemcpyPeer(there, second.cu_ctx(), here, first.cu_ctx(), 64) }
            .result()
            .expect("it is queued");
        assert_eq!(to.clone_dtoh(&target).expect("it is there"), [7; 32]);
        drop((source, target));
        first.synchronize().expect("it runs");
        second.synchronize().expect("it runs");
        assert_eq!(cuda.violations(), []);
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

#[test]
fn what_cudarc_orders_by_itself_breaks_no_rule() {
    for seed in 0..20 {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed).eagerness(seed * 5));
        let context = CudaContext::new(0).expect("the simulated device is there");
        let streams: Vec<_> = (0..3).map(|_| context.new_stream().expect("a stream")).collect();
        let mut array = streams[0].clone_htod(&[1_u32; 50]).expect("there is room");
        for stream in streams.iter().cycle().take(10) {
            let copy = stream.clone_dtod(&array).expect("there is room");
            streams[1].memcpy_dtod(&copy, &mut array).expect("they are as long");
        }
        assert_eq!(streams[2].clone_dtoh(&array).expect("it is there"), [1; 50]);
        drop(array);
        context.synchronize().expect("it runs");
        assert_eq!(cuda.violations(), []);
    }
}

#[test]
fn threads_have_streams_of_their_own() {
    let cuda = simulated();
    let context = context(0);
    std::thread::scope(|scope| {
        for number in 0..4_u8 {
            let context = &context;
            scope.spawn(move || {
                let stream = context.per_thread_stream();
                for _ in 0..50 {
                    let array = stream.clone_htod(&[number; 100]).expect("there is room");
                    let copy = stream.clone_dtod(&array).expect("there is room");
                    assert_eq!(stream.clone_dtoh(&copy).expect("it is there"), [number; 100]);
                }
                stream.synchronize().expect("it runs");
            });
        }
    });
    assert_eq!(cuda.violations(), []);
    assert_eq!(cuda.counters().device_allocations_alive, 0);
}

/// Copies at random between arrays on random streams, each ordered after the last use of both arrays.
#[test]
fn ordered_work_does_what_the_calls_say_whatever_the_order() {
    for seed in 0..60_u64 {
        let config = Config::default().seed(seed).eagerness(seed % 4 * 25);
        let cuda = SimulatedCuda::start(&config);
        let context = context(0);
        let streams: Vec<_> = (0..4).map(|_| context.new_stream().expect("a stream")).collect();
        let mut state = seed;
        let mut random = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let mut model: Vec<u8> = (0..6).collect();
        let first = &streams[0];
        let arrays: Vec<_> = model
            .iter()
            .map(|value| first.clone_htod(&[*value; 32]).expect("there is room"))
            .collect();
        let mut used: Vec<_> =
            arrays.iter().map(|_| first.record_event(None).expect("an event")).collect();
        for _ in 0..40 {
            let (to, from) = (random(6) as usize, random(6) as usize);
            let stream = &streams[random(4) as usize];
            let (target, source) = (address(&arrays[to], stream), address(&arrays[from], stream));
            if to != from {
                stream.wait(&used[to]).expect("an event");
                stream.wait(&used[from]).expect("an event");
                // SAFETY: both arrays are there until the context is done.
                unsafe { result::memcpy_dtod_async(target, source, 32, stream.cu_stream()) }
                    .expect("it is queued");
                used[to] = stream.record_event(None).expect("an event");
                used[from] = stream.record_event(None).expect("an event");
                model[to] = model[from];
            }
        }
        context.synchronize().expect("it runs");
        for (array, value) in arrays.iter().zip(&model) {
            assert_eq!(first.clone_dtoh(array).expect("it is there"), [*value; 32]);
        }
        assert_eq!(cuda.violations(), []);
    }
}
