//! Host memory tools.
