//! Which layouts an array type can represent.

use std::fmt;

use bridge_tensor::{Error, Layout};

/// Which layouts an array type can represent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayoutRule {
    /// Any strides.
    Any,
    /// Any strides but negative ones.
    Forward,
    /// Row-major, or a permutation of the axes of it.
    Dense,
    /// Row-major without gaps.
    RowMajor,
    /// Column-major without gaps.
    ColumnMajor,
}

impl LayoutRule {
    /// Whether a layout keeps the rule.
    #[inline]
    pub fn allows(self, layout: &Layout) -> bool {
        match self {
            Self::Any => true,
            Self::Forward => layout.has_no_negative_strides(),
            Self::Dense => layout.is_dense(),
            Self::RowMajor => layout.is_row_major(),
            Self::ColumnMajor => layout.is_column_major(),
        }
    }

    /// The layout that a copy for this rule is written in.
    ///
    /// # Errors
    ///
    /// As [`Layout::row_major`].
    pub fn compact(self, shape: &[usize]) -> Result<Layout, Error> {
        match self {
            Self::ColumnMajor => Layout::column_major(shape),
            _ => Layout::row_major(shape),
        }
    }
}

impl fmt::Display for LayoutRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any strides",
            Self::Forward => "strides that are not negative",
            Self::Dense => "elements without gaps",
            Self::RowMajor => "a row-major layout without gaps",
            Self::ColumnMajor => "a column-major layout without gaps",
        })
    }
}
