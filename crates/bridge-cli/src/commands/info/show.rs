//! What is in a file, for people.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{Cell, CellAlignment};

use super::facts::{ArrayFacts, BESIDE, Facts};
use super::families::Family;
use crate::console::Console;
use crate::failure::visible;
use crate::size::show_size;
use crate::standard_input::show_input;

/// A file of more arrays than this is shown in families.
const FEW: usize = 40;

/// The most lines of a kind, where not all are asked for.
const LINES: usize = 100;

pub(super) fn show(path: &Path, facts: &Facts, all: bool, console: &Console<'_>) -> String {
    let mut text = title(path, facts);
    if !facts.arrays.is_empty() {
        let table = if all || facts.arrays.len() <= FEW {
            table_of_arrays(&facts.arrays, console)
        } else {
            table_of_families(&facts.arrays, console)
        };
        let _ = write!(text, "\n{table}");
    }
    for (key, value) in &facts.metadata {
        let _ = write!(text, "\nmetadata: {} = {}", visible(key), visible(value));
    }
    let lines = if all { usize::MAX } else { LINES };
    let (beside, refused): (Vec<_>, Vec<_>) =
        facts.unsupported.iter().partition(|entry| entry.kind == BESIDE);
    for (label, entries) in [("cannot be converted", refused), ("no part of the arrays", beside)] {
        if entries.is_empty() {
            continue;
        }
        let _ = write!(text, "\n{label}: {}", entries.len());
        let bytes = entries.iter().filter_map(|entry| entry.bytes);
        let bytes = bytes.fold(0_u64, u64::saturating_add);
        if bytes > 0 {
            let _ = write!(text, ", {}", show_size(bytes));
        }
        for entry in entries.iter().take(lines) {
            let reason = entry.failure.reason();
            let name = entry.name.as_deref().filter(|name| !reason.contains(*name));
            let name = name.map(|name| format!("\"{name}\": ")).unwrap_or_default();
            let _ = write!(text, "\n  {}", visible(&format!("{name}{reason}")));
        }
        if entries.len() > lines {
            let _ = write!(text, "\n  and {} more: --all lists each", entries.len() - lines);
        }
    }
    text
}

fn title(path: &Path, facts: &Facts) -> String {
    let arrays = match facts.arrays.len() {
        1 => "1 array".to_owned(),
        count => format!("{count} arrays"),
    };
    let mut text = format!(
        "{}: {}, {}; {arrays}",
        visible(&show_input(path)),
        facts.format,
        show_size(facts.size),
    );
    if facts.arrays.is_empty() {
        return text;
    }
    let _ = write!(text, ", {} elements, {}", facts.total.elements, show_size(facts.total.bytes));
    if facts.total.dtypes.len() > 1 {
        let dtypes = facts.total.dtypes.iter();
        let dtypes: Vec<_> =
            dtypes.map(|(dtype, total)| format!("{} {dtype}", total.arrays)).collect();
        let _ = write!(text, ": {}", dtypes.join(", "));
    }
    text
}

fn table_of_arrays(arrays: &[ArrayFacts], console: &Console<'_>) -> String {
    let mut table = console.table(false, &["name", "dtype", "shape", "order", "offset", "bytes"]);
    for array in arrays {
        let name = array.name.as_deref().unwrap_or("(no name)");
        let offset = array.offset.map_or("compressed".to_owned(), |offset| offset.to_string());
        table.add_row([
            Cell::new(visible(name)),
            Cell::new(array.shown_dtype()),
            Cell::new(format!("{:?}", array.shape)),
            Cell::new(array.order),
            number(&offset),
            number(&array.bytes.to_string()),
        ]);
    }
    table.to_string()
}

fn table_of_families(arrays: &[ArrayFacts], console: &Console<'_>) -> String {
    let families = Family::of(arrays);
    let mut table = console.table(false, &["arrays", "names", "dtype", "shape", "order", "bytes"]);
    for family in families.iter().take(LINES) {
        let first = family.first;
        table.add_row([
            number(&family.count.to_string()),
            Cell::new(visible(family.name())),
            Cell::new(first.shown_dtype()),
            Cell::new(format!("{:?}", first.shape)),
            Cell::new(first.order),
            number(&family.bytes.to_string()),
        ]);
    }
    let more = families.len().saturating_sub(LINES);
    let left = if more > 0 { format!("{more} lines more are not shown. ") } else { String::new() };
    format!("{table}\n{left}* stands for numbers; --all lists each array, with its offset")
}

fn number(text: &str) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
