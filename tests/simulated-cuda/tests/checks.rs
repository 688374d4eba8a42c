//! Each check finds the bug that it is for, and is silent without it.

mod support;

use cudarc::driver::{result, sys};
use simulated_cuda::{Config, SimulatedCuda, ViolationKind};
use support::{
    Module, PTX, add_one, address, context, error, kinds, launch, register_add_one, simulated,
    two_streams,
};

use sys::CUresult::{
    CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE,
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_PERMITTED, CUDA_ERROR_NOT_SUPPORTED,
};

#[test]
fn a_kernel_that_comes_after_a_free_is_found_even_if_it_runs_before() {
    for seed in 0..10 {
        let cuda = SimulatedCuda::start(&Config::default().seed(seed));
        let (context, first, second) = two_streams();
        register_add_one(&cuda);
        let module = Module::load(&context, PTX).expect("it is PTX");
        let array = first.clone_htod(&[1.0_f32; 8]).expect("there is room");
        let target = second.alloc_zeros::<f32>(8).expect("there is room");
        context.synchronize().expect("it runs");
        let arguments = (address(&target, &second), address(&array, &first), 8);
        drop(array);
        add_one(&module, &second, arguments).expect("the driver does not know what it touches");
        assert_eq!(error(second.synchronize()), CUDA_ERROR_ILLEGAL_ADDRESS, "seed {seed}");
        assert_eq!(kinds(&cuda), [ViolationKind::UseAfterFree]);
        drop(target);
    }
}

#[test]
fn a_kernel_that_reaches_beyond_an_array_is_found() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    register_add_one(&cuda);
    let module = Module::load(&context, PTX).expect("it is PTX");
    let array = stream.clone_htod(&[1.0_f32; 8]).expect("there is room");
    let target = stream.alloc_zeros::<f32>(9).expect("there is room");
    let arguments = (address(&target, &stream), address(&array, &stream), 9);
    add_one(&module, &stream, arguments).expect("the driver does not know what it touches");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(kinds(&cuda), [ViolationKind::OutOfBounds]);
    drop((array, target));
}

#[test]
fn use_after_free_is_found_at_the_call() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    // SAFETY: the driver finds out that the memory is freed.
    unsafe {
        let plain = result::malloc_sync(64).expect("there is room");
        result::free_sync(plain).expect("it is there");
        let late = result::memset_d8_async(plain, 0, 64, stream.cu_stream());
        assert_eq!(error(late), CUDA_ERROR_INVALID_VALUE);
        let ordered = result::malloc_async(stream.cu_stream(), 64).expect("there is room");
        result::free_async(ordered, stream.cu_stream()).expect("it is there");
        let late = result::memcpy_dtoh_async(&mut [0_u8; 8], ordered, stream.cu_stream());
        assert_eq!(error(late), CUDA_ERROR_INVALID_VALUE);
    }
    assert_eq!(kinds(&cuda), [ViolationKind::UseAfterFree; 2]);
}

#[test]
fn a_kernel_that_uses_freed_memory_breaks_its_context() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    register_add_one(&cuda);
    let module = Module::load(&context, PTX).expect("it is PTX");
    let array = stream.clone_htod(&[1.0_f32; 8]).expect("there is room");
    let at = address(&array, &stream);
    drop(array);
    add_one(&module, &stream, (at, at, 8)).expect("the driver does not know what a kernel touches");
    assert_eq!(error(stream.synchronize()), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(error(context.new_event(None)), CUDA_ERROR_ILLEGAL_ADDRESS, "the error stays");
    assert_eq!(kinds(&cuda), [ViolationKind::UseAfterFree; 2], "to read, and to write");
}

#[test]
fn double_frees_are_found() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    // SAFETY: the driver finds out that the memory is freed.
    unsafe {
        let plain = result::malloc_sync(64).expect("there is room");
        result::free_sync(plain).expect("it is there");
        assert_eq!(error(result::free_sync(plain)), CUDA_ERROR_INVALID_VALUE);
        let ordered = result::malloc_async(stream.cu_stream(), 64).expect("there is room");
        result::free_async(ordered, stream.cu_stream()).expect("it is there");
        assert_eq!(
            error(result::free_async(ordered, stream.cu_stream())),
            CUDA_ERROR_INVALID_VALUE
        );
        let pinned = result::malloc_host(64, 0).expect("there is room");
        result::free_host(pinned).expect("it is there");
        assert_eq!(error(result::free_host(pinned)), CUDA_ERROR_INVALID_VALUE);
    }
    assert_eq!(kinds(&cuda), [ViolationKind::DoubleFree; 3]);
}

#[test]
fn ranges_beyond_an_allocation_and_unknown_pointers_are_found() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    let array = stream.clone_htod(&[1_u8; 64]).expect("there is room");
    let host = [0_u8; 8];
    // SAFETY: the driver refuses the calls.
    unsafe {
        let beyond =
            result::memset_d8_async(address(&array, &stream) + 60, 0, 8, stream.cu_stream());
        assert_eq!(error(beyond), CUDA_ERROR_INVALID_VALUE);
        let unknown = result::memset_d8_async(host.as_ptr() as u64, 0, 8, stream.cu_stream());
        assert_eq!(error(unknown), CUDA_ERROR_INVALID_VALUE);
        let inside = result::free_sync(address(&array, &stream) + 8);
        assert_eq!(error(inside), CUDA_ERROR_INVALID_VALUE);
    }
    let expected =
        [ViolationKind::OutOfBounds, ViolationKind::UnknownPointer, ViolationKind::UnknownPointer];
    assert_eq!(kinds(&cuda), expected);
}

#[test]
fn work_in_the_wrong_context_is_found() {
    let cuda = simulated();
    let (first, second) = (context(0), context(1));
    register_add_one(&cuda);
    let module = Module::load(&first, PTX).expect("it is PTX");
    let (here, there) =
        (first.new_stream().expect("a stream"), second.new_stream().expect("a stream"));
    let event = first.new_event(None).expect("an event");
    // SAFETY: the driver refuses the call.
    let record = unsafe { result::event::record(event.cu_event(), there.cu_stream()) };
    assert_eq!(error(record), CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(error(add_one(&module, &there, (0, 0, 0))), CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(kinds(&cuda), [ViolationKind::WrongContext; 2]);
    let alone = std::thread::spawn(|| {
        // SAFETY: nothing is allocated.
        error(unsafe { result::malloc_sync(64) })
    });
    assert_eq!(alone.join().expect("no panic"), CUDA_ERROR_INVALID_CONTEXT);
    assert_eq!(kinds(&cuda), [ViolationKind::WrongContext]);
    drop(here);
}

/// Adds 1 on device 0 to an array of device 1, from a pool or not, with what `allow` allows.
fn reach_over(cuda: &SimulatedCuda, pooled: bool, allow: impl FnOnce(sys::CUcontext)) -> bool {
    let (first, second) = (context(0), context(1));
    register_add_one(cuda);
    let (here, there) =
        (first.new_stream().expect("a stream"), second.new_stream().expect("a stream"));
    let target = here.alloc_zeros::<f32>(4).expect("there is room");
    let module = Module::load(&first, PTX).expect("it is PTX");
    second.bind_to_thread().expect("it is there");
    // SAFETY: the memory is set, and freed when all is done.
    unsafe {
        let at = if pooled {
            result::malloc_async(there.cu_stream(), 16)
        } else {
            result::malloc_sync(16)
        };
        let at = at.expect("there is room");
        result::memset_d8_async(at, 0, 16, there.cu_stream()).expect("it is queued");
        there.synchronize().expect("it runs");
        first.bind_to_thread().expect("it is there");
        allow(second.cu_ctx());
        add_one(&module, &here, (address(&target, &here), at, 4)).expect("it is queued");
        let reached = here.synchronize().is_ok();
        if reached {
            assert_eq!(here.clone_dtoh(&target).expect("it ran"), [1.0; 4]);
        }
        second.bind_to_thread().expect("the other device is well");
        result::free_sync(at).expect("it is there");
        reached
    }
}

fn enable(context: sys::CUcontext) {
    // SAFETY: the context is there.
    unsafe { sys::cuCtxEnablePeerAccess(context, 0) }.result().expect("it is supported");
}

fn allow_pool(flags: sys::CUmemAccess_flags) {
    let kind = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    let mut location = sys::CUmemLocation { type_: kind, id: 0 };
    let access = sys::CUmemAccessDesc { location, flags };
    let mut found = sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE;
    // SAFETY: the pool is there, and there is room for the answer.
    unsafe {
        let pool = result::device::get_default_mem_pool(1).expect("there is one");
        sys::cuMemPoolSetAccess(pool, &raw const access, 1).result().expect("it is supported");
        sys::cuMemPoolGetAccess(&raw mut found, pool, &raw mut location).result().expect("it is");
    }
    assert_eq!(found, flags);
}

#[test]
fn memory_of_another_device_needs_access() {
    for pooled in [false, true] {
        let cuda = simulated();
        assert!(!reach_over(&cuda, pooled, |_| ()));
        assert_eq!(kinds(&cuda), [ViolationKind::WrongContext]);
    }
    let cuda = simulated();
    assert!(reach_over(&cuda, false, enable));
}

#[test]
fn memory_of_a_pool_has_its_own_access() {
    use sys::CUmemAccess_flags::{
        CU_MEM_ACCESS_FLAGS_PROT_NONE, CU_MEM_ACCESS_FLAGS_PROT_READ,
        CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
    let cuda = simulated();
    assert!(reach_over(&cuda, true, |_| allow_pool(CU_MEM_ACCESS_FLAGS_PROT_READWRITE)));
    assert!(reach_over(&cuda, true, |_| allow_pool(CU_MEM_ACCESS_FLAGS_PROT_READ)));
    assert!(!reach_over(&cuda, true, |_| allow_pool(CU_MEM_ACCESS_FLAGS_PROT_NONE)));
    assert_eq!(kinds(&cuda), [ViolationKind::WrongContext]);
    cuda.reset(&Config::default());
    assert!(!reach_over(&cuda, true, enable), "access between devices is not for pools");
    assert_eq!(kinds(&cuda), [ViolationKind::WrongContext]);
}

#[test]
fn stale_handles_are_found() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    let event = context.new_event(None).expect("an event");
    let raw = event.cu_event();
    drop(event);
    // SAFETY: the driver refuses the calls.
    unsafe {
        assert_eq!(error(result::event::query(raw)), CUDA_ERROR_INVALID_HANDLE);
        let waits = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        let wait = result::stream::wait_event(stream.cu_stream(), raw, waits);
        assert_eq!(error(wait), CUDA_ERROR_INVALID_HANDLE);
    }
    assert_eq!(kinds(&cuda), [ViolationKind::InvalidHandle; 2]);
}

#[test]
fn pinned_memory_must_outlive_the_work_that_uses_it() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let array = stream.alloc_zeros::<u8>(64).expect("there is room");
    // SAFETY: the driver finds out that the memory is freed too early.
    unsafe {
        let pinned = result::malloc_host(64, 0).expect("there is room");
        let bytes = std::slice::from_raw_parts(pinned.cast::<u8>(), 64);
        let at = address(&array, &stream);
        result::memcpy_htod_async(at, bytes, stream.cu_stream()).expect("it is queued");
        result::free_host(pinned).expect("it waits, as hardware does");
    }
    assert_eq!(kinds(&cuda), [ViolationKind::FreedWhileInUse]);
    drop(array);
}

#[test]
fn a_staging_buffer_that_is_used_again_too_early_is_found() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    for wait in [true, false] {
        // SAFETY: the memory is freed below; what the host writes too early is what the test is about.
        unsafe {
            let array = stream.alloc::<u8>(64).expect("there is room");
            let pinned = result::malloc_host(64, 0).expect("there is room").cast::<u8>();
            pinned.write_bytes(1, 64);
            let bytes = std::slice::from_raw_parts(pinned, 64);
            let at = address(&array, &stream);
            result::memcpy_htod_async(at, bytes, stream.cu_stream()).expect("it is queued");
            if wait {
                stream.synchronize().expect("it runs");
            }
            pinned.write_bytes(2, 64);
            stream.synchronize().expect("it runs");
            result::free_host(pinned.cast()).expect("it is there");
        }
        let expected: &[_] = if wait { &[] } else { &[ViolationKind::HostWroteToBusyMemory] };
        assert_eq!(kinds(&cuda), expected);
    }
}

#[test]
fn pinned_memory_that_is_read_too_early_does_not_hold_the_answer() {
    let _cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let array = stream.alloc_zeros::<u8>(64).expect("there is room");
    // SAFETY: the memory is freed below; that the host reads it too early is what the test is about.
    unsafe {
        let pinned = result::malloc_host(64, 0).expect("there is room").cast::<u8>();
        pinned.write_bytes(0, 64);
        let bytes = std::slice::from_raw_parts_mut(pinned, 64);
        let at = address(&array, &stream);
        result::memcpy_dtoh_async(bytes, at, stream.cu_stream()).expect("it is queued");
        assert_ne!(pinned.read_volatile(), 0, "the right answer by chance would hide the bug");
        stream.synchronize().expect("it runs");
        assert_eq!(pinned.read_volatile(), 0);
        result::free_host(pinned.cast()).expect("it is there");
    }
    drop(array);
}

#[test]
fn leaks_are_listed_and_found_when_the_context_ends() {
    let cuda = simulated();
    let context = context(0);
    let mark = cuda.mark();
    let stream = context.new_stream().expect("a stream");
    let event = context.new_event(None).expect("an event");
    let leaked = stream.alloc_zeros::<u8>(100).expect("there is room").leak();
    let leaks = cuda.leaks_since(mark);
    assert_eq!(leaks.len(), 3, "{leaks:?}");
    assert!(leaks.iter().any(|leak| leak.starts_with("100 bytes of device 0 at ")), "{leaks:?}");
    drop((event, stream));
    assert_eq!(cuda.leaks_since(mark).len(), 1);
    drop(context);
    assert_eq!(kinds(&cuda), [ViolationKind::Leak]);
    assert_ne!(leaked, 0);
}

#[test]
fn kernels_have_to_be_what_their_module_says() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.default_stream();
    let module = Module::load(&context, PTX).expect("it is PTX");
    cuda.register_kernel("mismatched", &[8, 8], |_| Ok(()));
    let to = 0_u64;
    let arguments = [(&raw const to).cast(); 2];
    let launched =
        |name| error(launch(module.function(name).expect("it is there"), &stream, &arguments));
    assert_eq!(launched("unregistered"), CUDA_ERROR_NOT_SUPPORTED);
    assert_eq!(launched("mismatched"), CUDA_ERROR_INVALID_VALUE);
    assert_eq!(kinds(&cuda), [ViolationKind::KernelMismatch; 2]);
    assert_eq!(error(module.function("absent")), sys::CUresult::CUDA_ERROR_NOT_FOUND);
    assert_eq!(error(Module::load(&context, "int main;")), sys::CUresult::CUDA_ERROR_INVALID_PTX);
}

#[test]
fn a_host_function_must_not_call_the_driver() {
    unsafe extern "C" fn calls(answer: *mut std::ffi::c_void) {
        let mut count = 0;
        // SAFETY: the test gives a number that lives longer than the stream's work; the count is valid.
        unsafe { *answer.cast::<i32>() = sys::cuDeviceGetCount(&raw mut count) as i32 };
    }
    let cuda = simulated();
    let stream = context(0).new_stream().expect("a stream");
    let mut answer = 0_i32;
    // SAFETY: the number outlives the work, which is waited for.
    unsafe {
        let user = (&raw mut answer).cast();
        result::stream::launch_host_function(stream.cu_stream(), calls, user)
            .expect("it is queued");
    }
    stream.synchronize().expect("it runs");
    assert_eq!(answer, CUDA_ERROR_NOT_PERMITTED as i32);
    assert_eq!(kinds(&cuda), [ViolationKind::CallInCallback]);
}

#[test]
fn the_host_cannot_touch_device_memory() {
    let cuda = SimulatedCuda::start(&Config::default().survive_host_access(true));
    let context = context(0);
    let stream = context.default_stream();
    let array = stream.clone_htod(&[1_u8; 8]).expect("there is room");
    stream.synchronize().expect("it runs");
    let at = address(&array, &stream);
    for _ in 0..2 {
        // SAFETY: the driver lets the access go on, to memory that holds nothing.
        let found = unsafe { std::ptr::with_exposed_provenance::<u8>(at as usize).read_volatile() };
        assert_eq!(found, 0);
        assert_eq!(kinds(&cuda), [ViolationKind::HostAccess], "also the second time");
    }
    // SAFETY: as above.
    unsafe {
        let pinned = result::malloc_host(64, 0).expect("there is room").cast::<u8>();
        result::free_host(pinned.cast()).expect("it is there");
        pinned.read_volatile();
    }
    assert_eq!(kinds(&cuda), [ViolationKind::HostAccess]);
    drop(array);
}

#[test]
#[should_panic(expected = "still alive at the end of the test")]
fn a_test_that_leaks_fails() {
    let _cuda = simulated();
    let context = context(0);
    let array = context.default_stream().alloc_zeros::<u8>(8).expect("there is room");
    std::mem::forget((array, context));
}

#[test]
#[should_panic(expected = "UnknownPointer")]
fn a_test_with_a_violation_fails() {
    let _cuda = simulated();
    let _context = context(0);
    // SAFETY: the driver refuses the call.
    let _ = unsafe { result::free_sync(64) };
}
