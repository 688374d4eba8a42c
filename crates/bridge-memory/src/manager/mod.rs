//! The memory manager of NLSQ, method by method, over this crate's other modules.
//!
//! [`MemoryManager`] has NLSQ's method names and numbers, for programs that come from there; new
//! programs take [`probe`](crate::probe), [`predict`](crate::predict), [`pool`](crate::pool),
//! [`budget`](crate::budget) and [`chunk`](crate::chunk) themselves. GB are 10⁹ bytes here.
//!
//! ```
//! use bridge_core::DataType;
//! use bridge_memory::manager::MemoryManager;
//!
//! let manager = MemoryManager::new();
//! let needed = manager.predict_memory_requirement(10_000, 20, "trf", DataType::F64)?;
//! assert_eq!(needed, 2_404_992);
//!
//! let guard = manager.memory_guard(needed)?; // reserved until it is dropped
//! let mut jacobian = manager.allocate_array::<f64>(&[1000, 20])?;
//! jacobian[0] = 1.0;
//! manager.free_array(jacobian);
//! drop(guard);
//! println!("{:.3} GB in use", manager.get_memory_stats()?.current_usage_gb);
//! # Ok::<(), bridge_core::Error>(())
//! ```

mod array;
mod builder;
mod fits;
mod global;
mod guard;
mod history;
mod memory_budget;
mod memory_manager;
mod resident;
mod room;
mod stats;

pub use array::PooledArray;
pub use builder::MemoryManagerBuilder;
pub use global::{clear_memory_pool, get_memory_manager, get_memory_stats};
pub use guard::MemoryGuard;
pub use memory_budget::{FitSize, FitStrategy, MemoryBudget};
pub use memory_manager::MemoryManager;
pub use stats::MemoryStats;
