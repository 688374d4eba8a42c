//! Buffers that are used again.
//!
//! Fresh memory is dear because of its pages: the system maps and clears them one by one when they
//! are first touched, which takes longer than most of what is done with them. A [`Pool`] keeps host
//! memory with its pages, a [`DevicePool`] memory of a device whose allocator does not do so itself.
//!
//! A buffer is a guard: while it lives, nobody else has its memory; when it is dropped, on any
//! thread and also by a panic, the memory goes back.
//!
//! [Conversions](bridge_core::Options::pool), [stacks](bridge_convert::Stacker::pool) and [work in
//! chunks](crate::chunk::ChunkMap::pool) take their memory from pools too.
//!
//! ```
//! use bridge_memory::pool::Pool;
//!
//! let pool = Pool::new();
//! let mut squares = pool.zeroed::<f64>(1000)?;
//! squares.iter_mut().enumerate().for_each(|(index, square)| *square = (index * index) as f64);
//! drop(squares);
//!
//! // The same memory again. It still holds squares, so it is only to be written until it is full.
//! let ones = pool.uninit::<f64>(1000)?.fill(1.0);
//! assert_eq!(ones.iter().sum::<f64>(), 1000.0);
//! assert_eq!((pool.stats().hits, pool.stats().misses), (1, 1));
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod buffer;
mod device_buffer;
mod device_pool;
mod host_pool;
mod memory_source;
mod own_caches;
mod room;
mod shelf;
mod size_class;
mod slot;
mod stats;
mod store;
mod thread_cache;

pub use buffer::PooledBuffer;
pub use device_buffer::DeviceBuffer;
pub use device_pool::DevicePool;
pub use host_pool::{Pool, PoolOptions};
pub use size_class::{DecimalBuckets, Exact, QuarterSteps, SizeClass};
pub use stats::{PoolStats, Released};
