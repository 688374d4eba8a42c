//! Conversion between the backends that are linked into a program: planned, carried out and
//! reported.
//!
//! - **By type**: [`Convert`], resolved when the program is compiled, and [`AndConvert`], one after another.
//! - **By name**: [`ConvertByName`], the target found at run time.
//! - **Before, after, during**: a [`Plan`], a [`Report`], an [`Observer`].
//! - **Many arrays**: [`convert_all`], [`convert_each`], [`stack`], [`Stacker`], [`unstack`],
//!   [`map_slices`], [`SliceMap`].
//!
//! The options, errors and traits are those of [`bridge_core`]. Programs use the package
//! `arraybridge`, which re-exports all of it.

mod batch;
mod by_name;
mod by_type;
mod chain;
mod copies;
mod landing;
mod observe;
mod plan;
mod report;
mod route;
mod slices;
mod stack;
mod type_name;

pub use batch::{Batch, convert_all, convert_each};
pub use by_name::ConvertByName;
pub use by_type::{Convert, Erased};
pub use chain::AndConvert;
pub use observe::{Count, Counters, Observer, Record, Row, Watching, observe};
pub use plan::{Peaks, Plan, Step, Steps};
pub use report::Report;
pub use slices::{SliceMap, map_slices, unstack};
pub use stack::{Stacker, stack};
