//! Nonlinear least-squares fits.

use std::fmt;

use bridge_core::{DataType, Result};

use super::cost_model::CostModel;
use super::sums::{element_bytes, total};
use crate::arguments::invalid;

/// How a fit is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Solver {
    /// Trust region reflective.
    Trf,
    /// Levenberg–Marquardt.
    Lm,
    /// Dogleg in a box.
    Dogbox,
    /// Any other: counts a second Jacobian in place of what the others are known to keep.
    Other,
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trf => "trf",
            Self::Lm => "lm",
            Self::Dogbox => "dogbox",
            Self::Other => "other",
        })
    }
}

/// The memory of a fit of `parameters` parameters; the items are the points.
///
/// With `n` points, `p` parameters and `b` bytes an element:
///
/// | solver | bytes |
/// | --- | --- |
/// | [`Trf`](Solver::Trf) | `b (n (p + 5) + 6 p + min(n, p)²)` |
/// | [`Lm`](Solver::Lm) | `b (n (p + 4) + 4 p + p²)` |
/// | [`Dogbox`](Solver::Dogbox) | `b (n (p + 6) + 7 p + min(n, p)²)` |
/// | [`Other`](Solver::Other) | `b (2 n (p + 1) + p)` |
///
/// From `p` points on each is a fixed cost and a cost per point, exactly; below, trf and dogbox take
/// less than those say.
///
/// ```
/// use bridge_core::DataType;
/// use bridge_memory::predict::{CostModel, LeastSquares, Solver};
///
/// let fit = LeastSquares::new(Solver::Lm, 3);
/// assert_eq!(fit.bytes(1000)?, 8 * (1000 * 7 + 12 + 9));
/// assert_eq!(fit.fixed_and_per_item(), Some((8 * 21, 8 * 7)));
/// let half = LeastSquares { data_type: DataType::F16, ..fit };
/// assert_eq!(half.bytes(1000)? * 4, fit.bytes(1000)?);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastSquares {
    /// How it is solved.
    pub solver: Solver,
    /// How many parameters are fitted.
    pub parameters: u64,
    /// The type of the elements: a real floating-point type.
    pub data_type: DataType,
}

impl LeastSquares {
    /// A fit in `float64`.
    pub fn new(solver: Solver, parameters: u64) -> Self {
        Self { solver, parameters, data_type: DataType::F64 }
    }

    /// Bytes of one element.
    fn element(&self) -> Result<u64> {
        if !self.data_type.is_float() {
            return Err(invalid("data_type", &self.data_type, "a fit needs a real float type"));
        }
        element_bytes(self.data_type)
    }

    /// What `points` points take where `square` rows and columns stand for `min(n, p)`.
    fn with_square(&self, points: u64, square: u64) -> Result<u64> {
        let (b, n, p) = (self.element()?, points, self.parameters);
        let what = format!("a {} fit", self.solver);
        let jacobian: &[u64] = &[b, n, p];
        match self.solver {
            Solver::Trf => total(&what, &[jacobian, &[b, n, 5], &[b, p, 6], &[b, square, square]]),
            Solver::Lm => total(&what, &[jacobian, &[b, n, 4], &[b, p, 4], &[b, p, p]]),
            Solver::Dogbox => {
                total(&what, &[jacobian, &[b, n, 6], &[b, p, 7], &[b, square, square]])
            }
            Solver::Other => total(&what, &[jacobian, jacobian, &[b, n, 2], &[b, p]]),
        }
    }
}

impl CostModel for LeastSquares {
    fn bytes(&self, points: u64) -> Result<u64> {
        self.with_square(points, points.min(self.parameters))
    }

    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        let fixed = self.with_square(0, self.parameters).ok()?;
        let with_one = self.with_square(1, self.parameters).ok()?;
        Some((fixed, with_one - fixed))
    }
}
