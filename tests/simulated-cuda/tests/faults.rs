//! Every fault is delivered, once, where it was asked for.

mod support;

use cudarc::driver::{CudaContext, DriverError, result, sys};
use simulated_cuda::{Config, Fault, SimulatedCuda, ViolationKind};
use support::{Module, PTX, add_one, address, context, error, kinds, register_add_one, simulated};

use sys::CUresult::{
    CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, CUDA_ERROR_ECC_UNCORRECTABLE,
    CUDA_ERROR_INVALID_DEVICE, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_NO_DEVICE,
    CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_UNKNOWN,
};

#[test]
fn the_nth_allocation_fails_and_the_next_one_works() {
    let cuda = simulated();
    let stream = context(0).default_stream();
    cuda.inject(Fault::OutOfMemory { nth: 2 });
    let outcomes: Vec<_> = (0..4).map(|_| stream.alloc_zeros::<u8>(8)).collect();
    let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, true, false]);
    let code = outcomes.into_iter().find_map(Result::err);
    assert_eq!(code, Some(DriverError(CUDA_ERROR_OUT_OF_MEMORY)));
}

#[test]
fn allocations_of_another_thread_neither_count_nor_fail() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    let device_fails = || stream.alloc_zeros::<u8>(8).is_err();
    // SAFETY: nothing reads the memory.
    let pinned_fails = || unsafe { context.alloc_pinned::<u8>(8) }.is_err();
    let elsewhere = || {
        let count = || (0..3).filter(|_| device_fails() || pinned_fails()).count();
        std::thread::scope(|scope| scope.spawn(count).join().expect("it does not panic"))
    };
    cuda.inject_on_this_thread(Fault::OutOfMemory { nth: 1 });
    cuda.inject_on_this_thread(Fault::PinnedOutOfMemory { nth: 1 });
    assert_eq!(elsewhere(), 0, "before any of this thread");
    assert_eq!((device_fails(), pinned_fails()), (false, false));
    assert_eq!(elsewhere(), 0, "when the next one here is to fail");
    assert_eq!((device_fails(), pinned_fails()), (true, true));
    assert_eq!((device_fails(), pinned_fails()), (false, false), "each fails once");

    // One that is meant for all threads counts them all.
    cuda.inject(Fault::OutOfMemory { nth: 3 });
    assert_eq!((elsewhere(), device_fails()), (0, true));
    // What is taken back is taken back for every thread.
    cuda.inject_on_this_thread(Fault::OutOfMemory { nth: 0 });
    std::thread::scope(|scope| scope.spawn(|| cuda.clear_faults()).join().expect("no panic"));
    assert!(!device_fails());
}

#[test]
#[should_panic(expected = "cannot limit to a thread")]
fn a_device_cannot_be_lost_for_one_thread() {
    simulated().inject_on_this_thread(Fault::DeviceLost { device: 0, nth: 0, code: 214 });
}

#[test]
fn pinned_memory_runs_out_apart_from_device_memory() {
    let cuda = simulated();
    let context = context(0);
    cuda.inject(Fault::PinnedOutOfMemory { nth: 0 });
    drop(context.default_stream().alloc_zeros::<u8>(8).expect("device memory is there"));
    // SAFETY: nothing reads the memory.
    unsafe {
        assert_eq!(error(context.alloc_pinned::<u8>(8)), CUDA_ERROR_OUT_OF_MEMORY);
        drop(context.alloc_pinned::<u8>(8).expect("the fault has happened"));
    }
}

#[test]
fn memory_is_limited() {
    let cuda = SimulatedCuda::start(&Config::default().memory(1 << 20));
    let context = context(0);
    let stream = context.default_stream();
    let half = stream.alloc_zeros::<u8>(1 << 19).expect("there is room");
    assert_eq!(context.mem_get_info(), Ok((1 << 19, 1 << 20)));
    assert_eq!(error(stream.alloc_zeros::<u8>((1 << 19) + 1)), CUDA_ERROR_OUT_OF_MEMORY);
    drop(half);
    let whole =
        stream.alloc_zeros::<u8>(1 << 20).expect("what is freed in the stream is there again");
    assert_eq!(context.mem_get_info(), Ok((0, 1 << 20)));
    // SAFETY: nothing is allocated.
    let huge = unsafe { result::malloc_sync(usize::MAX) };
    assert_eq!(error(huge), CUDA_ERROR_OUT_OF_MEMORY);
    drop(whole);
    assert_eq!(cuda.violations(), []);
}

#[test]
fn a_copy_fails_at_the_call_and_leaves_the_context_whole() {
    let cuda = simulated();
    let stream = context(0).default_stream();
    let array = stream.clone_htod(&[1_u8; 8]).expect("there is room");
    cuda.inject(Fault::Copy { nth: 1, code: 999, late: false });
    drop(stream.clone_dtoh(&array).expect("the first one works"));
    assert_eq!(error(stream.clone_dtoh(&array)), CUDA_ERROR_UNKNOWN);
    assert_eq!(stream.clone_dtoh(&array).expect("the next one works"), [1; 8]);
}

#[test]
fn a_copy_that_fails_late_breaks_the_context_until_it_is_reset() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    cuda.inject(Fault::Copy { nth: 0, code: 719, late: true });
    let array = stream.clone_htod(&[1_u8; 8]).expect("the call works");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_LAUNCH_FAILED);
    assert_eq!(error(context.synchronize()), CUDA_ERROR_LAUNCH_FAILED);
    drop((array, stream));
    assert_eq!(
        cuda.leaks_since(0),
        Vec::<String>::new(),
        "what is freed is freed, whatever the error"
    );
    // SAFETY: nothing of the context is used any more.
    unsafe { sys::cuDevicePrimaryCtxReset_v2(0) }.result().expect("it can be reset");
    let other = CudaContext::new(1).expect("the other device is well");
    drop(other);
}

#[test]
fn a_launch_fails_at_the_call_or_when_it_runs() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    register_add_one(&cuda);
    let module = Module::load(&context, PTX).expect("it is PTX");
    let array = stream.clone_htod(&[1.0_f32; 8]).expect("there is room");
    let target = stream.alloc_zeros::<f32>(8).expect("there is room");
    let arguments = (address(&target, &stream), address(&array, &stream), 8);
    cuda.inject(Fault::Launch { nth: 0, code: 719, late: false });
    assert_eq!(error(add_one(&module, &stream, arguments)), CUDA_ERROR_LAUNCH_FAILED);
    add_one(&module, &stream, arguments).expect("the next one works");
    stream.synchronize().expect("it runs");
    cuda.inject(Fault::Launch { nth: 0, code: 719, late: true });
    add_one(&module, &stream, arguments).expect("the call works");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_LAUNCH_FAILED);
    drop((array, target));
}

#[test]
fn a_kernel_that_gives_an_error_breaks_its_context() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    cuda.register_kernel("add_one", &[8, 8, 4], |_| Err(719));
    let module = Module::load(&context, PTX).expect("it is PTX");
    add_one(&module, &stream, (0, 0, 0)).expect("the call works");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_LAUNCH_FAILED);
    assert_eq!(cuda.violations(), []);
}

#[test]
fn a_device_is_lost_in_the_middle_of_its_work_and_the_other_is_not() {
    let cuda = simulated();
    let (first, second) = (context(0), context(1));
    let stream = first.new_stream().expect("a stream");
    cuda.inject(Fault::DeviceLost { device: 0, nth: 3, code: 214 });
    let array = stream.clone_htod(&[1_u8; 8]).expect("the calls work");
    let copy = stream.clone_dtod(&array).expect("the calls work");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_ECC_UNCORRECTABLE);
    assert_eq!(error(stream.alloc_zeros::<u8>(8)), CUDA_ERROR_ECC_UNCORRECTABLE);
    let there = second.default_stream();
    let well = there.clone_htod(&[2_u8; 8]).expect("the other device is well");
    assert_eq!(there.clone_dtoh(&well).expect("it is there"), [2; 8]);
    drop((array, copy, stream, well));
    assert_eq!(kinds(&cuda), []);
}

#[test]
fn slow_copies_are_late_but_right() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    cuda.inject(Fault::SlowCopies { polls: 50 });
    let array = stream.clone_htod(&[4_u8; 8]).expect("there is room");
    let event = stream.record_event(None).expect("an event");
    let polls = (0..1000).take_while(|_| !event.is_complete()).count();
    assert!(polls >= 25, "{polls} polls");
    cuda.clear_faults();
    assert_eq!(stream.clone_dtoh(&array).expect("it is there"), [4; 8]);
}

#[test]
fn any_function_can_be_made_to_fail() {
    let cuda = simulated();
    let context = context(0);
    cuda.inject(Fault::Call { name: "cuEventCreate".to_owned(), nth: 1, code: 2 });
    drop(context.new_event(None).expect("the first one works"));
    assert_eq!(error(context.new_event(None)), CUDA_ERROR_OUT_OF_MEMORY);
    drop(context.new_event(None).expect("the next one works"));
}

#[test]
fn there_may_be_no_device_or_no_driver_that_works() {
    let cuda = SimulatedCuda::start(&Config::default().devices(0));
    assert_eq!(error(CudaContext::new(0)), CUDA_ERROR_NO_DEVICE);
    cuda.reset(&Config::default().init_error(804).driver_version(11_020));
    assert_eq!(error(CudaContext::device_count()), CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
    let mut version = 0;
    // SAFETY: there is room for the version.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().expect("it needs no device");
    assert_eq!(version, 11_020);
    cuda.reset(&Config::default());
    assert_eq!(CudaContext::device_count(), Ok(2));
    assert_eq!(error(CudaContext::new(2)), CUDA_ERROR_INVALID_DEVICE);
}

#[test]
fn without_pools_there_is_no_stream_ordered_memory() {
    let cuda = SimulatedCuda::start(&Config::default().memory_pools(false));
    let context = context(0);
    assert!(!context.has_async_alloc());
    let stream = context.default_stream();
    let array = stream.clone_htod(&[1_u8; 8]).expect("there is room");
    assert_eq!(stream.clone_dtoh(&array).expect("it is there"), [1; 8]);
    assert_eq!(cuda.counters().pool_allocations, 0);
    // SAFETY: nothing is allocated.
    let ordered = unsafe { result::malloc_async(stream.cu_stream(), 8) };
    assert_eq!(error(ordered), sys::CUresult::CUDA_ERROR_NOT_SUPPORTED);
}

#[test]
fn a_race_is_found_in_eager_work_too() {
    for seed in 0..10 {
        let cuda = SimulatedCuda::start(&Config::default().eagerness(70).seed(seed));
        let (context, first, second) = support::two_streams();
        let array = first.clone_htod(&[1_u8; 8]).expect("there is room");
        let copy = second.clone_dtod(&array).expect("there is room");
        context.synchronize().expect("it runs");
        assert!(kinds(&cuda).contains(&ViolationKind::Race), "seed {seed}");
        drop((array, copy));
        context.synchronize().expect("it runs");
        cuda.take_violations();
    }
}
