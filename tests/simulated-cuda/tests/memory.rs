//! Pools, pinned memory, and what the driver says of a pointer.

mod support;

use std::ffi::c_void;

use cudarc::driver::{result, sys};
use simulated_cuda::ViolationKind;
use support::{address, context, error, kinds, simulated};

use sys::CUmemPool_attribute as Attribute;
use sys::CUpointer_attribute as Pointer;
use sys::CUresult::{
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED,
    CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
};

fn pool_attribute(pool: sys::CUmemoryPool, attribute: Attribute) -> u64 {
    let mut value = 0_u64;
    // SAFETY: there is room for the widest value.
    unsafe { result::mem_pool::get_attribute(pool, attribute, (&raw mut value).cast()) }
        .expect("there is such an attribute");
    value
}

fn pointer_attribute(attribute: Pointer, at: u64) -> Result<u64, result::DriverError> {
    let mut value = 0_u64;
    // SAFETY: there is room for the widest value.
    unsafe { sys::cuPointerGetAttribute((&raw mut value).cast(), attribute, at) }.result()?;
    Ok(value)
}

#[test]
fn a_pool_keeps_what_its_threshold_says() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    // SAFETY: the device is there.
    let pool = unsafe { result::device::get_default_mem_pool(0) }.expect("there is one");
    let reserved = || pool_attribute(pool, Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
    let used = || pool_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
    let array = stream.alloc_zeros::<u8>(1000).expect("there is room");
    assert_eq!((used(), reserved()), (1024, 1024));
    drop(array);
    assert_eq!(used(), 1024, "the free is queued");
    stream.synchronize().expect("it runs");
    assert_eq!((used(), reserved()), (0, 0), "nothing is kept");
    let mut threshold = u64::MAX;
    let attribute = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the value is a number of 64 bits.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()) }
        .expect("there is such an attribute");
    drop(stream.alloc_zeros::<u8>(1000).expect("there is room"));
    stream.synchronize().expect("it runs");
    assert_eq!((used(), reserved()), (0, 1024), "all is kept");
    let total = context.total_mem().expect("the device is there");
    assert_eq!(context.mem_get_info(), Ok((total - 1024, total)));
    // SAFETY: the pool is there.
    unsafe { result::mem_pool::trim_to(pool, 0) }.expect("it can be trimmed");
    assert_eq!(reserved(), 0);
    assert_eq!(pool_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH), 1024);
    assert_eq!(cuda.violations(), []);
}

#[test]
fn memory_comes_from_the_pool_that_is_asked() {
    let _cuda = simulated();
    let context = context(1);
    let stream = context.new_stream().expect("a stream");
    let location =
        sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 1 };
    let properties = sys::CUmemPoolProps {
        allocType: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        handleTypes: sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
        location,
        win32SecurityAttributes: std::ptr::null_mut(),
        maxSize: 0,
        reserved: [0; 56],
    };
    // SAFETY: the properties are complete; memory and pool are ended in order.
    unsafe {
        let pool = result::mem_pool::create(&raw const properties).expect("there is room");
        let at =
            result::mem_pool::alloc_async(pool, 64, stream.cu_stream()).expect("there is room");
        assert_eq!(pool_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 512);
        let of = pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, at);
        assert_eq!(of, Ok(pool as u64));
        assert_eq!(
            error(result::mem_pool::destroy(pool)),
            CUDA_ERROR_INVALID_VALUE,
            "it is in use"
        );
        result::free_async(at, stream.cu_stream()).expect("it is there");
        stream.synchronize().expect("it runs");
        result::mem_pool::destroy(pool).expect("it is not in use");
    }
}

#[test]
fn the_driver_knows_what_a_pointer_is() {
    let _cuda = simulated();
    let context = context(1);
    let stream = context.default_stream();
    let array = stream.clone_htod(&[1_u8; 100]).expect("there is room");
    let at = address(&array, &stream) + 10;
    assert_eq!(pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at), Ok(2));
    assert_eq!(pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at), Ok(1));
    assert_eq!(pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at), Ok(at - 10));
    assert_eq!(pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_RANGE_SIZE, at), Ok(100));
    let no_context = pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_CONTEXT, at);
    assert_eq!(no_context, Ok(0), "stream-ordered memory belongs to no context");
    let host = pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_HOST_POINTER, at);
    assert_eq!(error(host), CUDA_ERROR_INVALID_VALUE);
    drop(array);
    let freed = pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at);
    assert_eq!(error(freed), CUDA_ERROR_INVALID_VALUE);
    let pageable = [0_u8; 4].as_ptr() as u64;
    let unknown = pointer_attribute(Pointer::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pageable);
    assert_eq!(error(unknown), CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn several_attributes_are_asked_at_once_also_of_a_foreign_pointer() {
    let _cuda = simulated();
    let context = context(1);
    // SAFETY: the memory is freed below.
    let pinned = unsafe { result::malloc_host(64, 1) }.expect("there is room");
    context.bind_to_thread().expect("it is there");
    let ask = |at: u64| {
        let (mut kind, mut ordinal, mut managed) = (7_u32, 7_i32, 7_u32);
        let mut attributes = [
            Pointer::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
            Pointer::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
            Pointer::CU_POINTER_ATTRIBUTE_IS_MANAGED,
        ];
        let mut values: [*mut c_void; 3] =
            [(&raw mut kind).cast(), (&raw mut ordinal).cast(), (&raw mut managed).cast()];
        // SAFETY: each value has room for its attribute.
        unsafe { sys::cuPointerGetAttributes(3, attributes.as_mut_ptr(), values.as_mut_ptr(), at) }
            .result()
            .expect("any pointer may be asked");
        (kind, ordinal, managed)
    };
    assert_eq!(ask(pinned as u64), (1, 1, 0));
    assert_eq!(ask([0_u8; 4].as_ptr() as u64), (0, -2, 0));
    // SAFETY: the memory is there.
    unsafe { result::free_host(pinned) }.expect("it is there");
}

#[test]
fn host_memory_is_registered_once() {
    let cuda = simulated();
    let context = context(0);
    let stream = context.new_stream().expect("a stream");
    let mut memory = vec![3_u8; 8192];
    let at = memory.as_mut_ptr().cast::<c_void>();
    // SAFETY: the memory lives longer than its registration.
    unsafe {
        sys::cuMemHostRegister_v2(at, 8192, 0).result().expect("it is not registered");
        let again = sys::cuMemHostRegister_v2(at.cast::<u8>().add(100).cast(), 8, 0).result();
        assert_eq!(error(again), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        let array = stream.clone_htod(&memory).expect("there is room");
        stream.synchronize().expect("it runs");
        assert_eq!(cuda.counters().pinned_uploads, 1);
        assert_eq!(error(result::free_host(at)), CUDA_ERROR_INVALID_VALUE, "it is the caller's");
        assert_eq!(kinds(&cuda), [ViolationKind::UnknownPointer]);
        sys::cuMemHostUnregister(at).result().expect("it is registered");
        drop(array);
    }
    assert_eq!(cuda.violations(), []);
    // SAFETY: the driver refuses the call.
    let again = unsafe { sys::cuMemHostUnregister(at) }.result();
    assert_eq!(error(again), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    cuda.take_violations();
}

#[test]
fn access_between_devices_is_enabled_once() {
    let cuda = simulated();
    let (first, second) = (context(0), context(1));
    first.bind_to_thread().expect("it is there");
    // SAFETY: both contexts are there.
    unsafe {
        let enable = || sys::cuCtxEnablePeerAccess(second.cu_ctx(), 0).result();
        let disable = || sys::cuCtxDisablePeerAccess(second.cu_ctx()).result();
        assert_eq!(error(disable()), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
        enable().expect("it is supported");
        assert_eq!(error(enable()), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
        disable().expect("it is enabled");
    }
    drop((first, second));
    cuda.reset(&simulated_cuda::Config::default().peer_access(false));
    let (first, second) = (context(0), context(1));
    first.bind_to_thread().expect("it is there");
    let mut can = 7;
    // SAFETY: there is room for the answer; the contexts are there.
    unsafe {
        sys::cuDeviceCanAccessPeer(&raw mut can, 0, 1).result().expect("the devices are there");
        let enable = sys::cuCtxEnablePeerAccess(second.cu_ctx(), 0).result();
        assert_eq!((can, error(enable)), (0, CUDA_ERROR_PEER_ACCESS_UNSUPPORTED));
    }
}
