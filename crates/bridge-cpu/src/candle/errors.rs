//! Which of candle's errors say that memory ran out.

use std::collections::TryReserveError;
use std::error::Error as StdError;
use std::io;

use candle_core::Error;

/// How cudarc and cuBLAS print the codes for no memory. The types of the errors that candle boxes
/// exist only where it is built with CUDA, so the variant and the printed code are what tells.
const CUDA_CODES: [&str; 3] = [
    "DriverError(CUDA_ERROR_OUT_OF_MEMORY",
    "CublasError(CUBLAS_STATUS_ALLOC_FAILED",
    "CurandError(CURAND_STATUS_ALLOCATION_FAILED",
];

/// Looks through what candle wraps around an error: paths, contexts, backtraces. On the CPU candle
/// reports no lack of memory: its allocations end the process.
pub(super) fn is_out_of_memory(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<Error>().is_some_and(candles)
}

/// What candle wraps may be the standard library's, too.
fn wrapped(error: &(dyn StdError + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    is_out_of_memory(error)
        || error.is::<TryReserveError>()
        || io.is_some_and(|io| io.kind() == io::ErrorKind::OutOfMemory)
}

fn candles(error: &Error) -> bool {
    match error {
        Error::WithBacktrace { inner, .. }
        | Error::Context { inner, .. }
        | Error::WithPath { inner, .. } => candles(inner),
        Error::WrappedContext { wrapped: inner, .. } => wrapped(&**inner),
        Error::Io(io) => io.kind() == io::ErrorKind::OutOfMemory,
        Error::Cuda(boxed) => {
            let text = boxed.to_string();
            CUDA_CODES.iter().any(|code| text.starts_with(code))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bridge_core::Backend;

    use super::super::Candle;
    use super::*;

    /// What cudarc's errors print: its type is not there without CUDA.
    #[derive(Debug)]
    struct Printed(&'static str);

    impl std::fmt::Display for Printed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Printed {}

    fn cuda(printed: &'static str) -> Error {
        Error::Cuda(Box::new(Printed(printed)))
    }

    fn out_of_memory() -> Error {
        cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
    }

    fn io(kind: io::ErrorKind) -> Error {
        Error::Io(kind.into())
    }

    fn wrapped(inner: impl StdError + Send + Sync + 'static) -> Error {
        Error::WrappedContext { wrapped: Box::new(inner), context: "while loading".to_owned() }
    }

    #[test]
    fn out_of_memory_is_told_by_variant_and_code_and_near_misses_are_not() {
        let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        let reserve = Vec::<u64>::new().try_reserve(usize::MAX).unwrap_err();
        for (error, expected) in [
            (out_of_memory(), true),
            (out_of_memory().context("in layer 3").with_path("weights.safetensors"), true),
            (wrapped(out_of_memory()), true),
            (wrapped(reserve), true),
            (io(io::ErrorKind::OutOfMemory), true),
            (wrapped(io::Error::from(io::ErrorKind::OutOfMemory)), true),
            (cuda("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"), true),
            (cuda("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access\")"), false),
            (cuda("DriverError(CUDA_ERROR_INVALID_VALUE, \"invalid argument\")"), false),
            (cuda("DriverError(CUDA_ERROR_INVALID_HANDLE, \"invalid resource handle\")"), false),
            (cuda("CublasError(CUBLAS_STATUS_EXECUTION_FAILED)"), false),
            (cuda("missing kernel 'out of memory'"), false),
            (io(io::ErrorKind::NotFound), false),
            (Error::Msg(text.to_owned()), false),
            (Error::wrap(text), false),
            (wrapped(Printed(text)), false),
        ] {
            assert_eq!(Candle.is_out_of_memory(&error), expected, "{error:?}");
        }
    }
}
