//! What became of each cell of the test matrix, and what that means for the whole.

use std::ops::AddAssign;
use std::process::ExitCode;

use serde::Serialize;

/// Tests counted, and the seconds they ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) seconds: f64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.seconds += other.seconds;
    }
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum Status {
    /// Every test of it passed.
    Passed,
    /// A test failed, or there was no result where there should be one.
    Failed { reason: String },
    /// This machine lacks something that the cell needs.
    Unavailable { reason: String, remedy: String, installable: bool },
}

/// One row of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CellReport {
    pub(crate) cell: String,
    pub(crate) features: String,
    #[serde(flatten)]
    pub(crate) status: Status,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

impl CellReport {
    /// The row of a cell that ran: passed only if tests ran, none failed, and the run itself
    /// `ended_well`.
    pub(crate) fn of_tests(cell: &str, features: &str, counts: Counts, ended_well: bool) -> Self {
        let status = if counts.failed > 0 {
            let tests = if counts.failed == 1 { "test" } else { "tests" };
            Status::Failed { reason: format!("{} {tests} failed", counts.failed) }
        } else if !ended_well {
            Status::Failed {
                reason: "its build or run ended with an error, shown above".to_owned(),
            }
        } else if counts.passed == 0 {
            Status::Failed { reason: "no test ran".to_owned() }
        } else {
            Status::Passed
        };
        Self { cell: cell.to_owned(), features: features.to_owned(), status, counts }
    }

    /// The row of a cell that has no tests to count.
    pub(crate) fn without_tests(cell: &str, features: &str, status: Status) -> Self {
        let counts = Counts::default();
        Self { cell: cell.to_owned(), features: features.to_owned(), status, counts }
    }
}

/// The totals of a matrix, in tests. A cell that failed without a failed test counts as one
/// failed, an unavailable cell and an ignored test as one skipped each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    pub(crate) fn of(reports: &[CellReport]) -> Self {
        let mut totals = Self::default();
        for report in reports {
            totals.passed += report.counts.passed;
            totals.skipped += report.counts.ignored;
            match report.status {
                Status::Passed => {}
                Status::Failed { .. } => totals.failed += report.counts.failed.max(1),
                Status::Unavailable { .. } => totals.skipped += 1,
            }
        }
        totals
    }

    /// The line that ends the output, in the form CI reads.
    pub(crate) fn closing_line(self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// 0 when no cell failed. With `install`, a cell that could have been installed and is still
/// unavailable is a failure too; without it, and where nothing can be installed, it is not.
pub(crate) fn exit_code(reports: &[CellReport], install: bool) -> ExitCode {
    if reports.iter().any(|report| fails(&report.status, install)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn fails(status: &Status, install: bool) -> bool {
    match status {
        Status::Passed => false,
        Status::Failed { .. } => true,
        Status::Unavailable { installable, .. } => install && *installable,
    }
}

#[cfg(test)]
mod tests {
    use super::{CellReport, Counts, Status, Totals, fails};

    fn counts(passed: u64, failed: u64, ignored: u64) -> Counts {
        Counts { passed, failed, ignored, seconds: 0.0 }
    }

    fn ran(counts: Counts, ended_well: bool) -> Status {
        CellReport::of_tests("cpu", "none", counts, ended_well).status
    }

    fn reason(status: Status) -> String {
        match status {
            Status::Failed { reason } | Status::Unavailable { reason, .. } => reason,
            Status::Passed => "passed".to_owned(),
        }
    }

    fn unavailable(installable: bool) -> Status {
        Status::Unavailable { reason: "no".into(), remedy: "install".into(), installable }
    }

    #[test]
    fn a_cell_passes_only_with_tests_and_a_good_end() {
        assert_eq!(ran(counts(3, 0, 1), true), Status::Passed);
        assert_eq!(reason(ran(counts(3, 1, 0), false)), "1 test failed");
        assert_eq!(reason(ran(counts(0, 2, 0), true)), "2 tests failed");
        assert!(reason(ran(counts(3, 0, 0), false)).contains("ended with an error"));
        assert_eq!(reason(ran(counts(0, 0, 5), true)), "no test ran");
    }

    #[test]
    fn a_failed_cell_fails_with_and_without_install() {
        let failed = Status::Failed { reason: "x".into() };
        assert!(fails(&failed, false) && fails(&failed, true));
        assert!(!fails(&Status::Passed, false) && !fails(&Status::Passed, true));
    }

    #[test]
    fn an_unavailable_cell_fails_only_where_install_was_asked_and_possible() {
        assert!(!fails(&unavailable(true), false));
        assert!(fails(&unavailable(true), true));
        assert!(!fails(&unavailable(false), true));
    }

    #[test]
    fn totals_count_every_cell_once_at_least() {
        let row =
            |status, counts| CellReport { counts, ..CellReport::without_tests("c", "-", status) };
        let failed = |counts| row(Status::Failed { reason: "x".into() }, counts);
        let totals = Totals::of(&[
            row(Status::Passed, counts(5, 0, 2)),
            failed(counts(1, 3, 0)),
            failed(counts(0, 0, 0)),
            row(unavailable(true), counts(0, 0, 0)),
        ]);
        assert_eq!(totals.closing_line(), "6 passed, 4 failed, 3 skipped");
    }

    #[test]
    fn json_names_the_status_and_its_reason() {
        let json = serde_json::to_value(CellReport::without_tests("torch", "-", unavailable(true)));
        let json = json.unwrap();
        assert_eq!(json["status"], "unavailable");
        assert_eq!(json["remedy"], "install");
        assert_eq!(json["passed"], 0);
    }
}
