//! OpenCL's status codes as errors.

use bridge_core::{Device, Error, Result, TensorError};
use opencl3::error_codes::{
    CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, error_text,
};
use opencl3::types::cl_int;

/// What the backend is called.
pub(crate) const NAME: &str = "opencl";

/// What was being done when a status came back, for its error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doing {
    /// "copy on the device", after "failed to".
    pub(crate) operation: &'static str,
    pub(crate) device: Device,
    /// The bytes that it needed.
    pub(crate) bytes: usize,
}

impl Doing {
    pub(crate) const fn new(operation: &'static str, device: Device, bytes: usize) -> Self {
        Self { operation, device, bytes }
    }

    /// The result, its status as an error.
    pub(crate) fn check<T>(self, result: std::result::Result<T, cl_int>) -> Result<T> {
        result.map_err(|status| self.failed(status))
    }

    /// The error behind a status.
    pub(crate) fn failed(self, status: cl_int) -> Error {
        let requested = self.bytes as u64;
        match status {
            CL_MEM_OBJECT_ALLOCATION_FAILURE | CL_OUT_OF_RESOURCES => {
                Error::Tensor(TensorError::OutOfMemory { device: self.device, requested })
            }
            CL_OUT_OF_HOST_MEMORY => {
                Error::Tensor(TensorError::OutOfMemory { device: Device::CPU, requested })
            }
            status => framework(self.operation, message(status)),
        }
    }
}

/// Whether a status says that memory ran out, the device's or the host's.
///
/// `CL_OUT_OF_RESOURCES` counts: most drivers, which allocate at first use, say so when a buffer
/// cannot be placed. Some also say it of a kernel that ran outside its memory; the code is the same,
/// and to try once more costs less than to give up work that would have fitted.
pub(crate) fn is_out_of_memory(status: cl_int) -> bool {
    matches!(status, CL_MEM_OBJECT_ALLOCATION_FAILURE | CL_OUT_OF_RESOURCES | CL_OUT_OF_HOST_MEMORY)
}

pub(crate) fn framework(operation: &'static str, message: String) -> Error {
    Error::Framework { backend: NAME, operation, message }
}

/// A status in words.
pub(crate) fn message(status: cl_int) -> String {
    format!("{} ({status})", error_text(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_is_told_by_type_whatever_the_driver_calls_it() {
        let doing = Doing::new("allocate a buffer", Device::opencl(1), 64);
        for status in [CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES] {
            let Error::Tensor(TensorError::OutOfMemory { device, requested }) =
                doing.failed(status)
            else {
                panic!("{status} is another error");
            };
            assert_eq!((device, requested), (Device::opencl(1), 64));
        }
        let host = doing.failed(CL_OUT_OF_HOST_MEMORY);
        assert!(
            matches!(host, Error::Tensor(TensorError::OutOfMemory { device: Device::CPU, .. })),
            "{host}"
        );
    }

    #[test]
    fn other_statuses_are_named() {
        let text = Doing::new("copy", Device::opencl(0), 1).failed(-38).to_string();
        assert!(text.contains("CL_INVALID_MEM_OBJECT (-38)"), "{text}");
    }
}
