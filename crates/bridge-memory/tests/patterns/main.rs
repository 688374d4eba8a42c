//! Conversions kept, put off and merged; devices given out to threads.

mod assigners;
mod caches;
mod environments;
mod pipelines;
mod streams;
mod support;
