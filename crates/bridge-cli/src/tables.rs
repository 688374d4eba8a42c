//! Tables for people.

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// A table with a header. Markdown is the same everywhere; other tables fit the terminal.
pub(crate) fn table(markdown: bool, header: &[&str]) -> Table {
    let mut table = Table::new();
    if markdown {
        table.load_style(presets::ASCII_MARKDOWN);
        table.force_no_tty();
    } else {
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            table.force_no_tty();
        }
    }
    table.set_header(header.iter().map(Cell::new));
    table
}
