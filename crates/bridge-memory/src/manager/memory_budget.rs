//! Whether a fit is done at once, in chunks, or as a stream.

use bridge_core::Result;
use serde::Serialize;

use super::memory_manager::MemoryManager;
use crate::arguments::invalid;

/// What a fit takes and what there is, in gibibytes (2³⁰ bytes): NLSQ's `MemoryBudget`.
///
/// ```
/// use bridge_memory::manager::{FitSize, FitStrategy, MemoryBudget};
///
/// let budget = MemoryBudget::compute(FitSize::new(100_000_000, 5), 0.75, 4.0)?;
/// assert_eq!((budget.threshold_gb, budget.data_gb > 1.4), (3.0, true));
/// assert_eq!(budget.strategy(), FitStrategy::Chunked { chunk_size: 1_000_000 });
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryBudget {
    /// What is available.
    pub available_gb: f64,
    /// The part of it that may be taken.
    pub threshold_gb: f64,
    /// The points: their features, and the value at each.
    pub data_gb: f64,
    /// The Jacobian matrix.
    pub jacobian_gb: f64,
    /// The most at one time: data, 1.3 Jacobians, and a tenth of a gibibyte.
    pub peak_gb: f64,
    /// Of which the strategy's sizes depend.
    n_params: u64,
}

/// How large a fit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitSize {
    /// Points.
    pub n_points: u64,
    /// Parameters of the model.
    pub n_params: u64,
    /// Numbers that a point is, its value not counted.
    pub n_features: u64,
    /// Bytes of a number.
    pub dtype_bytes: u64,
}

impl FitSize {
    /// Of points of one number each, of 8 bytes.
    pub fn new(n_points: u64, n_params: u64) -> Self {
        Self { n_points, n_params, n_features: 1, dtype_bytes: 8 }
    }
}

/// How a fit is done that takes so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum FitStrategy {
    /// All points at once.
    Standard,
    /// All points are there, and a Jacobian of so many at a time.
    Chunked {
        /// Points, 1000 to 1,000,000.
        chunk_size: u64,
    },
    /// So many points are there at a time.
    Streaming {
        /// Points, 1000 to 1,000,000.
        batch_size: u64,
    },
}

const GIB: f64 = (1_u64 << 30) as f64;

impl MemoryBudget {
    /// What a fit of this size takes, where `available_gb` gibibytes are there, of which the part
    /// `safety_factor` may be taken (NLSQ's is 0.75).
    ///
    /// # Errors
    ///
    /// For no points or no parameters, a factor that is not above 0 and at most 1, and available
    /// memory that is not finite and above 0.
    pub fn compute(size: FitSize, safety_factor: f64, available_gb: f64) -> Result<Self> {
        for (what, number) in [("n_points", size.n_points), ("n_params", size.n_params)] {
            if number == 0 {
                return Err(invalid(what, &number, "it must be at least 1"));
            }
        }
        if !(safety_factor > 0.0 && safety_factor <= 1.0) {
            let expected = "it must be above 0 and at most 1";
            return Err(invalid("safety_factor", &safety_factor, expected));
        }
        if !(available_gb > 0.0 && available_gb.is_finite()) {
            let expected = "it must be a finite number above 0";
            return Err(invalid("available_gb", &available_gb, expected));
        }
        let points_gb = size.n_points as f64 * size.dtype_bytes as f64 / GIB;
        let data_gb = points_gb * (size.n_features as f64 + 1.0);
        let jacobian_gb = points_gb * size.n_params as f64;
        Ok(Self {
            available_gb,
            threshold_gb: available_gb * safety_factor,
            data_gb,
            jacobian_gb,
            peak_gb: data_gb + 1.3 * jacobian_gb + 0.1,
            n_params: size.n_params,
        })
    }

    /// Streaming where the data alone are above the threshold, chunks where the peak is above nine
    /// tenths of it, else all at once: NLSQ's rules and sizes.
    pub fn strategy(&self) -> FitStrategy {
        let points = |share: f64| {
            let each = 16.0 + 8.0 * self.n_params as f64;
            (share * self.threshold_gb * GIB / each).clamp(1e3, 1e6) as u64
        };
        if self.data_gb > self.threshold_gb {
            FitStrategy::Streaming { batch_size: points(0.5) }
        } else if self.peak_gb > 0.9 * self.threshold_gb {
            FitStrategy::Chunked { chunk_size: points(0.75) }
        } else {
            FitStrategy::Standard
        }
    }
}

impl MemoryManager {
    /// What a fit takes of the memory that is available now.
    ///
    /// # Errors
    ///
    /// As [`MemoryBudget::compute`], and the probe's own.
    pub fn memory_budget(&self, size: FitSize, safety_factor: f64) -> Result<MemoryBudget> {
        let available_gb = self.get_available_memory()? as f64 / GIB;
        MemoryBudget::compute(size, safety_factor, available_gb)
    }
}
