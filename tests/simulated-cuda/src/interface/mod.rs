//! What the driver and those who control it both know: it crosses between them as text or as C structs.

pub(crate) mod config;
pub(crate) mod counters;
pub(crate) mod fault;
pub(crate) mod fields;
pub(crate) mod launch;
pub(crate) mod violation;
