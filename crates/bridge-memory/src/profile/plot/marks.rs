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
        let x = x(mark.seconds);
        let text = shortened(&mark.what, LETTERS);
        let width = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / LETTER) * LETTER;
        let after = (x + ASIDE, x + ASIDE + width);
        let before = (x - ASIDE - width, x - ASIDE);
        let sides = [after, before].into_iter().filter(|&(from, to)| from >= left && to <= right);
        let free = sides.flat_map(|side| (0..ROWS).map(move |row| (row, side)));
        let free =
            free.filter(|&(row, side)| placed.iter().all(|other| other.allows(x, row, side)));
        // The lowest row; in one row, after the line.
        let label = free.min_by_key(|&(row, _)| row);
        let label = label.map(|(row, (left, right))| Label { text, row, left, right });
        if label.is_some() || placed.iter().all(|other| other.x != x) {
            placed.push(Placed { x, label });
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
        // At once: one above the other, in their order.
        assert_eq!(
            placed(&[(10, "out of memory"), (10, "trim")]),
            [(10, Some((1, 15))), (10, Some((0, 15)))]
        );
        // At the right end: before the line.
        assert_eq!(placed(&[(990, "end")]), [(990, Some((0, 961)))]);
    }

    #[test]
    fn marks_without_room_keep_their_lines() {
        let many: Vec<_> = (0..10).map(|x| (x * 3, "a long label of a mark")).collect();
        let placed = placed(&many);
        assert_eq!(placed.len(), 10);
        assert_eq!(placed.iter().filter(|(_, label)| label.is_some()).count(), ROWS);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("äbcdefg", 6), "äbc...");
        assert_eq!(shortened("abc", 1), "...");
    }
}
