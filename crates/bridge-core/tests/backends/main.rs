//! What backends answer, and what the registry makes of what is registered.

#[macro_use]
mod asked;
mod answers;
mod devices;
mod disabled;
mod found;
mod program;
mod tables;
