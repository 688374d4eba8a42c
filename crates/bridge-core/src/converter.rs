//! Shortcuts between two backends.

use std::any::TypeId;

use bridge_tensor::Description;

use crate::admission::DeviceBytes;
use crate::array::Array;
use crate::error::Refused;
use crate::options::Options;

/// A shortcut from one backend to another that beats the general way.
///
/// The planner asks it only where the general way would have to copy. What it makes must be equal,
/// in elements, element type and shape, to what the general way makes, and keep the options.
pub trait Converter: Send + Sync + 'static {
    /// The backend converted from.
    fn source(&self) -> &'static str;

    /// The backend converted to.
    fn target(&self) -> &'static str;

    /// The array type it makes, as `TypeId::of`. It is asked only where that type is wanted.
    fn target_type(&self) -> TypeId;

    /// What it does, in a word or two for plans and reports: "take the slice".
    fn name(&self) -> &'static str;

    /// Whether it can convert such an array under these options, without copying. No element is
    /// touched.
    fn applies(&self, source: &Description, options: &Options) -> bool;

    /// The most memory that it takes at any time, on each device that it takes any on: what a budget
    /// admits before it converts. `result` is where the result lies and how many bytes its elements are.
    ///
    /// By default it takes this much, as one that makes its result anew does. One that hands memory over
    /// answers with nothing, `Vec::new()`; one that needs staging memory adds it. No element is touched.
    fn peaks(&self, source: &Description, result: DeviceBytes) -> Vec<DeviceBytes> {
        let _ = source;
        vec![result]
    }

    /// Converts.
    ///
    /// # Errors
    ///
    /// Where it cannot; the array comes back, and the general way is taken.
    fn convert(&self, array: Array, options: &Options) -> Result<Array, Refused<Array>>;
}
