//! Conversions from one framework to another.

use std::fmt;

use bridge_convert::Plan;
use bridge_core::{Device, Result};

use super::cost_model::CostModel;

/// The memory that a conversion takes on one device, by its plan; what the items are is for the
/// function to say that plans: the rows of an array, say.
///
/// Plans are exact but not a fixed cost and a cost per item, so it has no
/// [`fixed_and_per_item`](CostModel::fixed_and_per_item).
///
/// ```
/// use bridge_convert::Plan;
/// use bridge_core::{Accepts, DataType, Description, Device, Layout, ManagedTensor, Options};
/// use bridge_memory::predict::{Conversion, CostModel};
///
/// const THEIRS: Accepts = Accepts::host(&[DataType::F32]);
/// let one = ManagedTensor::from_vec(vec![0_f64; 10], &[1, 10])?.describe();
/// let cost = Conversion::new(Device::CPU, |rows| {
///     let rows = Description { layout: Layout::row_major(&[rows as usize, 10])?, ..one.clone() };
///     Plan::new(("mine", &rows), ("theirs", &THEIRS), &Options::default().cast(DataType::F32))
/// });
/// assert_eq!(cost.bytes(1000)?, 1000 * 10 * 4); // the cast's result
/// # Ok::<(), bridge_core::Error>(())
/// ```
pub struct Conversion<F> {
    device: Device,
    plan: F,
}

impl<F: Fn(u64) -> Result<Plan> + Send + Sync> Conversion<F> {
    /// What the conversion that `plan` plans for a number of items takes on `device`.
    pub fn new(device: Device, plan: F) -> Self {
        Self { device, plan }
    }
}

impl<F: Fn(u64) -> Result<Plan> + Send + Sync> CostModel for Conversion<F> {
    fn bytes(&self, items: u64) -> Result<u64> {
        let peaks = (self.plan)(items)?.peaks;
        Ok(peaks.iter().find(|peak| peak.device == self.device).map_or(0, |peak| peak.bytes))
    }
}

impl<F> fmt::Debug for Conversion<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion").field("device", &self.device).finish_non_exhaustive()
    }
}
