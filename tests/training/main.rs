//! Activations that are computed again, with frameworks that take gradients: the gradients are the
//! same, and less memory is in use at once.

mod candle;
mod memory;
#[cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]
mod torch;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Layers of the network, and its segments.
const LAYERS: usize = 24;
/// Rows of the input.
const BATCH: usize = 512;
/// Columns of each activation: 64 KiB of `f32` all in all.
const WIDTH: usize = 32;

/// Memory is measured for one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that are different, and no larger than one.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|number| ((number * 7919 + seed * 104_729) % 2003) as f32 / 2003.0 - 0.5)
        .collect()
}

/// What a pass took and gave.
struct Pass {
    /// The most bytes in use at once, beyond those at its start.
    peak: usize,
    /// The gradient of the input, and those of the weights.
    gradients: Vec<Vec<f32>>,
}

/// The gradients are the same, and the peak is below half.
fn compare(plain: &Pass, recomputed: &Pass) {
    assert_eq!(plain.gradients.len(), LAYERS + 1);
    for (one, other) in plain.gradients.iter().zip(&recomputed.gradients) {
        let largest = one.iter().fold(0_f32, |most, x| most.max(x.abs()));
        assert!(largest > 0.0, "the gradient vanished");
        for (x, y) in one.iter().zip(other) {
            assert!((x - y).abs() <= 1e-4 * largest, "{x} and {y}");
        }
    }
    let (whole, part) = (plain.peak, recomputed.peak);
    let kept = LAYERS * BATCH * WIDTH * size_of::<f32>();
    assert!(whole > kept, "{whole} bytes: the plain pass keeps every layer's activations");
    assert!(part * 2 < whole, "{part} bytes with checkpoints, {whole} without");
}
