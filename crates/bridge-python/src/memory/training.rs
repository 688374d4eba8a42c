//! Batch sizes, placement of layers, and checkpoints.

use bridge_core::Device;
use bridge_memory::training::{BatchSearch, Placement, segments};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::errors::raised;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(find_max_batch, module)?)?;
    module.add_function(wrap_pyfunction!(layer_ranges, module)?)?;
    module.add_function(wrap_pyfunction!(checkpoint_ranges, module)?)
}

/// The largest size from `least` to `most` that `fits` says yes to, found by halving; None where none
/// is. `fits` is expected to say yes to every smaller size, too.
#[pyfunction]
fn find_max_batch(
    py: Python<'_>,
    least: usize,
    most: usize,
    fits: &Bound<'_, PyAny>,
) -> PyResult<Option<usize>> {
    let search = BatchSearch::new(least..=most).map_err(|error| raised(py, &error))?;
    search.find(|size| fits.call1((size,))?.is_truthy())
}

/// Which layers, from and to, each of so many devices has.
#[pyfunction]
fn layer_ranges(py: Python<'_>, layers: usize, devices: u32) -> PyResult<Vec<(usize, usize)>> {
    let devices: Vec<_> = (0..devices).map(Device::cuda).collect();
    let placement = Placement::compatible(layers, &devices).map_err(|error| raised(py, &error))?;
    Ok(placement.ranges().iter().map(|range| (range.start, range.end)).collect())
}

/// Which layers, from and to, are in each of so many segments; the last has what is left.
#[pyfunction]
fn checkpoint_ranges(layers: usize, count: usize) -> PyResult<Vec<(usize, usize)>> {
    let ranges =
        segments(layers, count).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(ranges.into_iter().map(|range| (range.start, range.end)).collect())
}
