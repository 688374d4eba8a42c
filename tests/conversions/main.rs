//! Conversions between every two frameworks: the matrix, the rules, and failing well. One program, as
//! each that is linked costs time; what watches or changes its whole process stands beside it.

mod alignment;
mod conversion_matrix;
mod failures;
mod foreign_booleans;
mod no_silent_change;
mod observers;
mod read_only;
mod registration;
mod stacks;
#[cfg(feature = "torch")]
mod torch_files;
mod writing_through;
mod zero_copy;
