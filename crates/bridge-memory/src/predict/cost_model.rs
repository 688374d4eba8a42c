//! What can say how many bytes work takes.

use bridge_core::Result;

use super::sums::total;

/// Says how many bytes work on a number of items takes at its peak.
///
/// Every closure `Fn(u64) -> u64` is a model; let it saturate where it could overflow
/// (`n.saturating_mul(24)`), as nothing fits that many bytes. [`Affine`] is one that is checked.
///
/// ```
/// use bridge_memory::predict::{Affine, CostModel};
///
/// struct Table {
///     columns: u64,
/// }
///
/// impl CostModel for Table {
///     fn bytes(&self, rows: u64) -> bridge_core::Result<u64> {
///         Affine { fixed: 1024, per_item: self.columns.saturating_mul(8) }.bytes(rows)
///     }
/// }
/// assert_eq!(Table { columns: 4 }.bytes(1000)?, 33_024);
///
/// let models: [&dyn CostModel; 2] = [&Table { columns: 4 }, &|rows: u64| rows.saturating_mul(32)];
/// assert_eq!(models[1].bytes(1000)?, 32_000);
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub trait CostModel: Send + Sync {
    /// The most bytes that `items` items take at any time. More items take no fewer bytes.
    ///
    /// # Errors
    ///
    /// [`TensorError::TooLarge`](bridge_core::TensorError::TooLarge) where the number does not fit
    /// a `u64`; an invalid argument where the model itself is not valid.
    fn bytes(&self, items: u64) -> Result<u64>;

    /// Bytes that any number of items takes, and bytes that each item adds: `fixed + per_item × n`
    /// is never less than [`bytes`](Self::bytes) of `n`, and close to it for large `n`. `None`, as
    /// by default, where the model has no such numbers.
    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        None
    }
}

impl<F: Fn(u64) -> u64 + Send + Sync> CostModel for F {
    fn bytes(&self, items: u64) -> Result<u64> {
        Ok(self(items))
    }
}

/// So many bytes whatever the number of items, and so many for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affine {
    /// Bytes that any number of items takes.
    pub fixed: u64,
    /// Bytes that each item adds.
    pub per_item: u64,
}

impl CostModel for Affine {
    fn bytes(&self, items: u64) -> Result<u64> {
        total("the work", &[&[self.fixed], &[self.per_item, items]])
    }

    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        Some((self.fixed, self.per_item))
    }
}
