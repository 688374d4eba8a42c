//! What holds on every driver: the machine's where there is one that is asked for, else the simulated one.

mod casts;
mod conformance;
#[path = "../support/mod.rs"]
mod support;
mod transfers;
mod two_streams;
