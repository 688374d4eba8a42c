//! How many bytes computations take.

#![forbid(unsafe_code)]

mod linear_algebra;
mod models;
mod safety;
mod solvers;
