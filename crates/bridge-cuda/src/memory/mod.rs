//! Memory of a GPU, pinned memory and managed memory, and new tensors in each.

pub(crate) mod allocate;
pub(crate) mod device_block;
pub(crate) mod managed;
pub(crate) mod pinned;
