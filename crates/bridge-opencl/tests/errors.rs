//! Which of opencl3's errors say that memory ran out.

use bridge_core::Backend;
use bridge_opencl::OpenCl;
use opencl3::error_codes::{
    CL_BUILD_PROGRAM_FAILURE, CL_DEVICE_NOT_AVAILABLE, CL_INVALID_ARG_VALUE,
    CL_INVALID_BUFFER_SIZE, CL_INVALID_COMMAND_QUEUE, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE,
    CL_MAP_FAILURE, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES,
    ClError,
};

#[test]
fn out_of_memory_is_told_by_the_status_and_near_misses_are_not() {
    for (status, expected) in [
        (CL_MEM_OBJECT_ALLOCATION_FAILURE, true),
        (CL_OUT_OF_RESOURCES, true),
        (CL_OUT_OF_HOST_MEMORY, true),
        (CL_DEVICE_NOT_AVAILABLE, false),
        (CL_MAP_FAILURE, false),
        (CL_BUILD_PROGRAM_FAILURE, false),
        (CL_INVALID_VALUE, false),
        (CL_INVALID_COMMAND_QUEUE, false),
        (CL_INVALID_MEM_OBJECT, false),
        (CL_INVALID_ARG_VALUE, false),
        (CL_INVALID_BUFFER_SIZE, false),
        (0, false),
    ] {
        let error = ClError(status);
        assert_eq!(OpenCl.is_out_of_memory(&error), expected, "{error} ({status})");
    }
}

#[test]
fn the_text_of_another_error_says_nothing() {
    let text = std::io::Error::other("CL_OUT_OF_RESOURCES (-5)");
    assert!(!OpenCl.is_out_of_memory(&text));
}
