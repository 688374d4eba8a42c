//! Room beyond what a model predicts.

use bridge_core::Result;

use super::cost_model::CostModel;
use super::sums::too_large;
use crate::arguments::factor;

/// What a prediction is multiplied by: 1 or more.
///
/// ```
/// use bridge_memory::predict::SafetyFactor;
///
/// assert_eq!(SafetyFactor::new(1.5)?.apply(1001)?, 1501); // the product's whole part
/// assert_eq!(SafetyFactor::NONE.apply(1001)?, 1001);
/// assert!(SafetyFactor::new(0.9).is_err());
/// assert!(SafetyFactor::new(f64::NAN).is_err());
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct SafetyFactor(f64);

impl SafetyFactor {
    /// 1: the prediction itself.
    pub const NONE: Self = Self(1.0);
    /// 1.2.
    pub const DEFAULT: Self = Self(1.2);

    /// This factor.
    ///
    /// # Errors
    ///
    /// An invalid argument where it is below 1 or no finite number.
    pub fn new(value: f64) -> Result<Self> {
        factor("the safety factor", value, 1.0).map(Self)
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The bytes times the factor, the product's whole part, as 64-bit floats have it; never less
    /// than `bytes`.
    ///
    /// # Errors
    ///
    /// [`TensorError::TooLarge`](bridge_core::TensorError::TooLarge) where that does not fit a
    /// `u64`.
    pub fn apply(self, bytes: u64) -> Result<u64> {
        const TOO_MANY: f64 = 18_446_744_073_709_551_616.0; // 2^64
        if self == Self::NONE {
            return Ok(bytes);
        }
        let product = bytes as f64 * self.0;
        if product >= TOO_MANY {
            return Err(too_large(&format!("{bytes} bytes times {}", self.0)));
        }
        // Above 2^53 the float for `bytes` can be smaller than it, by less than any factor adds.
        Ok(product as u64)
    }
}

impl Default for SafetyFactor {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A model with room beyond what it predicts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Padded<M> {
    /// What predicts.
    pub model: M,
    /// What its predictions are multiplied by.
    pub safety: SafetyFactor,
}

impl<M: CostModel> CostModel for Padded<M> {
    fn bytes(&self, items: u64) -> Result<u64> {
        self.safety.apply(self.model.bytes(items)?)
    }

    /// Both costs times the factor, and a byte more each for what the whole parts leave out.
    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        let parts = self.model.fixed_and_per_item()?;
        if self.safety == SafetyFactor::NONE {
            return Some(parts);
        }
        let rounded_up = |bytes| self.safety.apply(bytes).ok()?.checked_add(1);
        Some((rounded_up(parts.0)?, rounded_up(parts.1)?))
    }
}
