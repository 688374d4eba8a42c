//! The scenes of the guides that this crate comes from, written anew: advanced topics of arraybridge
//! (seed 000), memory optimization of Panther (seed 002), the memory manager of NLSQ (seed 003).

mod manager;
mod manager_faults;
mod optimization;
mod recovery_and_patterns;
#[path = "../patterns/support.rs"]
mod support;
