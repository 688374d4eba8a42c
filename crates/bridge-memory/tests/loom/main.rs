//! Budgets and pools under every order in which threads can take their steps. It needs a build of its own:
//! `RUSTFLAGS="--cfg loom" cargo test --release -p bridge-memory --test loom`, or `cargo xtask loom`.
#![cfg(loom)]

mod budget;
mod device_pool;
mod pool;
