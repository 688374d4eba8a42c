//! What training in little memory needs: batch sizes, placement, checkpoints, loss scaling.
