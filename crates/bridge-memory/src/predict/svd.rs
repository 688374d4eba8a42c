//! Singular value decompositions.

use bridge_core::{DataType, Result};

use super::cost_model::CostModel;
use super::sums::{affine, element_bytes, total};
use crate::arguments::invalid;

/// Which singular vectors are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SvdVectors {
    /// None: only the singular values (LAPACK's `N`).
    None,
    /// As many as there are singular values (LAPACK's `S`).
    Thin,
    /// All (LAPACK's `A`).
    Full,
}

/// The memory of singular value decompositions; the items are the matrices of a batch.
///
/// Each takes its matrix and its results. What LAPACK's `gesdd` works in is there once, as matrices
/// are decomposed one after another: a copy of the matrix, which it overwrites, and its work arrays.
/// With `k` the smaller and `l` the larger side those have, in elements,
///
/// | vectors | real | complex | real numbers beside complex ones |
/// | --- | --- | --- | --- |
/// | none | `3k + max(l, 7k)` | `2k + l` | `7k` |
/// | thin | `4k² + 7k` | `k² + 3k` | `max(5k² + 5k, 2kl + 2k² + k)` |
/// | full | `4k² + 6k + l` | `k² + 2k + l` | the same |
///
/// which is the least that it asks for, and 32 (`k` + `l`) more for working on blocks, as libraries
/// do where they are let; also 8 `k` integers.
///
/// ```
/// use bridge_core::DataType;
/// use bridge_memory::predict::{CostModel, Svd, SvdVectors};
///
/// let thin = Svd::new((1000, 20), SvdVectors::Thin, DataType::F64);
/// let full = Svd { vectors: SvdVectors::Full, ..thin };
/// assert!(full.bytes(1)? > 10 * thin.bytes(1)?); // 1000 × 1000 left vectors
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Svd {
    /// Rows of a matrix.
    pub rows: u64,
    /// Columns of a matrix.
    pub columns: u64,
    /// Which vectors are wanted.
    pub vectors: SvdVectors,
    /// The type of the elements: real or complex floats.
    pub data_type: DataType,
    /// Bytes of one of LAPACK's integers: 4, or 8 where it is built for 64-bit ones.
    pub integer_bytes: u64,
}

impl Svd {
    /// Decompositions of matrices of this shape, with integers of 64 bits.
    pub fn new((rows, columns): (u64, u64), vectors: SvdVectors, data_type: DataType) -> Self {
        Self { rows, columns, vectors, data_type, integer_bytes: 8 }
    }

    fn parts(&self) -> Result<(u64, u64)> {
        let element = self.data_type;
        if !(element.is_float() || element.is_complex()) {
            return Err(invalid(
                "data_type",
                &element,
                "a decomposition needs real or complex floats",
            ));
        }
        let b = element_bytes(element)?;
        let real = if element.is_complex() { b / 2 } else { b };
        let (m, n) = (self.rows, self.columns);
        let (k, l) = (m.min(n), m.max(n));
        let matrix: &[u64] = &[b, m, n];
        let values: &[u64] = &[real, k];
        let vectors: [&[u64]; 2] = match self.vectors {
            SvdVectors::None => [&[0], &[0]],
            SvdVectors::Thin => [&[b, m, k], &[b, k, n]],
            SvdVectors::Full => [&[b, m, m], &[b, n, n]],
        };
        let per_item = total(WHAT, &[matrix, values, vectors[0], vectors[1]])?;
        let (work, beside) = if element.is_complex() {
            (self.complex_work(k, l)?, self.real_work_beside(k, l)?)
        } else {
            (self.real_work(k, l)?, 0)
        };
        let blocks: [&[u64]; 2] = [&[b, 32, k], &[b, 32, l]];
        let integers: &[u64] = &[self.integer_bytes, 8, k];
        let fixed = [matrix, &[b, work], &[real, beside], blocks[0], blocks[1], integers];
        Ok((total(WHAT, &fixed)?, per_item))
    }

    fn real_work(&self, k: u64, l: u64) -> Result<u64> {
        match self.vectors {
            SvdVectors::None => total(WHAT, &[&[3, k], &[l.max(k.saturating_mul(7))]]),
            SvdVectors::Thin => total(WHAT, &[&[4, k, k], &[7, k]]),
            SvdVectors::Full => total(WHAT, &[&[4, k, k], &[6, k], &[l]]),
        }
    }

    fn complex_work(&self, k: u64, l: u64) -> Result<u64> {
        match self.vectors {
            SvdVectors::None => total(WHAT, &[&[2, k], &[l]]),
            SvdVectors::Thin => total(WHAT, &[&[k, k], &[3, k]]),
            SvdVectors::Full => total(WHAT, &[&[k, k], &[2, k], &[l]]),
        }
    }

    fn real_work_beside(&self, k: u64, l: u64) -> Result<u64> {
        if self.vectors == SvdVectors::None {
            return total(WHAT, &[&[7, k]]);
        }
        let small = total(WHAT, &[&[5, k, k], &[5, k]])?;
        Ok(small.max(total(WHAT, &[&[2, k, l], &[2, k, k], &[k]])?))
    }
}

const WHAT: &str = "a singular value decomposition";

impl CostModel for Svd {
    fn bytes(&self, matrices: u64) -> Result<u64> {
        affine(WHAT, self.parts()?, matrices)
    }

    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        self.parts().ok()
    }
}
