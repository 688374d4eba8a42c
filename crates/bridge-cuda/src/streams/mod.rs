//! The order of work: which stream it goes to, and what waits for what.

pub(crate) mod choice;
pub(crate) mod home;
pub(crate) mod pending;
