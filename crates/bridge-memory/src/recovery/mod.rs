//! Recovery from out of memory, in any framework.
