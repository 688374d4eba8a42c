//! Prints tables: for a terminal (in colour, as wide as it is), for a pipe, or as Markdown.

use std::io::IsTerminal;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table};

/// The verdict a row is about, which decides its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Bad,
    Missing,
}

/// One row: its words, and which of them is the verdict.
pub(crate) struct Row {
    pub(crate) words: Vec<String>,
    pub(crate) verdict: usize,
    pub(crate) tone: Tone,
}

/// Heads of the columns, by place; those of numbers are aligned to the right.
pub(crate) struct Header<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) numbers: &'a [usize],
}

/// A table for a person. Colours are off when the output is no terminal or `NO_COLOR` is set.
pub(crate) fn text(header: &Header<'_>, rows: &[Row]) -> String {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    text_with(header, rows, std::io::stdout().is_terminal() && !refused)
}

fn text_with(header: &Header<'_>, rows: &[Row], colours: bool) -> String {
    let mut table = filled(header, rows, |row, i| {
        let cell = Cell::new(&row.words[i]);
        if colours && i == row.verdict { cell.fg(colour(row.tone)) } else { cell }
    });
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if colours {
        table.enforce_styling();
    }
    table.trim_fmt()
}

/// The table that GitHub shows.
pub(crate) fn markdown(header: &Header<'_>, rows: &[Row]) -> String {
    let mut table = filled(header, rows, |row, i| {
        Cell::new(row.words[i].replace('|', "\\|").replace('\n', " "))
    });
    table.load_style(ASCII_MARKDOWN).force_no_tty();
    table.trim_fmt()
}

fn filled(header: &Header<'_>, rows: &[Row], cell: impl Fn(&Row, usize) -> Cell) -> Table {
    let mut table = Table::new();
    table.set_header(header.names.iter().copied());
    table.add_rows(
        rows.iter().map(|row| (0..row.words.len()).map(|i| cell(row, i)).collect::<Vec<_>>()),
    );
    for &number in header.numbers {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn colour(tone: Tone) -> Color {
    match tone {
        Tone::Good => Color::Green,
        Tone::Bad => Color::Red,
        Tone::Missing => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::{Header, Row, Tone, markdown, text_with};

    const HEADER: Header<'_> = Header { names: &["name", "n"], numbers: &[1] };

    fn rows() -> Vec<Row> {
        vec![Row { words: vec!["a|b".into(), "7".into()], verdict: 0, tone: Tone::Good }]
    }

    #[test]
    fn markdown_escapes_what_would_end_a_cell() {
        let shown = markdown(&HEADER, &rows());
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[1].starts_with("|--"), "{shown}");
        assert!(lines[2].contains("a\\|b"), "{shown}");
    }

    #[test]
    fn only_a_terminal_gets_colour_codes() {
        let shown = |colours| text_with(&HEADER, &rows(), colours);
        assert!(shown(false).contains("a|b") && !shown(false).contains('\u{1b}'));
        assert!(shown(true).contains('\u{1b}'), "{}", shown(true));
    }
}
