//! What least-squares fits take, and how to divide them.

use bridge_core::DataType;
use bridge_memory::chunk::{ChunkPlan, bucket};
use bridge_memory::manager::{FitSize, FitStrategy, MemoryBudget};
use bridge_memory::predict::{CostModel as _, LeastSquares, Solver};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::raised;
use super::plain::plain;
use super::size::Size;

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(fit_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(fit_chunks, module)?)?;
    module.add_function(wrap_pyfunction!(fit_budget, module)?)?;
    module.add_function(wrap_pyfunction!(chunk_bucket, module)?)
}

/// Bytes that a fit takes, without a safety factor, where a number has `width` bytes: 4 or 8.
#[pyfunction]
fn fit_bytes(
    py: Python<'_>,
    n_points: Size,
    n_params: Size,
    algorithm: &str,
    width: u8,
) -> PyResult<u64> {
    model(n_params.0, algorithm, width).bytes(n_points.0).map_err(|error| raised(py, &error))
}

/// How the points of a fit are divided so that a chunk takes at most `limit` bytes.
#[pyfunction]
fn fit_chunks<'py>(
    py: Python<'py>,
    n_points: usize,
    n_params: Size,
    algorithm: &str,
    safety_factor: f64,
    limit: Size,
) -> PyResult<Bound<'py, PyAny>> {
    if !(safety_factor > 0.0 && safety_factor.is_finite()) {
        let text = format!("the safety factor is {safety_factor}: it must be a number above 0");
        return Err(PyValueError::new_err(text));
    }
    let model = model(n_params.0, algorithm, 8);
    model.bytes(1).map_err(|error| raised(py, &error))?;
    // More than all there is: no limit holds it. The product's whole part, as Python's `int` has it.
    let cost = |points| {
        let bytes = model.bytes(points).unwrap_or(u64::MAX);
        (bytes as f64 * safety_factor) as u64
    };
    let plan =
        ChunkPlan::compatible(n_points, limit.0, cost).map_err(|error| raised(py, &error))?;
    plain(py, &plan.strategy())
}

/// What a fit takes of `available_gb` gibibytes, and how it is done.
#[pyfunction]
fn fit_budget<'py>(
    py: Python<'py>,
    size: (u64, u64, u64, u64),
    safety_factor: f64,
    available_gb: f64,
) -> PyResult<Bound<'py, PyDict>> {
    let (n_points, n_params, n_features, dtype_bytes) = size;
    let size = FitSize { n_points, n_params, n_features, dtype_bytes };
    let budget = MemoryBudget::compute(size, safety_factor, available_gb)
        .map_err(|error| raised(py, &error))?;
    let dict = PyDict::new(py);
    dict.set_item("available_gb", budget.available_gb)?;
    dict.set_item("threshold_gb", budget.threshold_gb)?;
    dict.set_item("data_gb", budget.data_gb)?;
    dict.set_item("jacobian_gb", budget.jacobian_gb)?;
    dict.set_item("peak_gb", budget.peak_gb)?;
    let (strategy, points) = match budget.strategy() {
        FitStrategy::Standard => ("standard", None),
        FitStrategy::Chunked { chunk_size } => ("chunked", Some(chunk_size)),
        FitStrategy::Streaming { batch_size } => ("streaming", Some(batch_size)),
    };
    dict.set_item("strategy", strategy)?;
    dict.set_item("points", points)?;
    Ok(dict)
}

/// The size that a chunk of so many items is padded to; None where it is larger than all of them.
#[pyfunction]
fn chunk_bucket(items: usize) -> Option<usize> {
    bucket(items)
}

fn model(parameters: u64, algorithm: &str, width: u8) -> LeastSquares {
    let solver = match algorithm {
        "trf" => Solver::Trf,
        "lm" => Solver::Lm,
        "dogbox" => Solver::Dogbox,
        _ => Solver::Other,
    };
    let data_type = if width == 4 { DataType::F32 } else { DataType::F64 };
    LeastSquares { solver, parameters, data_type }
}
