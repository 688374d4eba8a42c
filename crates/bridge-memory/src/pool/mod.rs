//! Buffers that are used again.
