//! Plans of many arrays for people: those that go the same way are told once.

use std::collections::HashMap;
use std::fmt::Write;

use super::report::{ArrayReport, show_copied};
use crate::failure::visible;

/// How many names a group lists.
const LISTED: usize = 3;

/// Arrays of one element type that go the same way.
struct Group<'a> {
    arrays: Vec<&'a ArrayReport>,
    way: String,
}

/// Some lines for each group, in the order of their first arrays.
pub(super) fn show(arrays: &[ArrayReport]) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut places = HashMap::new();
    for array in arrays {
        let way = array.show_way();
        let key = (array.dtype.as_str(), array.zero_copy, way.clone());
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Group { arrays: Vec::new(), way });
            groups.len() - 1
        });
        groups[place].arrays.push(array);
    }
    let shown: Vec<String> = groups.iter().map(Group::show).collect();
    shown.join("\n")
}

impl Group<'_> {
    fn show(&self) -> String {
        let [only] = self.arrays.as_slice() else {
            return self.show_several();
        };
        let mut text = String::new();
        only.show(&mut text);
        text
    }

    fn show_several(&self) -> String {
        let Some(first) = self.arrays.first() else {
            return String::new();
        };
        let bytes =
            self.arrays.iter().fold(0_u64, |sum, array| sum.saturating_add(array.bytes_copied));
        let copied = show_copied(first.zero_copy, bytes);
        let names = self.arrays.iter().take(LISTED).map(|array| visible(&array.name));
        let names = names.collect::<Vec<_>>().join(", ");
        let mut text = format!("{} arrays, {}, {copied}: {names}", self.arrays.len(), first.dtype);
        if self.arrays.len() > LISTED {
            let _ = write!(text, " and {} more", self.arrays.len() - LISTED);
        }
        text.push_str(&self.way);
        text
    }
}
