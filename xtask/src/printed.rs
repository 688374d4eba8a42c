//! What was tested, as a person reads it: a row for each cell, and the totals.

use crate::outcome::{CellReport, Status, Totals};
use crate::table::{self, Header, Row, Tone};

/// Prints rows and their totals for a terminal.
pub(crate) fn text(reports: &[CellReport]) {
    print_as(table::text, reports);
}

/// Prints rows and their totals as Markdown.
pub(crate) fn markdown(reports: &[CellReport]) {
    print_as(table::markdown, reports);
}

fn print_as(table: fn(&Header<'_>, &[Row]) -> String, reports: &[CellReport]) {
    let rows: Vec<_> = reports.iter().map(row).collect();
    println!("{}\n", table(&HEADER, &rows));
    println!("{}", Totals::of(reports).closing_line());
}

const HEADER: Header<'_> =
    Header { names: &["cell", "features", "status", "tests", "seconds", "note"], numbers: &[3, 4] };

fn row(report: &CellReport) -> Row {
    let (verdict, tone, mut notes) = match &report.status {
        Status::Passed => ("passed", Tone::Good, vec![]),
        Status::Failed { reason } => ("failed", Tone::Bad, vec![reason.clone()]),
        Status::Unavailable { reason, remedy, .. } => {
            ("unavailable", Tone::Missing, vec![reason.clone(), format!("to do: {remedy}")])
        }
    };
    let counts = report.counts;
    if counts.ignored > 0 {
        notes.push(format!("{} ignored", counts.ignored));
    }
    let ran = counts.passed + counts.failed;
    let words = vec![
        report.cell.clone(),
        report.features.clone(),
        verdict.to_owned(),
        ran.to_string(),
        format!("{:.2}", counts.seconds),
        notes.join("; "),
    ];
    Row { words, verdict: 2, tone }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, row};
    use crate::outcome::{CellReport, Status};

    #[test]
    fn an_unavailable_row_gives_reason_and_remedy() {
        let status = Status::Unavailable {
            reason: "no libtorch".into(),
            remedy: "install torch".into(),
            installable: true,
        };
        let words = row(&CellReport::without_tests("torch", "-", status)).words;
        assert_eq!(words.len(), HEADER.names.len());
        assert_eq!(words[2], "unavailable");
        assert_eq!(words[5], "no libtorch; to do: install torch");
    }
}
