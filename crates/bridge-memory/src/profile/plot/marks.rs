//! Where the labels of marks stand.

use crate::profile::recording::Mark;

/// Pixels of a letter.
pub(super) const LETTER: i32 = 8;
/// Rows of labels above the lines.
const ROWS: usize = 4;
/// Letters of a label.
const LETTERS: usize = 40;
/// Pixels between a line and its label.
const ASIDE: i32 = 5;

/// A mark's line and, where there is room for one, its label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    /// Where the line is.
    pub(super) x: i32,
    pub(super) label: Option<Label>,
}

/// A label in one of the rows above the lines. Its mark's line begins in that row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) text: String,
    /// From the row just above the lines, 0, upward.
    pub(super) row: usize,
    /// Where the text begins and ends. Letters may be narrower than they are taken to be: it stands
    /// at the end that is next to the line.
    pub(super) left: i32,
    pub(super) right: i32,
}

/// Places the labels of marks whose lines are at `x`, between pixels `left` and `right`, so that none
/// meets another or is crossed by a line: of two that are too close, the earlier one stands higher.
pub(super) fn place(marks: &[Mark], x: impl Fn(f64) -> i32, left: i32, right: i32) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for mark in marks.iter().rev() {
        let at = x(mark.seconds);
        let text = shortened(&mark.what, LETTERS);
        let width = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / LETTER) * LETTER;
        let after = (at + ASIDE, at + ASIDE + width);
        let before = (at - ASIDE - width, at - ASIDE);
        // A label before its line stands high where there are lines that it must not be crossed by.
        let is_above = marks.iter().any(|other| (before.0..at).contains(&x(other.seconds)));
        let after = (0..ROWS).map(|row| (row, after));
        let before = (0..ROWS).map(|row| (if is_above { ROWS - 1 - row } else { row }, before));
        let free = after.chain(before).find(|&(row, side)| {
            let is_inside = side.0 >= left && side.1 <= right;
            is_inside && placed.iter().all(|other| other.allows(at, row, side))
        });
        let label = free.map(|(row, (left, right))| Label { text, row, left, right });
        if label.is_some() || placed.iter().all(|other| other.x != at) {
            placed.push(Placed { x: at, label });
        }
    }
    placed
}

impl Placed {
    /// Whether another mark can have its line at `x` from `row` on, and its label there.
    fn allows(&self, x: i32, row: usize, (left, right): (i32, i32)) -> bool {
        let Some(label) = &self.label else { return true };
        let crosses = row >= label.row && (label.left..label.right + ASIDE).contains(&x);
        let is_crossed = label.row >= row && (left..right).contains(&self.x);
        let meets = row == label.row && left < label.right + ASIDE && label.left < right + ASIDE;
        !crosses && !is_crossed && !meets
    }
}

/// How many rows are taken.
pub(super) fn rows(placed: &[Placed]) -> i32 {
    let rows = placed.iter().filter_map(|mark| mark.label.as_ref()).map(|label| label.row + 1);
    rows.max().unwrap_or(0) as i32
}

/// At most so many letters of a text.
pub(super) fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(letters.saturating_sub(3)).collect();
    kept + "..."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn placed(marks: &[(i32, &str)]) -> Vec<(i32, Option<(usize, i32)>)> {
        let mark = |&(x, what): &(i32, &str)| Mark { seconds: f64::from(x), what: what.to_owned() };
        let marks: Vec<_> = marks.iter().map(mark).collect();
        let placed = place(&marks, |seconds| seconds as i32, 0, 1000);
        let told = |one: Placed| (one.x, one.label.map(|label| (label.row, label.left)));
        placed.into_iter().rev().map(told).collect()
    }

    #[test]
    fn labels_do_not_meet_and_no_line_crosses_one() {
        // Far apart: one row.
        assert_eq!(
            placed(&[(10, "one"), (500, "two")]),
            [(10, Some((0, 15))), (500, Some((0, 505)))]
        );
        // Close together: the earlier one higher, so that the later line does not cross its label.
        assert_eq!(
            placed(&[(10, "out of memory"), (20, "trim")]),
            [(10, Some((1, 15))), (20, Some((0, 25)))]
        );
        // The line of the one in the middle would cross the first label in the lowest row.
        assert_eq!(
            placed(&[(5, "before"), (50, "middle"), (60, "after")]),
            [(5, Some((2, 10))), (50, Some((1, 55))), (60, Some((0, 65)))]
        );
        // At once: one above the other, in their order.
        assert_eq!(
            placed(&[(10, "out of memory"), (10, "trim")]),
            [(10, Some((1, 15))), (10, Some((0, 15)))]
        );
        // At the right end: before the line.
        assert_eq!(placed(&[(990, "end")]), [(990, Some((0, 961)))]);
        // And above the lines that would cross it.
        assert_eq!(
            placed(&[(940, "one"), (990, "the end")]),
            [(940, Some((0, 945))), (990, Some((3, 929)))]
        );
    }

    #[test]
    fn marks_without_room_keep_their_lines() {
        let many: Vec<_> = (0..10).map(|x| (x * 3, "a long label of a mark")).collect();
        let placed = placed(&many);
        assert_eq!(placed.len(), 10);
        assert_eq!(placed.iter().filter(|(_, label)| label.is_some()).count(), ROWS);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn any_marks_are_placed_so(
            mut marks in prop::collection::vec((900_i32..=1000, 1_usize..12), 1..12),
        ) {
            marks.sort();
            let mark = |&(x, length): &(i32, usize)| {
                Mark { seconds: f64::from(x), what: "a".repeat(length) }
            };
            let marks: Vec<_> = marks.iter().map(mark).collect();
            let placed = place(&marks, |seconds| seconds as i32, 880, 1000);
            for (index, one) in placed.iter().enumerate() {
                let Some(label) = &one.label else { continue };
                prop_assert!(label.left >= 880 && label.right <= 1000);
                for other in placed[..index].iter().chain(&placed[index + 1..]) {
                    let Some(theirs) = &other.label else { continue };
                    let apart = theirs.right < label.left || label.right < theirs.left;
                    prop_assert!(apart || theirs.row != label.row, "{one:?} {other:?}");
                    let within = (label.left..label.right).contains(&other.x);
                    prop_assert!(!within || theirs.row < label.row, "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("äbcdefg", 6), "äbc...");
        assert_eq!(shortened("abc", 1), "...");
    }
}
