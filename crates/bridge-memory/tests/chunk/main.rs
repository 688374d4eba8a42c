//! Running over arrays chunk by chunk.

mod fails;
mod maps;
mod overlap;
mod support;
