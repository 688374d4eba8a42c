//! Conversions kept, put off and merged; devices given out to threads.
//!
//! - [`ConversionSource`]: an array that several convert from.
//! - [`ConversionCache`]: conversions of shared arrays, each made once and freed with its source.
//! - [`Lazy`]: one array whose conversions are made when they are asked for.
//! - [`Pipeline`]: conversions and functions in a row, without the conversions that lead nowhere.
//! - [`DeviceAssigner`]: which device a thread or a process shall use.
//! - [`ThreadStreams`]: one stream a thread and device.

mod assigner;
mod cache;
mod conversion_source;
mod environment;
mod hops;
mod lazy;
mod pipeline;
mod pipeline_error;
mod streams;

pub use assigner::DeviceAssigner;
pub use cache::{ConversionCache, Converted, Held};
pub use conversion_source::ConversionSource;
pub use environment::{DEVICE, DEVICES, WORKER};
pub use lazy::Lazy;
pub use pipeline::Pipeline;
pub use pipeline_error::PipelineError;
pub use streams::ThreadStreams;
