//! Which of tch's errors say that memory ran out.

use std::io;

use tch::TchError;

/// What libtorch says where memory ran out, each a sentence that only that error has.
const SENTENCES: [&str; 5] = [
    // c10::cuda, the caching allocator.
    "CUDA out of memory. Tried to allocate ",
    "CUDA out of memory. Allocation was preemptively rejected",
    // c10, the host.
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate ",
    "DefaultCPUAllocator: not enough memory: you tried to allocate ",
    "C10 Out of Memory. Trying to allocate ",
];

/// How errors begin whose call failed for lack of memory: of the CUDA runtime, and of libraries that
/// allocate workspace.
const BEGINNINGS: [&str; 3] = [
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
];

pub(crate) fn is_out_of_memory(error: &TchError) -> bool {
    match error {
        TchError::Torch(text) => {
            // What follows is the place in libtorch, which names whatever was called.
            let said = text.split("\nException raised from ").next().unwrap_or(text);
            BEGINNINGS.iter().any(|beginning| said.starts_with(beginning))
                || SENTENCES.iter().any(|sentence| said.contains(sentence))
        }
        TchError::Io(error) => error.kind() == io::ErrorKind::OutOfMemory,
        _ => false,
    }
}
