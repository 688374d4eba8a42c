//! What training in little memory needs.

mod batch;
mod checkpoint;
mod loss_scale;
mod placement;
