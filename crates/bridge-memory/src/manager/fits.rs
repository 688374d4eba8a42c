//! What fits take, and how to divide them.

use bridge_core::{DataType, Result};

use super::memory_manager::MemoryManager;
use crate::arguments::invalid;
use crate::chunk::{ChunkPlan, Strategy, share_of};
use crate::predict::{CostModel, LeastSquares, Padded, Solver};

impl MemoryManager {
    /// Bytes that a fit takes, times the safety factor. An `algorithm` other than "trf", "lm" and
    /// "dogbox" counts as [`Solver::Other`].
    ///
    /// # Errors
    ///
    /// For a `data_type` that is no real float, and for more bytes than a `u64` has.
    pub fn predict_memory_requirement(
        &self,
        n_points: u64,
        n_params: u64,
        algorithm: &str,
        data_type: DataType,
    ) -> Result<u64> {
        let model = LeastSquares { solver: solver(algorithm), parameters: n_params, data_type };
        Padded { model, safety: self.safety_factor() }.bytes(n_points)
    }

    /// How to divide the points of a fit so that a chunk takes at most `memory_limit_gb`, or 0.8 of
    /// what is available: NLSQ's numbers, as [`ChunkPlan::compatible`] has them.
    ///
    /// # Errors
    ///
    /// For no points, for a limit that is not above 0, and for one below what a point takes, where
    /// NLSQ divides by zero; the probe's own.
    pub fn estimate_chunking_strategy(
        &self,
        n_points: usize,
        n_params: u64,
        algorithm: &str,
        memory_limit_gb: Option<f64>,
    ) -> Result<Strategy> {
        let limit = match memory_limit_gb {
            Some(gb) if gb > 0.0 && gb.is_finite() => (gb * 1e9) as u64,
            Some(gb) => {
                let expected = "it must be a finite number above 0";
                return Err(invalid("memory_limit_gb", &gb, expected));
            }
            None => share_of(self.get_available_memory()?, 0.8)?,
        };
        let predict =
            |points| self.predict_memory_requirement(points, n_params, algorithm, DataType::F64);
        predict(1)?;
        // More than all there is; no limit holds it.
        let cost = |points| predict(points).unwrap_or(u64::MAX);
        Ok(ChunkPlan::compatible(n_points, limit, cost)?.strategy())
    }
}

fn solver(algorithm: &str) -> Solver {
    match algorithm {
        "trf" => Solver::Trf,
        "lm" => Solver::Lm,
        "dogbox" => Solver::Dogbox,
        _ => Solver::Other,
    }
}
