//! What conversions do, shown with small backends over host memory.

mod accelerator;
mod admission;
mod array_types;
mod batches;
mod choices;
mod devices;
mod observers;
mod plan;
mod shortcuts;
mod slices;
mod stacks;
mod support;
