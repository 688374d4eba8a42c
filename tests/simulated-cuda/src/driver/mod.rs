//! The driver: its state, and the functions that it exports.
//!
//! From the bottom up: `code`, `clock`, `random`, `mapping` and `arguments` know nothing of the rest;
//! `memory` keeps the blocks, `work` what is queued; `simulation` owns everything and is changed by
//! `scheduler`, `access`, `copies`, `fills`, `allocation` and `contexts`; `entry` holds what is exported.

mod access;
mod allocation;
mod arguments;
mod clock;
mod code;
mod contexts;
mod copies;
mod entry;
mod faults;
mod fills;
mod guard;
mod handle;
mod host_access;
mod host_bytes;
mod kernels;
mod mapping;
mod memory;
mod pools;
mod ptx;
mod random;
mod scheduler;
mod simulation;
mod violations;
mod work;
