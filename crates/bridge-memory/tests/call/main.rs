//! Calls of functions with arrays of any framework, as their users see them.
#![forbid(unsafe_code)]

use bridge_cpu as _;

mod attribute;
mod budgets;
mod by_slice;
mod functions;
mod recovery;
mod rescaling;
mod support;
