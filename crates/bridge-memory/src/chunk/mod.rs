//! Work in parts: how large they are, and running over them.
//!
//! [`ChunkPlan`] says how many items fit in a limit; [`map_chunks`] runs over an array with such a
//! plan. [`Permutation`] shuffles items without a list of them, [`ChunkBuffer`] pads chunks to a few sizes, [`Progress`] says how long the rest will take.
//!
//! ```
//! use bridge_memory::chunk::ChunkPlan;
//!
//! // A hundred items of 8 bytes, beside 64 bytes that are needed once, in 200 bytes.
//! let plan = ChunkPlan::exact(100, 64, 8, 200)?;
//! assert_eq!((plan.count(), plan.chunk(), plan.bytes_per_chunk()), (6, 17, 200));
//! let lengths: Vec<_> = plan.chunks().map(|chunk| chunk.len()).collect();
//! assert_eq!(lengths, [17, 17, 17, 17, 16, 16]);
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod bucket;
mod chunks;
mod compatible;
mod exact;
mod map;
mod overlap;
mod permutation;
mod plan;
mod progress;
mod result;
mod source;

pub use bucket::{BUCKETS, ChunkBuffer, bucket};
pub use chunks::{Chunks, Shuffled, ShuffledChunks};
pub use compatible::Strategy;
pub use map::{ChunkMap, Mapped, map_chunks};
pub use permutation::Permutation;
pub use plan::{ChunkPlan, share_of};
pub use progress::Progress;
