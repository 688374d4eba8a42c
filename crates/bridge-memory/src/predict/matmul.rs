//! Products of matrices.

use bridge_core::{DataType, Result};

use super::cost_model::CostModel;
use super::sums::{affine, element_bytes, total};

/// The memory of matrix products; the items are the products of a batch.
///
/// One product of a `rows` × `inner` and an `inner` × `columns` matrix takes both and its
/// `rows` × `columns` result. With [`shares_right`](Self::shares_right) all products have one right
/// matrix in common: with one row each, the items are the rows of a single product. The
/// [`workspace`](Self::workspace) is there once.
///
/// ```
/// use bridge_core::DataType;
/// use bridge_memory::predict::{CostModel, Matmul};
///
/// let one = Matmul::new((1000, 20), 300, DataType::F32);
/// assert_eq!(one.bytes(1)?, 4 * (1000 * 20 + 20 * 300 + 1000 * 300));
/// let by_rows = Matmul { shares_right: true, ..Matmul::new((1, 20), 300, DataType::F32) };
/// assert_eq!(by_rows.bytes(1000)?, one.bytes(1)?);
/// # Ok::<(), bridge_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matmul {
    /// Rows of the left matrix and of the result.
    pub rows: u64,
    /// Columns of the left and rows of the right matrix.
    pub inner: u64,
    /// Columns of the right matrix and of the result.
    pub columns: u64,
    /// The type of both matrices' elements.
    pub data_type: DataType,
    /// The type of the result's elements.
    pub result_type: DataType,
    /// Whether all products have the same right matrix.
    pub shares_right: bool,
    /// Bytes that the library works in, once for all: for a library of the host usually little, for
    /// cuBLAS what it was given (it takes some MiB by itself, with 32 MiB for the newer devices).
    pub workspace: u64,
}

impl Matmul {
    /// Products of matrices of their own, without a workspace.
    pub fn new((rows, inner): (u64, u64), columns: u64, data_type: DataType) -> Self {
        Self {
            rows,
            inner,
            columns,
            data_type,
            result_type: data_type,
            shares_right: false,
            workspace: 0,
        }
    }

    fn parts(&self) -> Result<(u64, u64)> {
        let &Self { rows, inner, columns, workspace, .. } = self;
        let (b, of_result) = (element_bytes(self.data_type)?, element_bytes(self.result_type)?);
        let right: &[u64] = &[b, inner, columns];
        let (shared, own) = if self.shares_right { (right, &[0][..]) } else { (&[0][..], right) };
        let per_item = [&[b, rows, inner][..], own, &[of_result, rows, columns]];
        Ok((total(WHAT, &[&[workspace], shared])?, total(WHAT, &per_item)?))
    }
}

const WHAT: &str = "a matrix product";

impl CostModel for Matmul {
    fn bytes(&self, products: u64) -> Result<u64> {
        affine(WHAT, self.parts()?, products)
    }

    fn fixed_and_per_item(&self) -> Option<(u64, u64)> {
        self.parts().ok()
    }
}
