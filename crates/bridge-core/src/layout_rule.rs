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

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [LayoutRule; 5] = [
        LayoutRule::Any,
        LayoutRule::Forward,
        LayoutRule::Dense,
        LayoutRule::RowMajor,
        LayoutRule::ColumnMajor,
    ];

    #[test]
    fn each_rule_allows_the_layouts_it_names() {
        let layout = |shape: &[usize], strides: &[isize]| Layout::new(shape, strides, 0).unwrap();
        // By the rules in their order: any, forward, dense, row-major, column-major.
        for (layout, allowed) in [
            (layout(&[2, 3, 4], &[12, 4, 1]), [true, true, true, true, false]),
            (layout(&[2, 3, 4], &[1, 2, 6]), [true, true, true, false, true]),
            (layout(&[2, 3, 4], &[4, 8, 1]), [true, true, true, false, false]),
            (layout(&[2, 3, 4], &[24, 8, 2]), [true, true, false, false, false]),
            (layout(&[2, 3, 4], &[0, 4, 1]), [true, true, false, false, false]),
            (layout(&[4], &[-1]), [true, false, false, false, false]),
            (layout(&[4], &[1]), [true; 5]),
            (layout(&[], &[]), [true; 5]),
            (layout(&[0, 3], &[-7, -9]), [true; 5]),
        ] {
            assert_eq!(RULES.map(|rule| rule.allows(&layout)), allowed, "{layout:?}");
        }
    }

    #[test]
    fn a_copy_for_a_rule_keeps_it_and_has_no_gaps() {
        for rule in RULES {
            let compact = rule.compact(&[2, 3, 4]).unwrap();
            assert!(rule.allows(&compact) && compact.is_dense(), "{rule}: {compact:?}");
            assert!(rule.compact(&[usize::MAX, 2]).is_err(), "{rule}");
        }
    }

    #[test]
    fn each_rule_has_words_of_its_own() {
        let words = RULES.map(|rule| rule.to_string());
        for (index, one) in words.iter().enumerate() {
            assert!(!one.is_empty() && !words[..index].contains(one), "{words:?}");
        }
    }
}
